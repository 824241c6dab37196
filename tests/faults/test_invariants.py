"""What holds whatever fails, and in whatever order: random scripts of faults on a clock that jumps.

The invariants: (I1) one end for each request; (I2) upstream calls within the allowance and the
budget; (I3) no call after the deadline or a cancellation; (I4) usage is the sum over all calls;
(I5, I6) the judge's prompt depends on what the panel said, not on when; (I7) everything that was
counted up is counted down again; (I8) nothing inward is shown.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.chat.codec import Body
from consilience.chat.completion import Completion
from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.errors import (
    ConsilienceError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from consilience.gateway import Gateway
from consilience.reply import Begin, Chunk, Event
from consilience.upstream.balance import Backend, Member
from consilience.upstream.pool import Pool
from consilience.upstream.retry import RetryPolicy
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.live import fusion_yaml
from support.scripts import REPLY, is_judge_call
from support.virtual_time import run

SECRET = "http://10.9.8.7/sk-canary-inward"  # stands for what no client may see
TIMEOUT_S = 60.0
PANEL = ("a", "b")


def _status(code: int, after: float | None = None) -> UpstreamStatusError:
    told = f"answered with status {code}"
    return UpstreamStatusError(told, model="m", status_code=code, retry_after_s=after)


def _failures() -> st.SearchStrategy[UpstreamError]:
    def made(kind: int, after: float) -> UpstreamError:
        exc: UpstreamError = (
            UpstreamConnectionError("could not be connected to", model="m"),
            UpstreamConnectionError("the connection broke", model="m", sent=True),
            UpstreamConnectionError("the connection broke", model="m", stale=True),
            UpstreamTimeoutError("did not answer in time", model="m"),
            UpstreamProtocolError("the answer was cut off", model="m", reason="truncated"),
            UpstreamError("reported an error", model="m", reason="error_body"),
            _status(429, after),
            _status(503),
            _status(500),
            _status(401),
            _status(400),
        )[kind]
        exc.__cause__ = OSError(SECRET)
        return exc

    return st.builds(made, st.integers(0, 10), st.sampled_from([0.0, 1.0, 20.0, 120.0]))


_TIMES = st.sampled_from([0.0, 0.1, 1.0, 9.0, 50.0, math.inf])
_STEPS = st.one_of(
    st.tuples(_TIMES, _failures()),
    st.tuples(_TIMES, st.just(None)),
    st.tuples(_TIMES, st.integers(0, 3)),
)
"""How long a call takes, and how it ends: an error, an answer, or a stream broken after chunks."""


@dataclass(slots=True)
class Faulty:
    """An upstream that follows a script, the same for every model, one step a call."""

    steps: list[tuple[float, Any]]
    begun: list[float] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    """Prompts of the judge."""
    answered: int = 0
    """Whole answers."""
    watch: Callable[[], None] = lambda: None
    """Called when a call begins."""
    running: int = 0

    async def complete(self, request: ChatRequest) -> Completion:
        seconds, end = self._next(request)
        with self._counted():
            await _pass(seconds)
            if end is not None:
                raise end if isinstance(end, UpstreamError) else _broken()
            completion = await ScriptedUpstream(_said(request)).complete(request)
            self.answered += 1
            return completion

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        seconds, end = self._next(request)
        with self._counted():
            await _pass(seconds)
            if isinstance(end, UpstreamError):
                raise end
            reply = Reply(_said(request), gap_s=0.01, breaks_after=end)
            async for chunk in ScriptedUpstream(reply).stream(request):
                yield chunk

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def _next(self, request: ChatRequest) -> tuple[float, Any]:
        step = self.steps[len(self.begun) % len(self.steps)]
        self.begun.append(anyio.current_time())
        if is_judge_call(request):
            self.judged.append(json.dumps(request.body["messages"]))
        self.watch()
        return step


def _said(request: ChatRequest) -> str:
    return REPLY if is_judge_call(request) else f"says {request.model}"


def _broken() -> UpstreamError:
    return UpstreamConnectionError("the connection broke", model="m", sent=True)


async def _pass(seconds: float) -> None:
    await (anyio.sleep_forever() if math.isinf(seconds) else anyio.sleep(seconds))


@dataclass(slots=True)
class End:
    """How a request ended."""

    reply: Mapping[str, Any] | None = None
    events: list[Event] = field(default_factory=list)
    failure: ConsilienceError | None = None
    at: float = 0.0


def _pool(upstream: Faulty, draw: Any) -> Pool:
    members = {
        name: Member(
            [Backend(upstream), Backend(upstream, 2)] if name == "a" else [Backend(upstream)],
            retries=RetryPolicy(2),
        )
        for name in (*PANEL, "j")
    }
    return Pool(members, draw=draw)


def _carried(
    upstream: Faulty, *, stream: bool, seed: int = 0, leave_at: float = math.inf
) -> tuple[End, Pool]:
    """Runs one Fusion request to its end on a clock of its own."""
    draws = itertools.cycle([(seed % 7) / 7, 0.5, 0.99])
    pool = _pool(upstream, lambda: next(draws))
    config = parse_config(fusion_yaml(listener="timeout: 60s"))
    body = {"model": "vllm-sr/fusion", "messages": [{"role": "user", "content": "hi"}]}
    end = End()

    async def emit(event: Event) -> None:
        end.events.append(event)

    async def carry() -> None:
        async with Gateway(config, upstream=pool) as gateway:
            with anyio.move_on_at(leave_at):
                try:
                    if stream:
                        await gateway.run(json.dumps(body).encode(), {}, emit)
                    else:
                        end.reply = (await gateway.complete(body)).body
                except ConsilienceError as exc:
                    end.failure = exc
            end.at = anyio.current_time()
            assert gateway.in_flight == 0

    run(carry)
    return end, pool


SCRIPTS = st.lists(_STEPS, min_size=1, max_size=14)


@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.booleans(), st.integers(0, 6))
def test_every_request_comes_to_one_end_within_its_bounds(
    steps: list[tuple[float, Any]], stream: bool, seed: int
) -> None:
    upstream = Faulty(steps)
    end, pool = _carried(upstream, stream=stream, seed=seed)
    begins = sum(isinstance(e, Begin) for e in end.events)
    chunks = [e for e in end.events if isinstance(e, Chunk)]
    if stream:  # I1
        finished = any(c["finish_reason"] for e in chunks for c in e.body["choices"])
        assert begins <= 1
        assert finished or end.failure is not None
    else:
        assert (end.reply is None) != (end.failure is None)
    assert len(upstream.begun) <= (len(PANEL) + 2) * 3  # I2
    assert end.at <= TIMEOUT_S + 0.001  # I3
    assert all(begun < TIMEOUT_S for begun in upstream.begun)
    _check_nothing_left(upstream, pool)
    shown = str(end.reply) + str(chunks) + (end.failure.sentence if end.failure else "")
    assert SECRET not in shown  # I8


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.booleans(), st.sampled_from([0.05, 0.7, 3.0, 10.0, 30.0]))
def test_nothing_is_asked_after_the_caller_has_gone(
    steps: list[tuple[float, Any]], stream: bool, leave_at: float
) -> None:
    upstream = Faulty(steps)
    _, pool = _carried(upstream, stream=stream, leave_at=leave_at)
    assert all(begun <= leave_at for begun in upstream.begun)
    _check_nothing_left(upstream, pool)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS)
def test_usage_is_the_sum_over_all_calls_that_told_theirs(steps: list[tuple[float, Any]]) -> None:
    upstream = Faulty(steps)
    end, _ = _carried(upstream, stream=False)
    if end.reply is not None and upstream.answered:
        assert end.reply["usage"]["total_tokens"] == 15 * upstream.answered  # I4
        attempts = sum(s.get("attempts", 1) for s in end.reply["fusion"]["stages"])
        assert attempts <= len(upstream.begun)


@settings(max_examples=60, deadline=None)
@given(st.permutations([0.0, 1.0]), st.permutations([2.0, 3.0]))
def test_the_judge_reads_the_same_whoever_answers_first(
    one: list[float], other: list[float]
) -> None:
    prompts = []
    for first, second in (one, other):
        upstream = Faulty([(first, None), (second, None), (0.0, None), (0.0, None)])
        _carried(upstream, stream=False)
        prompts += upstream.judged
    assert len(prompts) == 2
    assert prompts[0] == prompts[1]  # I5, I6
    assert "says a" in prompts[0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_stages_that_hang_leave_the_later_ones_their_share(stream: bool) -> None:
    hangs, answers = (math.inf, None), (0.0, None)
    upstream = Faulty([hangs, answers, hangs, hangs, hangs])
    end, _ = _carried(upstream, stream=stream)
    # the panel has 60 % of a minute, half of it for a first backend, the judge half of the rest, the
    # writer nearly all of what is left
    assert upstream.begun == pytest.approx([0, 0, 18, 36, 48])
    assert end.failure is None
    assert end.at == pytest.approx(48 + 0.95 * 12)


@settings(max_examples=30, deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=6), st.integers(1, 120))
def test_a_storm_stays_within_the_budget(steps: list[tuple[float, Any]], requests: int) -> None:
    upstream = Faulty(steps)
    pool = _pool(upstream, lambda: 0.5)
    request = ChatRequest.from_body({"model": "b", "messages": [{"role": "user", "content": "hi"}]})

    most = []

    def watch() -> None:
        member = pool.member("b")
        assert member is not None
        most.append(member.budget.retrying)

    upstream.watch = watch

    async def one() -> None:
        with anyio.move_on_after(30), suppress(UpstreamError):
            await pool.complete(request)

    async def storm() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(requests):
                group.start_soon(one)

    run(storm)
    assert max(most) <= max(3, math.ceil(0.2 * requests))
    # two retries, and one connection more that was just being closed
    assert requests <= len(upstream.begun) <= 4 * requests
    _check_nothing_left(upstream, pool)


def _check_nothing_left(upstream: Faulty, pool: Pool) -> None:
    assert upstream.running == 0  # I7
    for name in (*PANEL, "j"):
        member = pool.member(name)
        assert member is not None
        assert (member.budget.in_flight, member.budget.retrying) == (0, 0)
        assert [b.health.in_flight for b in member.backends] == [0] * len(member.backends)
