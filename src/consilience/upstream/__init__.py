"""Open set 3: ways to reach a model."""
