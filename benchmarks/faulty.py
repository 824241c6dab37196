"""The model server of `benchmarks.upstream`, of which a share of the answers goes wrong.

`python -m benchmarks.faulty [--share 0.1] [--seed 1]` prints its port. Each fault is drawn anew:
before the head, in place of an answer, in the middle of one, or never an answer at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import uvloop

from .upstream import Server

_HTML = b"<html><body>Bad Gateway</body></html>"
_ERROR = json.dumps({"error": {"message": "overloaded", "type": "server_error"}}).encode()


class FaultyServer(Server):
    """One connection; draws before each answer whether it goes wrong, and how."""

    share = 0.0
    draw = random.Random(1)  # noqa: S311  # which answer fails is no secret
    faults: ClassVar[Counter[str]] = Counter()
    active = 0
    """Requests whose answer has not ended."""

    def __init__(self) -> None:
        super().__init__()
        self._open = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(self._open)
        super().connection_lost(exc)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            state = {
                "connections": Server.connections,
                "requests": Server.requests,
                "active": FaultyServer.active,
                "faults": dict(FaultyServer.faults),
            }
            self._whole(json.dumps(state).encode())
            return
        self._open += 1
        FaultyServer.active += 1
        if self.draw.random() >= self.share:
            super()._answer(head, body)
            return
        Server.requests += 1
        streamed = b'"stream":true' in body.replace(b" ", b"")
        kinds = self._streamed_faults() if streamed else self._whole_faults()
        name = self.draw.choice(sorted(kinds))
        FaultyServer.faults[name] += 1
        self._after(self.draw.uniform(0, 0.05), kinds[name])

    def _always(self) -> dict[str, Callable[[], None]]:
        return {
            "closed": self._close,
            "reset": self._reset,
            "never answered": lambda: None,
            "status 500": lambda: self._refuse(b"500 Internal Server Error"),
            "status 503": lambda: self._refuse(b"503 Service Unavailable"),
            "status 429": lambda: self._refuse(b"429 Too Many Requests\r\nretry-after: 0"),
            "error under 200": lambda: self._whole(_ERROR),
            "HTML": lambda: self._refuse(b"200 OK", _HTML, b"text/html"),
        }

    def _whole_faults(self) -> dict[str, Callable[[], None]]:
        return {
            **self._always(),
            "not JSON": lambda: self._whole(b'{"choices": [{"mess'),
            "cut body": lambda: self._cut(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"
            ),
        }

    def _streamed_faults(self) -> dict[str, Callable[[], None]]:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        chunked = head + b"transfer-encoding: chunked\r\n\r\n"
        return {
            **self._always(),
            "stream without an end": lambda: self._chunk(chunked),
            "stream cut after a token": lambda: self._cut_after_token(chunked),
            "empty stream": lambda: self._end(chunked),
            "comments only": lambda: self._write(chunked + b"8\r\n: busy\n\n\r\n"),
        }

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts about then: waiting to the microsecond would cost the gateway its processor."""
        loop = asyncio.get_running_loop()
        self._timers.add(loop.call_later(seconds, act))

    def _whole(self, data: bytes) -> None:
        super()._whole(data)
        self._ended(1)

    def _end_stream(self) -> None:
        super()._end_stream()
        self._ended(1)

    def _refuse(
        self, status: bytes, body: bytes = _ERROR, kind: bytes = b"application/json"
    ) -> None:
        self._write(
            b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, kind, len(body), body)
        )
        self._ended(1)

    def _end(self, head: bytes) -> None:
        self._write(head + b"0\r\n\r\n")
        self._ended(1)

    def _cut_after_token(self, head: bytes) -> None:
        self._chunk(head)
        self._close()

    def _cut(self, data: bytes) -> None:
        self._write(data)
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _ended(self, count: int) -> None:
        ended = min(count, self._open)
        self._open -= ended
        FaultyServer.active -= ended


async def main(share: float, seed: int) -> None:
    """Serves until killed."""
    FaultyServer.share, FaultyServer.draw = share, random.Random(seed)  # noqa: S311  # no secret
    loop = asyncio.get_running_loop()
    server = await loop.create_server(FaultyServer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(sys.argv[1:])
    uvloop.run(main(given.share, given.seed))
