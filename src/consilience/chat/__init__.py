"""The OpenAI chat-completions wire vocabulary: requests, completions, chunks, SSE. Pure."""
