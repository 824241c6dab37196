"""A client that sends exactly the bytes a test wants, and reads what comes until the end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from .client import CHAT, HELLO


@contextmanager
def connected(url: str, *, buffer: int | None = None) -> Iterator[socket.socket]:
    """Opens a connection. `buffer`: bytes that the kernel may take in before they are read."""
    address = urlsplit(url)
    with socket.socket() as raw:
        if buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(20)
        raw.connect((str(address.hostname), address.port))
        yield raw


def rest(raw: socket.socket) -> bytes:
    """Reads until the server closes, in whatever way."""
    pieces = []
    try:
        while piece := raw.recv(65536):
            pieces.append(piece)
    except ConnectionError:
        pass
    return b"".join(pieces)


def exchanged(url: str, *data: bytes) -> bytes:
    """Sends bytes and gives everything that comes until the server closes."""
    with connected(url) as raw:
        for piece in data:
            raw.sendall(piece)
        return rest(raw)


def chat_request(
    model: str = "a", *, version: str = "1.1", headers: str = "", stream: bool = False
) -> bytes:
    """A whole chat request. `headers`: more header lines, each ended by CRLF."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": stream}).encode()
    return chat_head(f"content-length: {len(body)}\r\n{headers}", version=version) + body


def chat_head(headers: str, *, version: str = "1.1") -> bytes:
    """The head of a chat request."""
    return (
        f"POST {CHAT} HTTP/{version}\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n"
    ).encode("latin-1")


def statuses(data: bytes) -> list[int]:
    """The statuses of the responses in what came."""
    lines = data.split(b"HTTP/1.1 ")[1:]
    return [int(line[:3]) for line in lines]
