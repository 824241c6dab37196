"""The gateway driven by clients that were written for OpenAI's API, unchanged."""
