"""What is told about the running gateway."""
