"""The panel: several models answer the same request side by side.

Rules of this file. Seats are keyed by position, never by name. What a seat did is one of answered,
failed, timeout, cancelled; every seat ends as exactly one of them, whatever the order in which
answers arrive. Only known errors are caught: anything else is a bug and ends the request.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from ...chat.completion import Completion, Usage
from ...chat.request import ChatRequest
from ...errors import ConsilienceError, PanelFailedError, UnusableAnswerError, UpstreamError
from ..base import Ask, Observer, Progress, StageRecord, StageStatus, ms_since
from ..reasoning import ReasoningSwitch
from .options import FusionOptions, Seat
from .seats import panel_request, seated, shared_request

PANEL_SHARE = 0.6
"""The part of the time left that the panel may use when no round timeout is set, so that judge and
synthesis always have theirs."""


@dataclass(frozen=True, slots=True)
class PanelResponse:
    """A usable answer."""

    seat: int
    model: str
    text: str
    reasoning: str
    truncated: bool
    completion: Completion
    latency_ms: int


@dataclass(frozen=True, slots=True)
class FailedSeat:
    """A seat without a usable answer."""

    seat: int
    model: str
    error: str
    """A sentence that may be shown to clients."""
    reason: str
    """One word: see `UpstreamError.reason`; or `timeout`, `cancelled`."""
    status: StageStatus
    latency_ms: int
    status_code: int | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None
    """What an unusable answer cost."""
    completion: Completion | None = None
    called: bool = True
    """False when the seat was still waiting for its turn."""
    attempts: int = 1
    """Upstream calls that were made for it."""

    def as_body(self) -> dict[str, Any]:
        """The entry of `failed_models`."""
        body: dict[str, Any] = {"model": self.model, "error": self.error, "reason": self.reason}
        if self.status_code is not None:
            body["status_code"] = self.status_code
        return body


@dataclass(frozen=True, slots=True)
class Panel:
    """What came of the round: responses and failures, each in seat order."""

    responses: Sequence[PanelResponse]
    failures: Sequence[FailedSeat]

    @property
    def records(self) -> Sequence[StageRecord]:
        """One record per seat, in seat order."""
        answered = [
            StageRecord(
                stage="panel",
                model=r.model,
                status="ok",
                latency_ms=r.latency_ms,
                usage=r.completion.usage,
                cost_usd=r.completion.cost_usd,
                seat=r.seat,
                attempts=r.completion.attempts,
            )
            for r in self.responses
        ]
        failed = [
            StageRecord(
                stage="panel",
                model=f.model,
                status=f.status,
                latency_ms=f.latency_ms,
                usage=f.usage,
                cost_usd=f.completion.cost_usd if f.completion else None,
                reason=f.reason,
                seat=f.seat,
                called=f.called,
                attempts=f.attempts,
            )
            for f in self.failures
        ]
        return sorted([*answered, *failed], key=lambda record: record.seat or 0)


@dataclass(slots=True)
class _Round:
    """The state of one panel round; lives as long as `run_panel`."""

    seats: Sequence[Seat]
    quorum: int
    options: FusionOptions
    ask: Ask
    observe: Observer
    limiter: anyio.Semaphore
    outcomes: dict[int, PanelResponse | FailedSeat] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    """When each seat's call was made."""
    changed: anyio.Event = field(default_factory=anyio.Event)

    def settle(self, outcome: PanelResponse | FailedSeat) -> None:
        self.outcomes[outcome.seat] = outcome
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def answered(self) -> int:
        return sum(isinstance(o, PanelResponse) for o in self.outcomes.values())

    @property
    def failed(self) -> bool:
        return any(isinstance(o, FailedSeat) for o in self.outcomes.values())

    @property
    def over(self) -> bool:
        """Whether no further call is wanted: the round ends as soon as its task gets its turn."""
        if self.answered >= self.quorum:
            return not self.options.quorum_grace_seconds
        return self.options.on_error == "fail" and self.failed


