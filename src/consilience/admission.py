"""Who may start calls now, who waits for a turn, and who is told to come back later.

A request takes as much room as it may have calls in flight at once. Turns go strictly in order of
arrival: a wide request at the head is waited for, so that narrow ones cannot starve it. The queue is
bounded in length and in age; beyond either a request is refused, with an estimate of when there will
be room.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from .errors import OverloadedError

FIRST_GUESS_S = 1.0
"""How long a request holds its room, until one has ended and told."""
LONGEST_RETRY_S = 60.0
"""Clients do not honour longer ones."""
_NEWEST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is let in and how much may wait."""

    capacity: int
    """Calls in flight."""
    max_queued: int = 0
    """Requests that wait; 0: none ever does."""
    max_queue_s: float = 0.0
    """The longest wait."""


class Admission:
    """Lets requests in as long as there is room. Belongs to one event loop."""

    def __init__(self, bounds: Bounds, *, jitter: Callable[[], float] = random.random) -> None:
        """
        Args:
            bounds: what is let in.
            jitter: gives a number from 0 to 1, so that refused clients do not all return at once.
        """
        self._bounds = bounds
        self._jitter = jitter
        self._queue: dict[_Waiter, None] = {}
        self._queued_width = 0
        self._held_s = FIRST_GUESS_S
        self.in_flight = 0
        """Calls that those who were let in may have at once."""

    @property
    def queued(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    def resize(self, bounds: Bounds) -> None:
        """Takes up new bounds; who was let in stays in, who waits goes on waiting."""
        self._bounds = bounds
        self._advance()

    def refuse_when_full(self) -> None:
        """Spares a request that would be refused the work before its turn.

        Raises:
            OverloadedError: there is no room and no place in the queue, whatever the request.
        """
        # an empty queue refuses nobody: a narrow request may still fit where a wide one does not
        if self._queue and len(self._queue) >= self._bounds.max_queued:
            raise self._refusal(1)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Gives what a request takes room with; it goes back when the block ends."""
        turn = Turn(self)
        try:
            yield turn
        finally:
            turn.end()

    async def enter(self, width: int, *, instead_of: Permit | None = None) -> Permit:
        """Lets a request in, at once or when its turn comes. Cancelling it leaves no trace.

        Args:
            width: calls that it may have in flight at once. One that is wider than everything is
                let in alone; one that makes none never waits.
            instead_of: what it has, which is given back: it was let in before, so its turn comes
                before those who were not, and it waits for as long as it has time.

        Raises:
            OverloadedError: the queue is full, or the turn did not come in time.
        """
        ahead = instead_of is not None
        if not ahead and (not width or (not self._queue and self._fits(width))):
            return self._let_in(width)
        if not ahead and len(self._queue) >= self._bounds.max_queued:
            raise self._refusal(width)
        waiter = _Waiter(width, ahead)
        self._append(waiter)
        if instead_of is not None:
            instead_of.release()  # in the queue already, or who is behind would take it
        try:
            with anyio.move_on_after(None if ahead else self._bounds.max_queue_s):
                await waiter.turn.wait()
        except BaseException:
            if waiter.permit is not None:  # the turn came together with the cancellation
                waiter.permit.release()
            else:
                self._remove(waiter)
            raise
        if waiter.permit is None:
            self._remove(waiter)
            raise self._refusal(width)
        return waiter.permit

    def _fits(self, width: int) -> bool:
        return not self.in_flight or self.in_flight + width <= self._bounds.capacity

    def _let_in(self, width: int) -> Permit:
        self.in_flight += width
        return Permit(self, width, anyio.current_time())

    def _advance(self) -> None:
        while self._queue:
            waiter = next(iter(self._queue))
            if not self._fits(waiter.width):
                return
            self._forget(waiter)
            waiter.permit = self._let_in(waiter.width)
            waiter.turn.set()

    def _append(self, waiter: _Waiter) -> None:
        self._queue[waiter] = None
        self._queued_width += waiter.width
        if waiter.ahead:
            self._queue = dict.fromkeys(sorted(self._queue, key=lambda w: not w.ahead))

    def _remove(self, waiter: _Waiter) -> None:
        self._forget(waiter)
        self._advance()  # the next one may fit where this one did not

    def _forget(self, waiter: _Waiter) -> None:
        del self._queue[waiter]
        self._queued_width -= waiter.width

    def leave(self, width: int, since: float) -> None:
        """Takes room back; called by `Permit`."""
        self.in_flight -= width
        held_s = anyio.current_time() - since
        self._held_s += _NEWEST_SHARE * (held_s - self._held_s)
        self._advance()

    def _refusal(self, width: int) -> OverloadedError:
        ahead = self._queued_width + width
        wait_s = ahead * self._held_s / self._bounds.capacity
        wait_s += self._jitter() * max(1.0, wait_s)
        return OverloadedError(
            "too many requests are in flight; try again later",
            retry_after_s=min(wait_s, LONGEST_RETRY_S),
        )


@dataclass(slots=True, eq=False)
class Permit:
    """A request's room. Give it back once."""

    _admission: Admission
    width: int
    since: float
    """When it was given, on the event loop's clock."""

    def narrow(self, width: int) -> None:
        """Gives back all but so much, when that is all that is needed from now on."""
        if width < self.width:
            self.width, freed = width, self.width - width
            self._admission.leave(freed, self.since)

    def release(self) -> None:
        """Gives the room to who comes next."""
        self._admission.leave(self.width, self.since)


@dataclass(slots=True, eq=False)
class Turn:
    """A request's room, which may change: first for routing, then for its own calls."""

    _admission: Admission
    _permit: Permit | None = None

    async def take(self, width: int) -> None:
        """Takes so much room in place of what it has. Arguments and errors: `Admission.enter`."""
        had = self._permit
        if had is not None and width <= had.width:
            had.narrow(width)
            return
        self._permit = None  # two that each wait for what the other holds would wait for ever
        self._permit = await self._admission.enter(width, instead_of=had)

    def narrow(self, width: int) -> None:
        """Gives back all but so much."""
        if self._permit is not None:
            self._permit.narrow(width)

    def end(self) -> None:
        """Gives everything back."""
        if self._permit is not None:
            self._permit.release()
        self._permit = None


@dataclass(slots=True, eq=False)
class _Waiter:
    width: int
    ahead: bool = False
    turn: anyio.Event = field(default_factory=anyio.Event)
    permit: Permit | None = None
