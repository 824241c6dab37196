"""A model server of fixed delays, so fast that it does not show in the figures.

`python -m benchmarks.upstream` listens on a free loopback port and prints it. The model's name says
what it does: `d50` answers after 50 ms; `d50-c20-g5` streams 20 chunks, 5 ms apart. Each chunk's
text is the moment it was sent, in nanoseconds of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_KEYS = ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")
_ANALYSIS = json.dumps({key: [] for key in _KEYS})


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Server(asyncio.Protocol):
    """One connection."""

    connections = 0
    requests = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP's is a Transport
        Server.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        Server.connections -= 1
        for timer in self._timers:
            timer.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        Server.requests += 1
        if head.startswith(b"GET"):
            state = {"connections": Server.connections, "requests": Server.requests}
            self._whole(json.dumps(state).encode())
            return
        request = json.loads(body)
        plan = {part[0]: float(part[1:]) for part in request["model"].split("-")}
        later = plan.get("d", 0) / 1000
        if request.get("stream"):
            chunks, gap = int(plan.get("c", 1)), plan.get("g", 0) / 1000
            self._after(later, lambda: self._chunk(_STREAM_HEAD))
            for i in range(1, chunks):
                self._after(later + i * gap, self._chunk)
            self._after(later + (chunks - 1) * gap, self._end_stream)
        else:
            self._after(later, self._complete)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts at that moment, not a millisecond later as the event loop's timers would."""
        due = time.perf_counter() + seconds

        def wait() -> None:
            while time.perf_counter() < due:
                pass
            act()

        loop = asyncio.get_running_loop()
        self._timers.add(loop.call_later(max(0.0, seconds - 0.002), wait))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _whole(self, data: bytes) -> None:
        self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(data), data)
        )

    def _complete(self) -> None:
        message = {"role": "assistant", "content": _ANALYSIS}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._whole(json.dumps({"choices": [choice], "usage": _USAGE}).encode())

    def _chunk(self, head: bytes = b"") -> None:
        delta = {"content": f"{time.perf_counter_ns()} "}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        self._write(head + _event(json.dumps({"choices": [choice]}).encode()))

    def _end_stream(self) -> None:
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        last = _event(json.dumps({"choices": [choice], "usage": None}).encode())
        usage = _event(json.dumps({"choices": [], "usage": _USAGE}).encode())
        self._write(last + usage + _event(b"[DONE]") + b"0\r\n\r\n")
        self._timers.clear()


def _event(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


async def main() -> None:
    """Serves until killed."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
