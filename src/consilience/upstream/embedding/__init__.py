"""Models that turn texts into vectors: static, ONNX, or behind an OpenAI-compatible endpoint."""
