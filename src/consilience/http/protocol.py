"""HTTP/1.1 on a socket, with bounds on what a client may cost before and after its request.

uvicorn reads heads of any size for any time, keeps any number of connections, and waits without end
for a client that does not read. Here every connection is always in one of three states, and each has
its end: waiting for a head (`head_s`, or `idle_s` between two requests), at work (the request's own
deadlines), or with unread answers (`stall_s` without progress).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..chat.codec import encode
from ..config.globals import Gateway as Settings
from ..errors import ConsilienceError, HeadersTooLargeError, InvalidRequestError, OverloadedError
from ..telemetry.log import log
from .body import headers_of
from .drain import Drain
from .errors import error_body, request_id_for
from .head import MOST_ADDRESS_BYTES, MOST_HEADER_BYTES

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MOST_HEAD_BYTES = 2 * (MOST_HEADER_BYTES + MOST_ADDRESS_BYTES)
"""Of a head that is not whole yet, or of what comes behind a body: more than would be taken."""
FRAMING = 8
"""Bytes on the wire for each byte of a body, at most: a chunk of one byte takes six."""
MOST_PIPELINED = 16
"""Requests that a client may send before the answer to the first."""
LINGER_S = 2.0
"""How long a client that was refused may take to read that, and go on sending."""
MOST_LINGERING = 256
"""Connections that do so at once; more are closed without."""
LEAST_RATE = 1024
"""Bytes a second that a client with unread answers must take."""
_UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=:)", re.IGNORECASE)
_NO_UPGRADE = b"x-grade"
"""An offer of HTTP/2 that is not taken must not cost the request its body, which the parser would
leave unread. As long as the name it replaces; JSON never has such a line."""


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """What one client connection, and all of them, may take."""

    max_connections: int = 4096
    head_s: float = 10.0
    """For the whole head of a request."""
    idle_s: float = 75.0
    """Between two requests on one connection."""
    stall_s: float = 60.0
    """Without taking any of an answer that is too long for the socket."""

    @classmethod
    def of(cls, settings: Settings, *, most: int | None = None) -> ClientBounds:
        """Gives the configured ones.

        Args:
            settings: `global.gateway`.
            most: connections that the process can have at all.
        """
        count = settings.max_connections
        return cls(
            max_connections=count if most is None else max(1, min(count, most)),
            head_s=settings.client_head_seconds,
            idle_s=settings.client_idle_seconds,
            stall_s=settings.client_stall_seconds,
        )


@dataclass(slots=True)
class _Connections:
    """Every connection of a process; the idle ones in the order in which they became idle."""

    open: set[GuardedProtocol] = field(default_factory=set)
    idle: dict[GuardedProtocol, None] = field(default_factory=dict)
    lingering: set[GuardedProtocol] = field(default_factory=set)
    """Refused, and not yet gone."""

    def drop(self, connection: GuardedProtocol) -> None:
        self.open.discard(connection)
        self.lingering.discard(connection)
        self.idle.pop(connection, None)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Made by `guarded`."""

    bounds: ClassVar[ClientBounds]
    drain: ClassVar[Drain]
    all: ClassVar[_Connections]

    _awaiting_head = True
    """Whether nothing is asked: what comes next is a head, behind an unread body perhaps."""
    _just_begun = False
    """Whether a request began in what is being read."""
    _raw_bytes = 0
    """Of the newest request, from the second read on."""
    _body_bytes = 0
    """Of these, what went into its body."""
    _refused = False
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _at_work: RequestResponseCycle | None = None
    """The request that is being answered; those behind it are in the pipeline."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection; if there are too many, in place of the one that is idle longest."""
        super().connection_made(transport)
        self.timeout_keep_alive = self.bounds.idle_s  # type: ignore[assignment]  # loops take any
        if len(self.all.open) >= self.bounds.max_connections:
            if not self.all.idle:
                self._refuse(OverloadedError("too many connections", retry_after_s=1))
                return
            longest = next(iter(self.all.idle))
            self.all.drop(longest)
            longest.transport.abort()
        self.all.open.add(self)
        self._await_head()
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells every request of the connection; uvicorn tells only the newest."""
        self.all.drop(self)
        self._disarm_head_timer()
        self._disarm_stall_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        for cycle in (self._at_work, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                _let_go(cycle)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads what came, and bounds what is not yet a whole head."""
        if self._refused:
            return
        if self._awaiting_head:
            data = _UPGRADE.sub(_NO_UPGRADE, data)
        super().data_received(data)
        self._bound(data)

    def _bound(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._just_begun:
            self._raw_bytes += len(data)
        self._just_begun = False
        if self._raw_bytes > MOST_HEAD_BYTES + FRAMING * self._body_bytes:
            self._reject(HeadersTooLargeError("the head is too large"))
        elif not self._awaiting_head or self.transport.is_closing():
            self._disarm_head_timer()
        else:
            self._arm_head_timer()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._just_begun = True
        self._raw_bytes = self._body_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Takes a piece of a body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Starts a request, or has it wait behind the one at work."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once on one connection")
        super().on_headers_complete()
        self._awaiting_head = False
        self.all.idle.pop(self, None)
        if self.drain.stopping:  # its next request is another instance's
            self.cycle.keep_alive = False
        if self.pipeline:
            self.flow.resume_reading()  # or nobody would notice a hang-up
        else:
            self._at_work = self.cycle

    def on_response_complete(self) -> None:
        """Goes on to the next request, or waits for one."""
        self._at_work = self.pipeline[-1][0] if self.pipeline else None
        if self._at_work is None:
            self._await_head()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection, whether or not the last answer was taken."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Begins to watch whether the client takes anything."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._disarm_stall_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is not HTTP."""
        refusal = InvalidRequestError("this is not a proper HTTP request")
        unread = self._at_work
        if unread is not None and unread is self.cycle and _is_unread(unread):
            _let_go(unread)
            self.flow.resume_reading()
            self._refuse(refusal, headers_of(dict(unread.scope)).get("x-request-id", ""))
        else:
            self._reject(refusal)

    def _reject(self, exc: ConsilienceError) -> None:
        """Refuses what came, unless an answer is under way, which the refusal would garble."""
        if self._at_work is None:
            self._refuse(exc)
        else:
            self._refused = True
            self.transport.abort()

    def _await_head(self) -> None:
        self._awaiting_head = True
        self.all.idle[self] = None

    def _arm_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.bounds.head_s, self._head_too_slow)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._awaiting_head and not self.transport.is_closing():
            self.transport.abort()

    def _watch_stall(self) -> None:
        self._disarm_stall_timer()
        self._stall_timer = self.loop.call_later(
            self.bounds.stall_s, self._check_stall, self.transport.get_write_buffer_size()
        )

    def _check_stall(self, before: int) -> None:
        self._stall_timer = None
        if not self.flow.write_paused:
            return
        taken = before - self.transport.get_write_buffer_size()
        if taken < min(before, LEAST_RATE * self.bounds.stall_s):
            self.transport.abort()
        else:
            self._watch_stall()

    def _disarm_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _refuse(self, exc: ConsilienceError, given_id: str = "") -> None:
        """Answers in place of the application, which never sees the whole request, and closes."""
        self._refused = True
        id_ = request_id_for(given_id)
        log("refused", id=id_, status=exc.status, error=exc.code)
        body = encode(error_body(exc))
        retry = "" if exc.retry_after_s is None else f"retry-after: {exc.retry_after_s:.0f}\r\n"
        head = (
            f"HTTP/1.1 {exc.status} {HTTPStatus(exc.status).phrase}\r\n"
            f"content-type: application/json\r\nx-request-id: {id_}\r\n{retry}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self._close_gently()

    def _close_gently(self) -> None:
        """Closes once the client has; what it still sends is thrown away.

        The system answers what arrives at a closed socket with a reset, which may take the refusal
        away from a client that has not read it yet.
        """
        full = len(self.all.lingering) >= MOST_LINGERING
        if full or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.all.lingering.add(self)
        self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_S, self.transport.abort)


def _is_unread(cycle: RequestResponseCycle) -> bool:
    """Whether neither a request's body is whole nor its answer under way."""
    return cycle.more_body and not cycle.response_started


def _let_go(cycle: RequestResponseCycle) -> None:
    """Ends a request for its application as if the client had hung up."""
    cycle.disconnected = True
    cycle.waiting_for_100_continue = False  # or a late `receive` would write behind the refusal
    cycle.message_event.set()


def guarded(bounds: ClientBounds, drain: Drain | None = None) -> type[HttpToolsProtocol]:
    """Gives the protocol for one server, as uvicorn wants it: a class.

    Args:
        bounds: for its connections.
        drain: tells when a connection should not be kept.
    """
    members = {"bounds": bounds, "drain": drain or Drain(), "all": _Connections()}
    return type("Guarded", (GuardedProtocol,), members)
