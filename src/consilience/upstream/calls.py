"""The upstream calls of one request: retries, failover, and how many there may be.

Asking again happens only while nothing was passed on, within the time left (the enclosing cancel
scope's deadline), the model's retry budget, and the request's own allowance, in which the calls
still to come have their place.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import (
    BudgetExceededError,
    BudgetUnavailableError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamTimeoutError,
)
from ..telemetry import metrics
from .allowance import Allowance
from .answer import says_something
from .balance import Backend, Member
from .base import Meter, Upstream
from .retry import LONGEST_WAIT_S
from .verdict import TIMEOUT_CONDITIONS, may_have_cost, verdict_on

MOST_HELD = 64
"""Chunks that may be held back because they say nothing yet."""
ELSEWHERE_SHARE = 0.5
"""The part of the time left that a whole answer may take while another backend can be asked."""


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
        with self._trial(request, longest_wait_s) as trial:
            while True:
                await checkpoint_if_cancelled()  # a call could be sent without any wait
                try:
                    with trial.attempt() as upstream, trial.in_time():
                        completion = await upstream.complete(request)
                except UpstreamError as exc:
                    await trial.pause_after(exc)
                    continue
                cost = trial.count(completion.usage)
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
        with self._trial(request, longest_wait_s) as trial:
            while True:
                held: list[Body] | None = []
                usage: object = None
                await checkpoint_if_cancelled()
                try:
                    with trial.attempt() as upstream:
                        async with aclosing(upstream.stream(request)) as chunks:
                            async for chunk in chunks:
                                usage = chunk.get("usage") or usage
                                if held is None:
                                    yield chunk
                                    continue
                                held.append(chunk)
                                if says_something(chunk) or len(held) >= MOST_HELD:
                                    trial.time_first_token()
                                    begun, held = held, None
                                    for early in begun:
                                        yield early
                except UpstreamError as exc:
                    if held is None:
                        raise
                    await trial.pause_after(exc)
                    continue
                trial.count(Usage.from_body(usage))
                for chunk in held or ():
                    yield chunk
                return

    def _trial(self, request: ChatRequest, longest_wait_s: float) -> _Trial:
        model, reworded = request.model, request.reworded
        member = self._find(model)
        if member is None:
            raise UpstreamConnectionError("has no backend", model=model)
        return _Trial(
            member,
            model,
            self.allowance,
            self._draw,
            self._meter,
            longest_wait_s,
            reworded=reworded,
        )


@dataclass(slots=True)
class _Trial:
    """One call on its way through a model's backends."""

    member: Member
    model: str
    allowance: Allowance
    draw: Callable[[], float]
    meter: Meter | None = None
    longest_wait_s: float = LONGEST_WAIT_S
    reworded: bool = False
    """Whether it says anew what the model has just refused."""
    tried: list[Backend] = field(default_factory=list)
    """One entry an attempt."""
    _retrying: bool = False
    _once: bool = False
    """Whether a failure that is worth one more call has been there."""
    _asked_at: float = 0.0
    _due_at: float = math.inf
    """The deadline that the attempt began under."""
    _answers: bool = False
    """Whether its first token has come."""
    _cut: bool = False
    """Whether its share of the time was over."""
    _stale: bool = False
    """Whether a connection that was just being closed has been there."""
    _failed: UpstreamError | None = None
    """How the last attempt failed."""
    _broke: bool = False
    """Whether there was no money for another."""

    def __enter__(self) -> Self:
        self.allowance.enter(again=self.reworded)
        self.member.budget.in_flight += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.member.budget.in_flight -= 1
        self.member.budget.retrying -= self._retrying
        self.allowance.leave()

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
        self._asked_at = anyio.current_time()
        self._due_at = anyio.current_effective_deadline()
        self._answers = self._cut = False
        probe = backend.health.begin(self._asked_at)
        if self._retrying:
            metrics.RETRIES.of(self.label).inc()
        self.tried.append(backend)
        self.allowance.made += 1
        try:
            yield self._paid(backend.upstream)
        except UpstreamError as exc:
            exc.attempts = self.made
            now = anyio.current_time()
            mark = verdict_on(exc).mark
            if self._cut and not self._waited_long(now):
                mark = "none"
            metrics.count_call(self.label, exc.reason)
            if may_have_cost(exc):
                self.allowance.paid += 1
                metrics.UNPRICED.of(self.label).inc()
            backend.health.end(
                mark,
                now,
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
            now = anyio.current_time()
            late = self._was_too_slow(now)
            metrics.count_call(self.label, "timeout" if late else "left")
            metrics.UNPRICED.of(self.label).inc()
            self.allowance.paid += 1
            backend.health.end(
                "failed" if late else "none",
                now,
                probe=probe,
                may_eject=self.member.may_eject(backend),
            )
            raise
        self.allowance.paid += 1
        now = anyio.current_time()
        backend.health.end("ok", now, probe=probe)
        metrics.count_call(self.label, "ok")
        metrics.UPSTREAM_SECONDS.of(self.label).observe(now - self._asked_at)

    @property
    def label(self) -> str:
        """The model in metrics: a configured name, or `other`."""
        return self.model if self.member.named else metrics.OTHER

    def count(self, usage: Usage | None) -> Decimal | None:
        """Counts what the call used that has just ended; gives its cost, if that is known."""
        cost = self.member.cost(usage)
        prompt, completion = (
            (usage.prompt_tokens, usage.completion_tokens) if usage is not None else (0, 0)
        )
        metrics.count_usage(self.label, prompt, completion, cost)
        return cost

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Bounds an attempt by its share of the time left while another backend could be asked.

        A whole answer has no first byte to wait for, so without it one that hangs takes all the time.

        Raises:
            UpstreamTimeoutError: the share is over.
        """
        seconds, now = math.inf, anyio.current_time()
        if self._may_turn(now):
            seconds = ELSEWHERE_SHARE * (anyio.current_effective_deadline() - now)
        try:
            with anyio.fail_after(seconds):
                yield
        except TimeoutError as exc:
            self._cut = True
            raise UpstreamTimeoutError("did not answer in time", model=self.model) from exc

    def _may_turn(self, now: float) -> bool:
        """Whether another backend would be asked if this one took too long.

        Else a slow answer would be lost for nothing.
        """
        member = self.member
        return (
            member.has_other(self.tried, now)
            and member.retries.takes(TIMEOUT_CONDITIONS)
            and self.allowance.has_room_for_retry
            and (self._retrying or member.budget.has_room)
        )

    def _was_too_slow(self, now: float) -> bool:
        """Whether a call that was cancelled met its deadline without a word; else its client went."""
        return not self._answers and now >= self._due_at and self._waited_long(now)

    def _waited_long(self, now: float) -> bool:
        """Whether a call had the time that it should need.

        Not when the client had asked for less than is configured, or the deadline came soon: a
        client could have any backend taken out of service so.
        """
        return self.allowance.patient and now - self._asked_at >= self.member.retries.telling_s

    def time_first_token(self) -> None:
        """Takes in that a streamed call has begun to answer."""
        self._answers = True
        seconds = anyio.current_time() - self._asked_at
        metrics.FIRST_TOKEN_SECONDS.of(self.label).observe(seconds)

    async def pause_after(self, exc: UpstreamError) -> None:
        """Waits until the next attempt is due.

        Raises:
            UpstreamError: the same, when there is to be no next attempt.
        """
        # who is cancelled has no time left: that is no failure of the model
        await checkpoint_if_cancelled()
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
        again = self.made > 1 or self.reworded
        return self.meter.around(upstream, again=again) if self.meter else upstream

    def _next(self) -> Backend:
        none_left = self.allowance.made >= self.allowance.most
        if none_left or (self.reworded and not self.allowance.has_room_for_retry):
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
        if not policy.takes(verdict.conditions):
            return None
        if verdict.again == "never" or (verdict.again == "once" and once_before):
            return None
        if not self.allowance.has_room_for_retry:
            metrics.RETRIES_DENIED.of("calls").inc()
            return None
        if not (self._retrying or self.member.budget.has_room):
            metrics.RETRIES_DENIED.of("budget").inc()
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
        pause_s = policy.pause_s(repeats, exc.retry_after_s, left_s, self.draw)
        if pause_s is None:
            metrics.RETRIES_DENIED.of("time").inc()
        return pause_s
