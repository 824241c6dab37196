"""The events of a streamed answer, up to its end, which must be a proper one."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import anyio

from ..chat.codec import Body
from ..chat.sse import SSEDecoder
from ..errors import UpstreamProtocolError
from .answer import Ends
from .foreign import our_errors
from .limits import Limits

READ_BYTES = 64 * 1024
"""Taken at a time, so that a client that reads slowly keeps no more of an answer in parsed form."""


class Events:
    """The events of a streamed response up to its end mark."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        limits: Limits,
        model: str,
        first_by: float,
        choices: int = 1,
    ) -> None:
        """
        Args:
            response: whose body is read.
            limits: of the call.
            model: for messages.
            first_by: when the first event must have come; `anyio.current_time`.
            choices: how many were asked for.
        """
        self._response = response
        self._decoder = SSEDecoder(limits.max_event_bytes)
        self._limits = limits
        self._first_by: float | None = first_by
        self._size = 0
        self._model = model
        self._over = False
        self._marked = False
        self._spoke = False
        self._ends = Ends(choices)

    async def next(self) -> list[bytes]:
        """Gives the data of the next events, at least one; none at the end.

        Raises:
            UpstreamError: the connection broke, no event came for too long, or all of them together
                are too many bytes.
        """
        events: list[bytes] = []
        seconds = self._limits.idle_s
        if self._first_by is not None:
            seconds = self._first_by - anyio.current_time()
        with our_errors(self._model), anyio.fail_after(seconds):
            while not events and not self._over:
                piece = await self._response.content.read(READ_BYTES)
                events = self._decoder.feed(piece) if piece else self._decoder.flush()
                self._over = not piece
                self._size += len(piece)
                if self._size > self._limits.max_body_bytes:
                    raise UpstreamProtocolError(
                        f"the answer is larger than {self._limits.max_body_bytes} bytes",
                        model=self._model,
                        reason="too_large",
                    )
        self._first_by = None
        for position, data in enumerate(events):
            if data.strip() == b"[DONE]":
                self._over = self._marked = True
                await _run_out(self._response)
                return events[:position]
        return events

    def note(self, chunk: Body) -> None:
        """Remembers what a chunk says of the answer's end."""
        self._spoke = self._spoke or bool(chunk.get("choices"))
        self._ends.note(chunk)

    def check_end(self) -> None:
        """Refuses a stream that ended before its answer did.

        Raises:
            UpstreamProtocolError: a choice had no finish reason, or one that was asked for never
                began, and there was no `[DONE]`; or no choices.
        """
        if not (self._ends.all_there or self._marked):
            raise UpstreamProtocolError(
                "the answer was cut off before its end", model=self._model, reason="truncated"
            )
        if not self._spoke:
            raise UpstreamProtocolError("the answer has no choices", model=self._model)


async def _run_out(response: aiohttp.ClientResponse) -> None:
    """Reads what follows `[DONE]`, normally just the end: the connection can be used again."""
    with anyio.move_on_after(0.05), suppress(aiohttp.ClientError, OSError):
        while not response.content.at_eof():
            await response.content.readany()
