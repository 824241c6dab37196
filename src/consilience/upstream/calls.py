"""The upstream calls of one request: retries, failover, and how many there may be.

Asking again happens only while nothing was passed on, within the time left (the enclosing cancel
scope's deadline), the model's retry budget, and the request's own allowance, in which the calls
still to come have their place.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol, Self

import anyio

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import (
    BudgetExceededError,
    BudgetUnavailableError,
    UpstreamConnectionError,
    UpstreamError,
)
from .balance import Backend, Member
from .base import Upstream
from .retry import LONGEST_WAIT_S
from .verdict import may_have_cost, verdict_on

MOST_HELD = 64
"""Chunks that may be held back because they say nothing yet."""
UNLIMITED = 1 << 30


@dataclass(slots=True)
class Allowance:
    """How many upstream calls one request may make."""

    most: int = UNLIMITED
    """In all, retries included."""
    planned: int = 0
    """Without any retry; what of them is still to come is kept free of retries."""
    begun: int = field(default=0, init=False)
    """Calls so far, each counted once however often it was repeated."""
    made: int = field(default=0, init=False)
    """Upstream calls so far."""
    paid: int = field(default=0, init=False)
    """Those that may have cost: all but the ones that were turned away or never arrived."""

    @property
    def has_room_for_retry(self) -> bool:
        """Whether a call may be repeated."""
        return self.most - self.made > max(0, self.planned - self.begun)


class Meter(Protocol):
    """What pays for the calls of one request (`limits.metering.CallMeter`)."""

    def around(self, upstream: Upstream, *, again: bool) -> Upstream:
        """Gives the same upstream, its calls paid for; `again`: they repeat one that failed.

        Its methods raise `BudgetExceededError`, before the call, when there is no money for it.
        """
        ...


class Calls:
    """An upstream that serves every model of a pool to one request."""

    def __init__(
        self,
        find: Callable[[str], Member | None],
        allowance: Allowance,
        meter: Meter | None = None,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            find: gives the member that serves a model.
            allowance: the request's.
            meter: pays for them; None: nobody counts what they cost.
            draw: gives a random number from 0 up to 1.
        """
        self._find = find
        self._draw = draw
        self._meter = meter
        self.allowance = allowance

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        member = self._find(model)
        return member.cost(usage) if member is not None else None

    async def complete(
        self, request: ChatRequest, *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> Completion:
        """Asks the model's backends until one answers; see `Upstream.complete`.

        Args:
            request: what to ask.
            longest_wait_s: seconds of a `Retry-After` that is still waited for.
        """
        with self._trial(request.model, longest_wait_s) as trial:
            while True:
                try:
                    with trial.attempt() as upstream:
                        completion = await upstream.complete(request)
                except UpstreamError as exc:
                    await trial.pause_after(exc)
                    continue
                cost = trial.member.cost(completion.usage)
                if cost is None and trial.made == 1:
                    return completion
                return replace(completion, cost_usd=cost, attempts=trial.made)

    async def stream(
        self, request: ChatRequest, *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> AsyncGenerator[Body, None]:
        """Streams from the model's backends; the next one only before anything was said.

        Args:
            request: what to ask.
            longest_wait_s: seconds of a `Retry-After` that is still waited for.
        """
        with self._trial(request.model, longest_wait_s) as trial:
            while True:
                held: list[Body] | None = []
                try:
                    with trial.attempt() as upstream:
                        async with aclosing(upstream.stream(request)) as chunks:
                            async for chunk in chunks:
                                if held is None:
                                    yield chunk
                                    continue
                                held.append(chunk)
                                if says_something(chunk) or len(held) >= MOST_HELD:
                                    begun, held = held, None
                                    for early in begun:
                                        yield early
                except UpstreamError as exc:
                    if held is None:
                        raise
                    await trial.pause_after(exc)
                    continue
                for chunk in held or ():
                    yield chunk
                return

    def _trial(self, model: str, longest_wait_s: float) -> _Trial:
        member = self._find(model)
        if member is None:
            raise UpstreamConnectionError("has no backend", model=model)
        return _Trial(member, model, self.allowance, self._draw, self._meter, longest_wait_s)


@dataclass(slots=True)
class _Trial:
    """One call on its way through a model's backends."""

    member: Member
    model: str
    allowance: Allowance
    draw: Callable[[], float]
    meter: Meter | None = None
    longest_wait_s: float = LONGEST_WAIT_S
    tried: list[Backend] = field(default_factory=list)
    """One entry an attempt."""
    _retrying: bool = False
    _once: bool = False
    """Whether a failure that is worth one more call has been there."""
    _stale: bool = False
    """Whether a connection that was just being closed has been there."""
    _failed: UpstreamError | None = None
    """How the last attempt failed."""
    _broke: bool = False
    """Whether there was no money for another."""

    def __enter__(self) -> Self:
        self.allowance.begun += 1
        self.member.budget.in_flight += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.member.budget.in_flight -= 1
        self.member.budget.retrying -= self._retrying

    @property
    def made(self) -> int:
        """Upstream calls so far."""
        return len(self.tried)

    @contextmanager
    def attempt(self) -> Iterator[Upstream]:
        """Gives whom to ask, and takes in how that ends.

        Raises:
            UpstreamError: there is nobody, or the request may make no further call; or the failure
                of the attempt before, when there is no money for another.
            BudgetExceededError: there is none for the first. `BudgetUnavailableError` likewise.
        """
        backend = self._next()
        probe = backend.health.begin(anyio.current_time())
        self.tried.append(backend)
        self.allowance.made += 1
        try:
            yield self._paid(backend.upstream)
        except UpstreamError as exc:
            exc.attempts = self.made
            self.allowance.paid += may_have_cost(exc)
            backend.health.end(
                verdict_on(exc).mark,
                anyio.current_time(),
                probe=probe,
                told_s=exc.retry_after_s,
                may_eject=self.member.may_eject(backend),
            )
            raise
        except (BudgetExceededError, BudgetUnavailableError) as exc:  # nobody was asked
            self.allowance.made -= 1
            self.tried.pop()
            backend.health.end("none", anyio.current_time(), probe=probe)
            if self._failed is None:
                raise
            self._broke = True
            self._failed.message += "; there was no money to ask again"
            raise self._failed from exc
        except BaseException:  # cancelled or left: the model had begun to work
            self.allowance.paid += 1
            backend.health.end("none", anyio.current_time(), probe=probe)
            raise
        self.allowance.paid += 1
        backend.health.end("ok", anyio.current_time(), probe=probe)

    async def pause_after(self, exc: UpstreamError) -> None:
        """Waits until the next attempt is due.

        Raises:
            UpstreamError: the same, when there is to be no next attempt.
        """
        if self._broke:
            raise exc
        self._failed = exc
        if self._was_stale(exc):
            return
        seconds = self._pause_s(exc)
        if seconds is None:
            raise exc
        if not self._retrying:
            self._retrying = True
            self.member.budget.retrying += 1
        await anyio.sleep(seconds)

    def _was_stale(self, exc: UpstreamError) -> bool:
        """Whether nobody has seen the request, for once: asking again then repeats nothing."""
        stale = isinstance(exc, UpstreamConnectionError) and exc.stale and not self._stale
        self._stale = self._stale or stale
        return stale and self.allowance.has_room_for_retry

    def _paid(self, upstream: Upstream) -> Upstream:
        return self.meter.around(upstream, again=self.made > 1) if self.meter else upstream

    def _next(self) -> Backend:
        if self.allowance.made >= self.allowance.most:
            raise UpstreamError(
                f"is not asked: the request has made {self.allowance.made} upstream calls,"
                " as many as it may",
                model=self.model,
                reason="call_limit",
            )
        backend = self.member.pick(self.tried, anyio.current_time(), self.draw)
        if backend is None:
            raise UpstreamConnectionError("has no backend", model=self.model)
        return backend

    def _pause_s(self, exc: UpstreamError) -> float | None:
        verdict, policy = verdict_on(exc), self.member.retries
        once_before, self._once = self._once, self._once or verdict.again == "once"
        wanted = policy.conditions is None or not verdict.conditions
        if not (wanted or verdict.conditions & (policy.conditions or frozenset())):
            return None
        if verdict.again == "never" or (verdict.again == "once" and once_before):
            return None
        if not self.allowance.has_room_for_retry:
            return None
        if not (self._retrying or self.member.budget.has_room):
            return None
        now = anyio.current_time()
        left_s = anyio.current_effective_deadline() - now
        if self.member.has_other(self.tried, now):
            return 0.0 if left_s > 0 else None
        repeats = self.made - len({id(backend) for backend in self.tried})
        if verdict.again == "elsewhere" or repeats >= policy.count:
            return None
        if (exc.retry_after_s or 0.0) > self.longest_wait_s:
            return None
        if all(backend.health.failing for backend in self.tried):
            return (
                None  # it has been down for a while: more calls would change nothing but the bill
            )
        return policy.pause_s(repeats, exc.retry_after_s, left_s, self.draw)


def says_something(chunk: Body) -> bool:
    """Whether a chunk has more to say than whose turn it is."""
    choices = chunk.get("choices")
    if not choices:
        return bool(chunk.get("usage"))
    return any(_speaks(choice) for choice in choices)


def _speaks(choice: object) -> bool:
    if not isinstance(choice, dict):
        return True
    delta = choice.get("delta")
    if choice.get("finish_reason") or not isinstance(delta, dict):
        return True
    return any(value for name, value in delta.items() if name != "role")
