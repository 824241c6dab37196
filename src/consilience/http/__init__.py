"""The HTTP edge: ASGI in, JSON or server-sent events out."""
