"""A request's events as an async iterator, for users of the library.

An async generator must not open a task group around its `yield` (PEP 789), so the request runs in
one task of its own, which this object owns: it ends with the iteration, with `aclose`, or when the
iterator is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from .reply import Event

Emit = Callable[[Event], Awaitable[None]]


class EventStream:
    """Iterates over the events of one request. Use once."""

    def __init__(self, run: Callable[[Emit], Awaitable[None]]) -> None:
        """
        Args:
            run: carries the request out, awaiting its argument with each event.
        """
        self._run = run
        self._task: asyncio.Task[None] | None = None
        # no buffer: the upstream is read no faster than the consumer iterates
        self._send, self._receive = anyio.create_memory_object_stream[Event](0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._task is None:
            # the one task that outlives a function; owned here and ended by aclose or __del__
            self._task = asyncio.create_task(_feed(self._run, self._send))  # noqa: TID251
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            await self._task
            raise StopAsyncIteration from None
        except anyio.ClosedResourceError:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Ends the request; every upstream call is cancelled. Safe to call at any time.

        Waits until the request has ended, unless the caller is itself cancelled: then the request
        ends by itself a moment later.
        """
        task = self._task
        if task is not None and not task.done():
            # before the stream is closed: the request is to see a cancellation, not a broken stream
            task.cancel()
            task.add_done_callback(_look_away)
            # unlike `await task` this does not swallow our own cancellation
            await asyncio.wait([task])
        self._receive.close()
        self._send.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.cancel()
            task.add_done_callback(_look_away)
        self._receive.close()
        self._send.close()


def _look_away(task: asyncio.Task[None]) -> None:
    """Takes a given-up request's failure: nobody is left to be told, and asyncio would complain."""
    if not task.cancelled():
        task.exception()


async def _feed(
    run: Callable[[Emit], Awaitable[None]],
    send: MemoryObjectSendStream[Event],
) -> None:
    # a function outside the class: the task must not keep its owner alive
    async with send:
        await run(send.send)
