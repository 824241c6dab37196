"""`POST /v1/chat/completions`: JSON, or server-sent events that keep the line warm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from starlette.types import Receive, Scope, Send

from ..chat import sse
from ..chat.chunks import Stamp
from ..config.globals import Gateway as GatewaySettings
from ..gateway import Gateway
from ..loopers.base import Progress
from ..reply import Begin, Chunk, Event, Routed
from .body import headers_of, read_json_body
from .disconnect import unless_disconnected
from .drain import Drain
from .errors import as_error, error_event, request_id, send_json

_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


class ChatEndpoint:
    """The chat-completions endpoint as an ASGI application."""

    def __init__(self, gateway: Callable[[], Gateway], drain: Drain) -> None:
        """
        Args:
            gateway: gives the gateway to use; asked once a request.
            drain: ends what is in flight when the process must end.
        """
        self._gateway = gateway
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._gateway()
        with gateway.in_use():
            await self._answer(gateway, scope, receive, send)

    async def _answer(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        settings = gateway.config.global_.gateway
        gateway.admission.refuse_when_full()
        headers = headers_of(scope)
        raw = await read_json_body(headers, receive, settings)
        body = gateway.parse(raw)
        if body.stream:
            stream = _SseResponse(send, settings, request_id(scope), scope["state"])

            async def run() -> None:
                await self._drain.unless_over(lambda: gateway.run(body, headers, stream.emit))

            await unless_disconnected(receive, lambda: stream.respond(run))
            return

        async def respond() -> None:
            reply = await self._drain.unless_over(lambda: gateway.complete(body, headers))
            scope["state"]["log"] = _log_fields(reply.headers)
            await send_json(send, reply.body, headers=dict(reply.headers))

        await unless_disconnected(receive, respond)


@dataclass(slots=True)
class _SseResponse:
    """One streamed response. Frames are written whole, one at a time."""

    send: Send
    settings: GatewaySettings
    request_id: str
    state: dict[str, Any]
    routed: Routed = field(default_factory=lambda: Routed({}))
    headers: dict[str, str] = field(default_factory=dict)
    """What is known for the response's head."""
    started: bool = False
    opened: anyio.Event = field(default_factory=anyio.Event)
    """Set with `started`."""
    waiting: list[Progress] = field(default_factory=list)
    """Progress held back while the status is still open."""
    last: str = "working"
    """The latest progress, for comments."""
    written: float = 0.0
    writing: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))

    async def respond(self, run: Callable[[], Any]) -> None:
        """Runs the request and writes its events until the end mark, or one error event.

        Raises:
            ConsilienceError: nothing was written yet; the caller answers with a status.
        """
        self.written = anyio.current_time()
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_alive)
            try:
                await run()
            except Exception as exc:  # told to the client, here or by the middleware
                failure = exc
            group.cancel_scope.cancel()
        if failure is None:
            await self._write(sse.DONE, last=True)
        elif not self.started:
            raise failure
        else:
            told = as_error(failure, self.request_id)
            self.state["log"] = {**_log_fields(self.headers), "error": told.code}
            await self._write(sse.event(error_event(told)), last=True)

    async def emit(self, event: Event) -> None:
        """Writes one event, or keeps it until the stream begins."""
        match event:
            case Chunk():
                await self._write(sse.event(event.body))
            case Begin():
                await self._begin(event.headers)
            case Routed():
                self.routed = event
                self.headers.update(event.headers)
            case Progress():
                await self._progress(event)

    async def _progress(self, event: Progress) -> None:
        self.last = event.event.replace("_", " ")
        if not self.routed.shows_progress:
            return
        self.waiting.append(event)
        # an answer was paid for: from now on a broken stream says more than a status
        if self.started or event.event == "panel_answered":
            await self._begin({})

    async def _begin(self, headers: Mapping[str, str]) -> None:
        """Sends the head, once, and the progress that waited for it."""
        async with self.writing:
            if not self.started:
                await self._send_head(headers)
            # under the lock: both tasks come here, and the order of events is kept
            waiting, self.waiting = self.waiting, []
            for progress in waiting:
                await self._put(sse.event(_progress_chunk(progress, self.routed)))

    async def _send_head(self, headers: Mapping[str, str]) -> None:
        self.headers.update(headers)
        self.state["log"] = _log_fields(self.headers)
        head = {**self.headers, **_STREAM_HEADERS}
        fields = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in head.items()]
        await self.send({"type": "http.response.start", "status": 200, "headers": fields})
        self.started = True
        self.opened.set()

    async def _write(self, frame: bytes, *, last: bool = False) -> None:
        async with self.writing:
            await self._put(frame, last=last)
        # nothing above waits while the socket takes everything: let a hang-up be noticed
        await anyio.lowlevel.checkpoint()

    async def _put(self, frame: bytes, *, last: bool = False) -> None:
        self.written = anyio.current_time()
        await self.send({"type": "http.response.body", "body": frame, "more_body": not last})

    async def _keep_alive(self) -> None:
        """Opens the stream when the first token is late, then breaks every silence."""
        every = self.settings.keepalive_seconds
        with anyio.move_on_after(self.settings.stream_start_seconds):
            await self.opened.wait()
        if not self.started:
            await self._begin({})
            await self._write(sse.comment(self.last))
        while True:
            quiet = anyio.current_time() - self.written
            if quiet >= every:
                await self._write(sse.comment(self.last))
            else:
                await anyio.sleep(every - quiet)


def _progress_chunk(progress: Progress, routed: Routed) -> dict[str, Any]:
    """Progress as a chunk that every client parses: no choices, the news under `fusion`."""
    news = {"event": progress.event, **progress.fields}
    return Stamp(routed.id, routed.created, routed.model).chunk(choices=[], fusion=news)


def _log_fields(headers: Mapping[str, str]) -> dict[str, str]:
    names = {
        "decision": "x-vsr-selected-decision",
        "algorithm": "x-vsr-selected-algorithm",
        "model": "x-vsr-selected-model",
        "degraded": "x-vsr-degraded",
        "cache_hit": "x-vsr-cache-hit",
        "fast_response": "x-vsr-fast-response",
    }
    return {name: headers[header] for name, header in names.items() if header in headers}