async def run_panel(
    request: ChatRequest,
    seats: Sequence[Seat],
    options: FusionOptions,
    ask: Ask,
    observe: Observer,
    *,
    reasoning: Sequence[ReasoningSwitch | None] = (),
) -> Panel:
    """Asks every seat at once and gives what came of it.

    Ends when every seat has settled, when the quorum and its grace have passed, when the round's
    time is up, or (under `on_error: fail`) at the first failure. Calls still running then are
    cancelled. Cancelling this function cancels them all.

    Args:
        request: the client's request.
        seats: who is asked, in order; at least one.
        options: the merged options.
        ask: asks a model.
        observe: told when a seat begins and ends.
        reasoning: what the decision says of each seat's reasoning; empty when of none.

    Raises:
        PanelFailedError: no seat answered, or one failed under `on_error: fail`.
    """
    seats = seated(seats, options)
    shared = shared_request(request)
    limiter = anyio.Semaphore(options.max_concurrent or len(seats), fast_acquire=True)
    quorum = min(options.min_successful_responses or len(seats), len(seats))
    state = _Round(seats, quorum, options, ask, observe, limiter)
    decided = False
    # What a seat did is told in a group of its own: the end of the round must not cut that short.
    async with anyio.create_task_group() as telling:
        with anyio.move_on_after(_round_seconds(options)):
            async with anyio.create_task_group() as group:
                for position, seat in enumerate(seats):
                    switch = reasoning[position] if reasoning else None
                    asked = panel_request(shared, seat, switch)
                    group.start_soon(_sit, position, asked, state, telling)
                await _until_decided(state)
                # from here on the time was not up, however long the calls take to stop
                decided = True
                group.cancel_scope.cancel()
    unheard = state.begun.keys() - state.outcomes.keys()
    panel = _close(state, timed_out=not decided)
    for lost in panel.failures:
        if lost.seat in unheard:
            await observe(_told(lost, shown=False))
    failures = [f for f in panel.failures if f.reason != "cancelled"]
    failed_fast = options.on_error == "fail" and failures and len(panel.responses) < quorum
    if failed_fast or not panel.responses:
        raise panel_failure(failures or panel.failures, total=len(seats))
    return panel


def usable(completion: Completion) -> Completion:
    """Gives the completion back if a reader could use it.

    Raises:
        UnusableAnswerError: an error in place of an answer, empty, refused, filtered, or reasoning
            without an answer.
    """
    if completion.choice.get("error") or completion.finish_reason == "error":
        raise UnusableAnswerError(
            "the model reported an error in place of an answer",
            model=completion.model,
            reason="error",
        )
    if completion.text:
        return completion
    if completion.refusal:
        raise UnusableAnswerError(
            "the model refused to answer", model=completion.model, reason="refusal"
        )
    if completion.finish_reason == "content_filter":
        raise UnusableAnswerError(
            "the answer was withheld by a content filter",
            model=completion.model,
            reason="content_filter",
        )
    if completion.reasoning:
        raise UnusableAnswerError(
            "the model reasoned but gave no answer", model=completion.model, reason="reasoning_only"
        )
    raise UnusableAnswerError("the answer is empty", model=completion.model, reason="empty")


def panel_failure(failures: Sequence[FailedSeat], *, total: int) -> PanelFailedError:
    """The error for a failed round: 429 when all were 429, 504 when all timed out, else 502."""
    reasons = {f.reason for f in failures}
    status, retry_after = 502, None
    if reasons == {"rate_limited"}:
        status = 429
        waits = [f.retry_after_s for f in failures if f.retry_after_s is not None]
        retry_after = min(waits, default=None)
    elif reasons == {"timeout"}:
        status = 504
    told = "; ".join(f"{f.model}: {f.error}" for f in failures)
    return PanelFailedError(
        f"{len(failures)} of {total} panel models failed: {told}",
        failures=failures,
        status=status,
        retry_after_s=retry_after,
    )


async def _until_decided(state: _Round) -> None:
    """Waits until the round needs no more answers."""
    while len(state.outcomes) < len(state.seats) and not state.over:
        if state.answered >= state.quorum:
            with anyio.move_on_after(state.options.quorum_grace_seconds):
                while len(state.outcomes) < len(state.seats):
                    await state.changed.wait()
            return
        await state.changed.wait()


async def _sit(position: int, asked: ChatRequest, state: _Round, telling: TaskGroup) -> None:
    """Asks one seat in its turn and settles it, whatever comes of it."""
    async with state.limiter:
        if state.over:
            await anyio.sleep_forever()  # the last answer freed this place; the end is on its way
        state.begun[position] = anyio.current_time()
        seat = state.seats[position]
        await state.observe(Progress("panel_started", {"seat": position, "model": seat.model}))
        outcome = await _outcome(position, asked, state)
        state.settle(outcome)  # before the place is free, so that who gets it knows
    shown = state.options.include_intermediate_responses
    telling.start_soon(_tell, state.observe, _told(outcome, shown=shown))


