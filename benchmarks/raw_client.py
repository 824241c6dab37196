"""A blocking client on one kept-alive connection: as little as possible between wire and clock."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKEN = re.compile(rb'"content": ?"(\d+)')


@dataclass(frozen=True, slots=True)
class Timing:
    """One streamed answer, in milliseconds from the request."""

    first_token: float
    total: float
    relay: float
    """From the moment the upstream sent its first token to the moment it was here."""


class RawClient:
    """Sends chat completions and times them."""

    def __init__(self, base: str) -> None:
        where = urlsplit(base)
        self._host = where.netloc
        self._socket = socket.create_connection((where.hostname or "", where.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def whole(self, body: object) -> float:
        """Sends a plain request; gives its milliseconds."""
        begun = self._send(body)
        data = b""
        while True:
            data += self._receive()
            head, end, rest = data.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if end and length and len(rest) >= int(length.group(1)):
                return (time.perf_counter_ns() - begun) / 1e6

    def streamed(self, body: object) -> Timing:
        """Sends a streamed request and times its answer."""
        begun = self._send(body)
        first = sent = 0
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += self._receive()
            if not first and (token := _TOKEN.search(data)):
                first, sent = time.perf_counter_ns(), int(token.group(1))
        ended = time.perf_counter_ns()
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:300].decode("utf-8", "replace"))
        return Timing((first - begun) / 1e6, (ended - begun) / 1e6, (first - sent) / 1e6)

    def _send(self, body: object) -> int:
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._host}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        begun = time.perf_counter_ns()
        self._socket.sendall(head.encode() + data)
        return begun

    def _receive(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece
