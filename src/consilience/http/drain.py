"""The end of a process that has requests in flight.

Three states, one after the other: serving; *stopping*: no longer ready, so that load balancers go
elsewhere, but everything is answered; *over*: what is still in flight is ended with an error that says
so, and nothing new begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from ..errors import ShuttingDownError

T = TypeVar("T")


class Drain:
    """Knows how far the end has come. Belongs to one event loop; `begin` is safe in a signal handler."""

    def __init__(self) -> None:
        self.stopping = False
        """Whether the process should get no new requests."""
        self.over = False
        """Whether what is in flight has been ended."""
        self._at_work: set[anyio.CancelScope] = set()

    @property
    def count(self) -> int:
        """Requests at work."""
        return len(self._at_work)

    def begin(self) -> None:
        """Says that the process is to be given no new requests."""
        self.stopping = True

    def cut(self) -> None:
        """Ends every request at work, each with its own error to its client."""
        self.stopping = self.over = True
        for scope in self._at_work:
            scope.cancel()

    async def unless_over(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does a request's work, and gives it up when the end comes first.

        Raises:
            ShuttingDownError: the end came; models had been asked, perhaps.
        """
        if self.over:
            raise ShuttingDownError("the gateway is stopping", retry_after_s=1)
        with anyio.CancelScope() as scope:
            self._at_work.add(scope)
            try:
                return await work()
            finally:
                self._at_work.discard(scope)
        raise ShuttingDownError(
            "the gateway stopped before the answer was there", retry_after_s=1, spent=True
        )