async def _tell(observe: Observer, progress: Progress) -> None:
    await observe(progress)


async def _outcome(position: int, asked: ChatRequest, state: _Round) -> PanelResponse | FailedSeat:
    seat, begun = state.seats[position], state.begun[position]
    completion: Completion | None = None
    try:
        with anyio.fail_after(seat.timeout_seconds or math.inf):
            completion = await state.ask(asked)
        answer = usable(completion)
    except TimeoutError:
        return _failed(position, seat, "did not answer in time", "timeout", "timeout", begun)
    except ConsilienceError as exc:
        return _failed_by(exc, position, seat, begun, completion)
    return PanelResponse(
        seat=position,
        model=seat.model,
        text=answer.text,
        reasoning=answer.reasoning,
        truncated=answer.truncated,
        completion=answer,
        latency_ms=ms_since(begun),
    )


def _told(response: PanelResponse | FailedSeat, *, shown: bool) -> Progress:
    """What watchers hear of a seat's end."""
    if isinstance(response, FailedSeat):
        lost = {"seat": response.seat, "model": response.model, "reason": response.reason}
        return Progress("panel_failed", lost)
    fields: dict[str, Any] = {
        "seat": response.seat,
        "model": response.model,
        "latency_ms": response.latency_ms,
        "truncated": response.truncated,
    }
    if shown:
        fields["content"] = response.text
    if response.completion.usage:
        fields["usage"] = response.completion.usage.as_body()
    return Progress("panel_answered", fields)


def _failed(
    position: int, seat: Seat, error: str, reason: str, status: StageStatus, begun: float
) -> FailedSeat:
    return FailedSeat(
        seat=position,
        model=seat.model,
        error=error,
        reason=reason,
        status=status,
        latency_ms=ms_since(begun),
    )


def _failed_by(
    exc: ConsilienceError, position: int, seat: Seat, begun: float, completion: Completion | None
) -> FailedSeat:
    reason = exc.reason if isinstance(exc, UpstreamError) else exc.code
    return FailedSeat(
        seat=position,
        model=seat.model,
        error=exc.message,
        reason=reason,
        status="timeout" if reason == "timeout" else "failed",
        latency_ms=ms_since(begun),
        status_code=exc.status_code if isinstance(exc, UpstreamError) else None,
        retry_after_s=exc.retry_after_s,
        usage=completion.usage if completion else None,
        completion=completion,
        attempts=_attempts(exc, completion),
    )


def _attempts(exc: ConsilienceError, completion: Completion | None) -> int:
    if completion is not None:  # it did come, and is of no use
        return completion.attempts
    return exc.attempts if isinstance(exc, UpstreamError) else 1


def _close(state: _Round, *, timed_out: bool) -> Panel:
    """Settles the seats that are still open and sorts everything into seat order."""
    for position, seat in enumerate(state.seats):
        if position in state.outcomes:
            continue
        called = position in state.begun
        begun = state.begun.get(position, anyio.current_time())
        if timed_out:
            failure = _failed(
                position, seat, "the panel round's time was up", "timeout", "timeout", begun
            )
        else:
            failure = _failed(
                position, seat, "the round ended without it", "cancelled", "cancelled", begun
            )
        state.outcomes[position] = replace(failure, called=called)
    ordered = [state.outcomes[i] for i in range(len(state.seats))]
    return Panel(
        responses=tuple(o for o in ordered if isinstance(o, PanelResponse)),
        failures=tuple(o for o in ordered if isinstance(o, FailedSeat)),
    )


def _round_seconds(options: FusionOptions) -> float:
    left = anyio.current_effective_deadline() - anyio.current_time()
    return min(options.round_timeout_seconds or math.inf, left * PANEL_SHARE)


def distinct(names: Collection[str]) -> tuple[str, ...]:
    """Names in order, once each."""
    return tuple(dict.fromkeys(names))


def failures_body(failures: Sequence[FailedSeat]) -> list[Mapping[str, Any]]:
    """`failed_models` of the trace."""
    return [f.as_body() for f in failures]
