"""A loopback server that says exactly the bytes a test wants, and notices who hangs up.

```python
with raw_server(lambda request: [json_answer(completion("hi"))]) as server:
    ...  # server.url, server.requests, server.connections, server.aborted
```

A script gives the steps of one response, as a generator if what comes next is not known yet:
bytes are sent, a number is slept, `CLOSE`, `RESET` and `HANG` do what they say. After the last
step the connection is kept open for the next request.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream


class Fault(Enum):
    """What a connection may do in place of sending."""

    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


CLOSE, RESET, HANG = Fault.CLOSE, Fault.RESET, Fault.HANG
Step = bytes | float | Fault


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """Which connection it came over, from 1."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Received], Iterable[Step]]


@dataclass(slots=True)
class RawServer:
    """What the server saw. Safe to read from any thread."""

    script: Script
    buffer: int | None = None
    """Bytes that the kernel takes of what is sent; None: as many as it likes."""
    port: int = 0
    connections: int = 0
    aborted: int = 0
    """Responses whose client hung up before the last step."""
    active: int = 0
    """Responses under way."""
    requests: list[Received] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Of chat completions."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def wait_for(self, condition: Callable[[RawServer], bool], seconds: float = 10) -> bool:
        """Waits until something is so; gives whether it came to be. Blocks."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), seconds)

    async def until(self, condition: Callable[[RawServer], bool]) -> bool:
        """`wait_for` without blocking the event loop."""
        return await anyio.to_thread.run_sync(self.wait_for, condition)

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener:
            if self.buffer is not None:
                bound = listener.extra(SocketAttribute.raw_socket)  # noqa: S610  # no Django
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer)
            self.port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # no Django
            task_status.started(self.port)
            await listener.serve(self._connection)

    async def _connection(self, stream: SocketStream) -> None:
        with self._changed:
            self.connections += 1
            number = self.connections
            self._changed.notify_all()
        async with stream:
            try:
                reader = BufferedByteReceiveStream(stream)
                while await self._exchange(stream, reader, number):
                    pass
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                pass

    async def _exchange(
        self, stream: SocketStream, reader: BufferedByteReceiveStream, number: int
    ) -> bool:
        """Answers one request; gives whether the connection may be used for another."""
        request = await _read_request(reader, number)
        steps = self.script(request)
        with self._changed:
            self.requests.append(request)
            self.active += 1
            self._changed.notify_all()
        try:
            return await self._respond(stream, steps)
        finally:
            with self._changed:
                self.active -= 1
                self._changed.notify_all()

    async def _respond(self, stream: SocketStream, steps: Iterable[Step]) -> bool:
        going_on = False
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, stream, group.cancel_scope)
            with suppress(anyio.BrokenResourceError):
                going_on = await _carry_out(steps, stream)
            group.cancel_scope.cancel()
        return going_on

    async def _watch(self, stream: SocketStream, response: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await stream.receive()
        with self._changed:
            self.aborted += 1
            self._changed.notify_all()
        response.cancel()


async def _carry_out(steps: Iterable[Step], stream: SocketStream) -> bool:
    for step in steps:
        match step:
            case bytes():
                await stream.send(step)
            case Fault.CLOSE:
                return False
            case Fault.RESET:
                raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # no Django
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case Fault.HANG:
                await anyio.sleep_forever()
            case _:
                await anyio.sleep(step)
    return True


async def _read_request(reader: BufferedByteReceiveStream, number: int) -> Received:
    head = (await reader.receive_until(b"\r\n\r\n", 65536)).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    body = await reader.receive_exactly(length) if length else b""
    return Received(method, path, headers, body, number)


@contextmanager
def raw_server(
    script: Script | Sequence[Step], *, buffer: int | None = None
) -> Iterator[RawServer]:
    """Runs a server in a thread of its own.

    Args:
        script: gives the steps for each request; or the steps that every request gets.
        buffer: bytes that the kernel takes of what is sent, if not as many as it likes.
    """
    steps = script if callable(script) else None
    server = RawServer(steps or (lambda _request: script), buffer)  # type: ignore[arg-type,return-value]
    with start_blocking_portal() as portal:
        future, _ = portal.start_task(server.serve)
        try:
            yield server
        finally:
            future.cancel()


def answer(
    body: bytes, *, status: int = 200, kind: str = "application/json", headers: str = ""
) -> bytes:
    """A whole response. `headers`: more header lines, each ended by CRLF."""
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{headers}"
    )
    return head.encode("latin-1") + b"\r\n" + body


def json_answer(body: object, *, status: int = 200, headers: str = "") -> bytes:
    """A whole JSON response."""
    return answer(json.dumps(body).encode(), status=status, headers=headers)


def completion(text: str | None = "hi", **fields: Any) -> dict[str, Any]:
    """A chat completion as an upstream would say it."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "cmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream-name",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **fields,
    }


SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
CLOSE_DELIMITED_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
)
LAST = b"0\r\n\r\n"
"""The end of a chunked body."""
DONE = b"data: [DONE]\n\n"


def chunked(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def piece(text: str = "", *, finish: str | None = None, **fields: Any) -> bytes:
    """One event with one choice."""
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice], **fields})


def event(body: object) -> bytes:
    """One `data:` event."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def streamed(*events: bytes, done: bool = True) -> list[Step]:
    """A whole stream, one piece an event."""
    parts = [chunked(e) for e in (*events, *([DONE] if done else []))]
    return [SSE_HEAD, *parts, LAST]
