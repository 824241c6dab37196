"""The pool: whose turn it is, when the next backend is asked, and what a call cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.completion import Usage
from consilience.chat.request import ChatRequest
from consilience.errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from consilience.upstream.allowance import Allowance
from consilience.upstream.balance import Backend, Member
from consilience.upstream.health import Health, HealthPolicy
from consilience.upstream.pool import Pool, single_pool
from consilience.upstream.price import Price
from consilience.upstream.retry import RetryPolicy
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.virtual_time import run

pytestmark = pytest.mark.anyio
GONE = UpstreamConnectionError("could not be connected to", model="small")
BROKE = UpstreamConnectionError("the connection broke", model="small", sent=True)
TIMED_OUT = UpstreamTimeoutError("did not answer in time", model="small")
GARBAGE = UpstreamProtocolError("the answer is not valid JSON", model="small")
TLS = UpstreamConnectionError("its TLS certificate failed", model="small", reason="tls")
EXHAUSTED = UpstreamConnectionError("no file left", model="small", reason="exhausted")


def _status(code: int, retry_after_s: float | None = None) -> UpstreamStatusError:
    return UpstreamStatusError(
        f"answered with status {code}",
        model="small",
        status_code=code,
        retry_after_s=retry_after_s,
    )


def _pool(
    *backends: tuple[ScriptedUpstream, int],
    price: Price | None = None,
    retries: int = 0,
    draw: Callable[[], float] = lambda: 0.5,
    **member: Any,
) -> Pool:
    made = [Backend(upstream, weight) for upstream, weight in backends]
    return Pool({"small": Member(made, price, RetryPolicy(retries), **member)}, draw=draw)


def _in_turn(script: list[Any]) -> ScriptedUpstream:
    """Says one thing a call; the last one for ever."""
    said = iter(script)
    return ScriptedUpstream(lambda _: next(said, script[-1]))


def _picked(member: Member, times: int) -> list[Backend]:
    picked = [member.pick((), 0.0, lambda: 0.5) for _ in range(times)]
    return [backend for backend in picked if backend is not None]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((1, 1), (30, 30)),
        ((5, 1), (50, 10)),
        ((3, 2, 1), (30, 20, 10)),
        ((1, 0), (60, 0)),
        ((0, 0), (30, 30)),
    ],
)
def test_backends_get_calls_by_weight(weights: tuple[int, ...], shares: tuple[int, ...]) -> None:
    backends = [Backend(ScriptedUpstream(), weight) for weight in weights]
    turns = Counter(id(backend) for backend in _picked(Member(backends), 60))
    assert tuple(turns[id(backend)] for backend in backends) == shares


def test_a_backend_of_little_weight_is_not_asked_in_a_row() -> None:
    heavy, light = Backend(ScriptedUpstream(), 4), Backend(ScriptedUpstream(), 1)
    turns = ["L" if b is light else "h" for b in _picked(Member((heavy, light)), 10)]
    assert "".join(turns) == "hhLhhhhLhh"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 30))
def test_every_backend_stands_in_once_for_each_call(weights: list[int], calls: int) -> None:
    member = Member([Backend(ScriptedUpstream(), weight) for weight in weights])
    for _ in range(calls):
        tried: list[Backend] = []
        for _ in weights:
            picked = member.pick(tried, 0.0, lambda: 0.5)
            assert picked is not None
            tried.append(picked)
        assert {id(b) for b in tried} == {id(b) for b in member.backends}


def test_the_less_busy_of_two_is_asked() -> None:
    busy, idle = Backend(ScriptedUpstream()), Backend(ScriptedUpstream())
    busy.health.begin(0.0)
    draws = iter([0.0, 0.9, 0.9, 0.0])
    member = Member((busy, idle), balancing="least_request")
    assert [member.pick((), 0.0, lambda: next(draws)) for _ in range(2)] == [idle, idle]


def test_calls_spread_evenly_by_least_request() -> None:
    backends = [Backend(ScriptedUpstream(), weight) for weight in (3, 1)]
    member = Member(backends, balancing="least_request")
    for _ in range(40):
        picked = member.pick((), 0.0, lambda: 0.5)
        assert picked is not None
        picked.health.begin(0.0)
    assert [b.health.in_flight for b in backends] == [30, 10]


async def test_the_next_backend_is_asked_when_there_was_no_connection(hello: ChatRequest) -> None:
    down, up = ScriptedUpstream(lambda _: GONE), ScriptedUpstream("here")
    pool = _pool((down, 1), (up, 1))
    answers = [(await pool.complete(hello)).text for _ in range(4)]
    assert answers == ["here"] * 4
    assert (len(down.calls), len(up.calls)) == (2, 4)


@pytest.mark.parametrize(
    "failure",
    [GONE, BROKE, TLS, TIMED_OUT, GARBAGE, _status(429), _status(401), _status(500), _status(503)],
    ids=lambda exc: f"{exc.reason}-{exc.status_code}",
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_another_backend_stands_in_at_once(
    hello: ChatRequest, failure: UpstreamError, streamed: bool
) -> None:
    first, second = ScriptedUpstream(lambda _: failure), ScriptedUpstream("here")
    pool = _pool((first, 1), (second, 1))
    if streamed:
        assert [chunk async for chunk in pool.stream(hello)]
    else:
        assert (await pool.complete(hello)).attempts == 2
    assert (len(first.calls), len(second.calls)) == (1, 1)


@pytest.mark.parametrize("code", [400, 404, 413, 422, 405, 501])
async def test_what_a_backend_says_of_the_request_is_final(hello: ChatRequest, code: int) -> None:
    first, second = ScriptedUpstream(lambda _: _status(code)), ScriptedUpstream("never")
    pool = _pool((first, 1), (second, 1), retries=2)
    with pytest.raises(UpstreamStatusError):
        await pool.complete(hello)
    assert second.calls == []


async def test_the_last_failure_is_told_when_all_backends_are_away(hello: ChatRequest) -> None:
    first, second = ScriptedUpstream(lambda _: GONE), ScriptedUpstream(lambda _: GONE)
    with pytest.raises(UpstreamConnectionError) as caught:
        await _pool((first, 1), (second, 1)).complete(hello)
    assert (len(first.calls), len(second.calls), caught.value.attempts) == (1, 1, 2)


async def test_a_stream_moves_on_before_its_first_chunk(hello: ChatRequest) -> None:
    down, up = ScriptedUpstream(Reply("x", breaks_after=0)), ScriptedUpstream("here I am")
    chunks = [chunk async for chunk in _pool((down, 1), (up, 1)).stream(hello)]
    assert len(chunks) > 1
    assert (len(down.calls), len(up.calls)) == (1, 1)


async def test_a_stream_moves_on_while_nothing_but_the_role_was_said(hello: ChatRequest) -> None:
    breaking, up = ScriptedUpstream(Reply("one two", breaks_after=1)), ScriptedUpstream("here")
    chunks = [chunk async for chunk in _pool((breaking, 1), (up, 1)).stream(hello)]
    roles = [c for c in chunks if c.get("choices") and c["choices"][0]["delta"].get("role")]
    assert len(roles) == 1


async def test_a_stream_does_not_move_on_after_its_first_word(hello: ChatRequest) -> None:
    breaking, up = ScriptedUpstream(Reply("one two three", breaks_after=3)), ScriptedUpstream("no")
    got = []
    with pytest.raises(UpstreamConnectionError):
        async for chunk in _pool((breaking, 1), (up, 1), retries=2).stream(hello):
            got.append(chunk)  # noqa: PERF401  # it fails on the way
    assert (len(got), up.calls) == (3, [])


@pytest.mark.parametrize(
    ("failure", "calls"),
    [
        (GONE, 3),
        (BROKE, 3),
        (_status(500), 3),
        (_status(529), 3),
        (_status(408), 3),
        (_status(429), 3),
        (GARBAGE, 2),
        (EXHAUSTED, 3),
        (TLS, 1),
        (TIMED_OUT, 1),
        (_status(401), 1),
        (_status(400), 1),
    ],
    ids=lambda value: f"{value.reason}-{value.status_code}" if not isinstance(value, int) else "",
)
def test_a_single_backend_is_asked_again_where_that_may_help(
    hello: ChatRequest, failure: UpstreamError, calls: int
) -> None:
    upstream = ScriptedUpstream(lambda _: failure)
    pool = _pool((upstream, 1), retries=2)

    async def asked() -> float:
        with pytest.raises(type(failure)) as caught:
            await pool.complete(hello)
        assert caught.value.attempts == calls
        return anyio.current_time()

    # half of 0.5 s, then half of 1 s
    assert run(asked) == pytest.approx({1: 0.0, 2: 0.25, 3: 0.75}[calls])
    assert len(upstream.calls) == calls


@pytest.mark.parametrize(
    ("told_s", "left_s", "calls", "seconds"),
    [(1, 300, 2, 1.25), (59, 300, 2, 59.25), (61, 300, 1, 0), (20, 15, 1, 0), (0, 300, 2, 0.25)],
)
def test_a_429_is_waited_out_if_there_is_time(
    hello: ChatRequest, told_s: float, left_s: float, calls: int, seconds: float
) -> None:
    upstream = _in_turn([_status(429, told_s), "here"])

    async def asked() -> float:
        with anyio.fail_after(left_s):
            try:
                await _pool((upstream, 1), retries=2).complete(hello)
            except UpstreamStatusError as exc:
                assert exc.retry_after_s == told_s  # noqa: PT017  # it is right that it fails
        return anyio.current_time()

    assert run(asked) == pytest.approx(seconds)
    assert len(upstream.calls) == calls


@pytest.mark.parametrize(
    ("names", "failure", "calls"),
    [
        ({"connect-failure"}, GONE, 2),
        ({"connect-failure"}, BROKE, 1),
        ({"connect-failure"}, _status(503), 1),
        ({"gateway-error"}, _status(503), 2),
        ({"gateway-error"}, _status(500), 1),
        ({"5xx"}, _status(500), 2),
        ({"5xx"}, GONE, 2),
        (set(), GONE, 1),
        (set(), _status(429), 2),
    ],
    ids=str,
)
def test_only_what_retry_on_names_is_asked_again(
    hello: ChatRequest, names: set[str], failure: UpstreamError, calls: int
) -> None:
    upstream = ScriptedUpstream(lambda _: failure)
    member = Member([Backend(upstream)], retries=RetryPolicy(1, conditions=frozenset(names)))
    with pytest.raises(UpstreamError):
        run(Pool({"small": member}).complete, hello)
    assert len(upstream.calls) == calls


STALE = UpstreamConnectionError("the connection broke", model="small", stale=True)


@pytest.mark.parametrize(
    ("failure", "paid"),
    [
        (GONE, 0),
        (TLS, 0),
        (EXHAUSTED, 0),
        (STALE, 0),
        (BROKE, 1),
        (TIMED_OUT, 1),
        (GARBAGE, 1),
        (_status(500), 0),
        (_status(429), 0),
        (_status(400), 0),
    ],
    ids=lambda value: f"{value.reason}-{value.status_code}" if not isinstance(value, int) else "",
)
async def test_a_call_may_have_cost_unless_it_was_turned_away(
    hello: ChatRequest, failure: UpstreamError, paid: int
) -> None:
    calls = _pool((_in_turn([failure]), 1)).calls(Allowance(most=1))
    with pytest.raises(UpstreamError):
        await calls.complete(hello)
    assert calls.allowance.paid == paid


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_connection_that_was_being_closed_is_replaced_even_without_retries(
    hello: ChatRequest, streamed: bool
) -> None:
    upstream = _in_turn([STALE, "here"])
    pool = _pool((upstream, 1), retries=0)
    if streamed:
        assert [chunk async for chunk in pool.stream(hello)]
    else:
        assert (await pool.complete(hello)).text == "here"
    member = pool.member("small")
    assert member is not None
    assert (len(upstream.calls), member.backends[0].health.ejected) == (2, False)


def test_retries_stay_within_the_request_s_allowance(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream(lambda _: GONE)
    allowance = Allowance(most=5, planned=3)
    calls = _pool((upstream, 1), retries=2).calls(allowance)
    made = []
    for _ in range(4):
        with pytest.raises(UpstreamError) as caught:
            run(calls.complete, hello)
        made.append(allowance.made)
    # the first may be repeated twice, for one call each is kept for those still to come
    assert made == [3, 4, 5, 5]
    assert (caught.value.reason, allowance.paid) == ("call_limit", 0)


def test_who_fails_in_a_row_is_asked_once_until_a_call_succeeds(hello: ChatRequest) -> None:
    said: list[Any] = [GONE]
    upstream = ScriptedUpstream(lambda _: said[0])
    pool = _pool((upstream, 1), retries=2)

    async def asked() -> list[int]:
        counts = []
        for answer in (GONE, GONE, GONE, "here", GONE):
            said[0], before = answer, len(upstream.calls)
            with suppress(UpstreamError):
                await pool.complete(hello)
            counts.append(len(upstream.calls) - before)
        return counts

    assert run(asked) == [3, 2, 1, 1, 3]


def test_a_storm_of_failures_is_answered_by_few_retries(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream(lambda _: Reply("x", breaks_after=0, delay_s=1))
    backend = Backend(upstream, 1, Health(HealthPolicy(failures=0)))
    pool = Pool({"small": Member([backend], retries=RetryPolicy(2))}, draw=lambda: 0.5)

    async def failing() -> None:
        with pytest.raises(UpstreamError):
            async for _ in pool.stream(hello):
                pass

    async def storm() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(failing)

    run(storm)
    assert 100 < len(upstream.calls) <= 100 + 2 * 20
    member = pool.member("small")
    assert member is not None
    assert (member.budget.in_flight, member.budget.retrying) == (0, 0)


def test_a_broken_backend_is_ejected_and_comes_back_by_one_probe(hello: ChatRequest) -> None:
    bad, good = ScriptedUpstream(lambda _: said[0]), ScriptedUpstream("here")
    said: list[Any] = [GONE]
    pool = _pool((bad, 1), (good, 1))

    async def asked() -> list[int]:
        counts = []
        for _ in range(20):
            await pool.complete(hello)
        counts.append(len(bad.calls))
        await anyio.sleep(30)
        said[0] = Reply("slow", delay_s=5)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(pool.complete, hello)
        counts.append(len(bad.calls))
        for _ in range(10):
            await pool.complete(hello)
        counts.append(len(bad.calls))
        return counts

    assert run(asked) == [5, 6, 11]


def test_the_last_backend_is_never_ejected(hello: ChatRequest) -> None:
    upstreams = [ScriptedUpstream(lambda _: GONE) for _ in range(3)]
    pool = _pool(*[(upstream, 1) for upstream in upstreams])

    async def asked() -> None:
        for _ in range(60):
            with pytest.raises(UpstreamError):
                await pool.complete(hello)

    run(asked)
    member = pool.member("small")
    assert member is not None
    assert sorted(b.health.ejected for b in member.backends) == [False, True, True]
    assert max(len(u.calls) for u in upstreams) == 60


def test_who_is_left_beside_a_refused_key_is_not_ejected(hello: ChatRequest) -> None:
    refused, failing = ScriptedUpstream(lambda _: _status(401)), ScriptedUpstream(lambda _: GONE)
    pool = _pool((refused, 1), (failing, 1))

    async def asked() -> None:
        for _ in range(20):
            with pytest.raises(UpstreamError):
                await pool.complete(hello)

    run(asked)
    assert (len(refused.calls), len(failing.calls)) == (1, 20)


def test_no_more_than_the_configured_share_is_ejected(hello: ChatRequest) -> None:
    upstreams = [ScriptedUpstream(lambda _: GONE) for _ in range(4)]
    pool = _pool(*[(upstream, 1) for upstream in upstreams], most_ejected=0.5)

    async def asked() -> None:
        for _ in range(60):
            with pytest.raises(UpstreamError):
                await pool.complete(hello)

    run(asked)
    member = pool.member("small")
    assert member is not None
    assert sum(b.health.ejected for b in member.backends) == 2


def test_a_rate_limited_backend_cools_and_the_other_takes_its_calls(hello: ChatRequest) -> None:
    limited, other = _in_turn([_status(429, 10), "again"]), ScriptedUpstream("here")
    pool = _pool((limited, 1), (other, 1))

    async def asked() -> list[int]:
        for _ in range(6):
            await pool.complete(hello)
        before = len(limited.calls)
        await anyio.sleep(10)
        for _ in range(6):
            await pool.complete(hello)
        return [before, len(limited.calls)]

    assert run(asked) == [1, 4]


def test_a_backend_is_asked_although_all_are_out_of_service(hello: ChatRequest) -> None:
    cooling = [Backend(_in_turn([_status(429, wait), "here"])) for wait in (50, 20)]
    pool = Pool({"small": Member(cooling)})

    async def asked() -> str:
        with pytest.raises(UpstreamStatusError):
            await pool.complete(hello)
        return (await pool.complete(hello)).text

    assert run(asked) == "here"
    assert [len(b.upstream.calls) for b in cooling] == [1, 2]  # type: ignore[attr-defined]


async def test_loras_share_the_state_of_their_server(hello: ChatRequest) -> None:
    health = [Health(HealthPolicy(failures=1)), Health()]
    down = [ScriptedUpstream(lambda _: GONE), ScriptedUpstream(lambda _: GONE)]
    up = ScriptedUpstream("here")
    pool = Pool(
        {
            name: Member([Backend(first, 1, health[0]), Backend(up, 1, health[1])])
            for name, first in zip(("small", "lora"), down, strict=True)
        }
    )
    await pool.complete(hello)
    await pool.complete(hello.replace(model="lora"))
    assert (len(down[0].calls), len(down[1].calls)) == (1, 0)


def test_a_cancelled_call_says_nothing_of_its_backend(hello: ChatRequest) -> None:
    backend = Backend(
        ScriptedUpstream(Reply("x", delay_s=100)), 1, Health(HealthPolicy(failures=1))
    )
    pool = Pool({"small": Member([backend, Backend(ScriptedUpstream("here"))])})
    calls = pool.calls()

    async def asked() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(calls.complete, hello)
            await anyio.sleep(50)
            group.cancel_scope.cancel()

    run(asked)
    assert (backend.health.ejected, backend.health.in_flight) == (False, 0)
    assert (calls.allowance.made, calls.allowance.paid) == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "patient", "ejected"),
    [(30, True, True), (30, False, False), (9, True, False)],
    ids=["time enough", "the client wanted less", "hardly any time"],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_its_deadline_cuts_off_says_something_of_its_backend(
    hello: ChatRequest, seconds: float, patient: bool, ejected: bool, streamed: bool
) -> None:
    def backend(failures: int) -> Backend:
        health = Health(HealthPolicy(failures=failures))
        return Backend(ScriptedUpstream(Reply("x", delay_s=math.inf)), 1, health)

    first = backend(1)
    calls = Pool({"small": Member([first, backend(0)])}).calls(Allowance(patient=patient))

    async def asked() -> None:
        with anyio.move_on_after(seconds):
            if streamed:
                async for _ in calls.stream(hello):
                    pass
            else:
                await calls.complete(hello)

    run(asked)
    # a whole answer is waited for half of the time, and then asked of the other one
    assert calls.allowance.made == (1 if streamed else 2)
    assert first.health.ejected is ejected
    assert first.health.in_flight == 0


def test_a_whole_answer_that_hangs_leaves_time_for_another_backend(hello: ChatRequest) -> None:
    hung = Backend(
        ScriptedUpstream(Reply("x", delay_s=math.inf)), 1, Health(HealthPolicy(failures=2))
    )
    calls = Pool({"small": Member([hung, Backend(ScriptedUpstream("here"))])}).calls()

    async def asked() -> list[str]:
        texts = []
        for _ in range(6):
            with anyio.fail_after(100):
                texts.append((await calls.complete(hello)).text)
        return texts

    assert run(asked) == ["here"] * 6
    assert hung.health.ejected
    assert len(hung.upstream.calls) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("retries", "allowance", "busy"),
    [
        (RetryPolicy(2, conditions=frozenset(("connect-failure",))), Allowance(), 0),
        (RetryPolicy(2), Allowance(1, 1), 0),
        (RetryPolicy(2), Allowance(), 3),
    ],
    ids=["retry_on", "no call left", "no budget left"],
)
def test_a_slow_answer_has_all_the_time_when_no_other_backend_would_be_asked(
    hello: ChatRequest, retries: RetryPolicy, allowance: Allowance, busy: int
) -> None:
    slow = [Backend(ScriptedUpstream(Reply("slow", delay_s=90))) for _ in range(2)]
    member = Member(slow, retries=retries)
    member.budget.retrying = busy

    async def asked() -> str:
        with anyio.fail_after(100):
            return (await Pool({"small": member}).calls(allowance).complete(hello)).text or ""

    assert run(asked) == "slow"
    assert allowance.made == 1


def test_a_deadline_after_the_first_token_says_nothing_of_the_backend(hello: ChatRequest) -> None:
    slow = Backend(
        ScriptedUpstream(Reply("a b c d", gap_s=30)), 1, Health(HealthPolicy(failures=1))
    )
    calls = Pool({"small": Member([slow, Backend(ScriptedUpstream("here"))])}).calls()

    async def asked() -> None:
        with anyio.move_on_after(40):
            async for _ in calls.stream(hello):
                pass

    run(asked)
    assert not slow.health.ejected


@pytest.mark.parametrize("how", ["complete", "stream"])
async def test_a_model_that_nobody_serves_is_an_upstream_error(
    hello: ChatRequest, how: str
) -> None:
    pool = Pool({"other": Member([Backend(ScriptedUpstream())])})
    with pytest.raises(UpstreamError, match="has no backend"):
        if how == "complete":
            await pool.complete(hello)
        else:
            await anext(pool.stream(hello))
    assert (pool.serves("other"), pool.serves("small")) == (True, False)


async def test_the_endpoint_for_all_serves_what_has_no_backend(hello: ChatRequest) -> None:
    pool = Pool({}, other=Member([Backend(ScriptedUpstream("from the endpoint"))]))
    assert (await pool.complete(hello)).text == "from the endpoint"
    assert pool.serves("anything")


async def test_one_upstream_can_serve_every_model(hello: ChatRequest) -> None:
    pool = single_pool(ScriptedUpstream("yes"), ["small"])
    assert (await pool.complete(hello)).text == "yes"
    assert (await pool.complete(hello.replace(model="large"))).model == "large"


PRICE = Price(Decimal("0.1"), Decimal("0.3"))


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, Usage(1_000_000, 1_000_000, 2_000_000), "0.4"),
        (PRICE, Usage(1, 0, 1), "0.0000001"),
        (PRICE, Usage(3, 3, 6), "0.0000012"),
        (PRICE, Usage(100, 0, 100, {"cached_tokens": 40}), "0.00001"),
        (
            Price(Decimal(1), Decimal(2), Decimal("0.1")),
            Usage(100, 10, 110, {"cached_tokens": 40}),
            "0.000084",
        ),
        (
            Price(Decimal(1), Decimal(2), Decimal(0)),
            Usage(100, 0, 100, {"cached_tokens": 400}),
            "0",
        ),
        (Price(Decimal(0), Decimal(0)), Usage(5, 5, 10), "0"),
        (
            Price(Decimal(1), Decimal(2), Decimal("0.1"), cache_write=Decimal("1.25")),
            Usage(100, 10, 110, {"cached_tokens": 40, "cache_write_tokens": 20}),
            "0.000089",
        ),
        (
            Price(Decimal(1), Decimal(2), cache_write=Decimal(5)),
            Usage(100, 0, 100, {"cached_tokens": 90, "cache_creation_tokens": 20}),
            "0.00014",
        ),
    ],
)
def test_a_call_costs_exactly(price: Price, usage: Usage, cost: str) -> None:
    assert price.cost(usage) == Decimal(cost)
    assert price.cost(usage) <= price.worst(usage.prompt_tokens, usage.completion_tokens)


async def test_an_answer_carries_its_cost(hello: ChatRequest) -> None:
    pool = _pool((ScriptedUpstream(Reply("x", usage=Usage(10, 20, 30))), 1), price=PRICE)
    assert (await pool.complete(hello)).cost_usd == Decimal("0.000007")


@pytest.mark.parametrize(
    ("price", "usage"), [(None, Usage(1, 1, 2)), (PRICE, None)], ids=["no price", "no usage"]
)
async def test_an_unknown_cost_is_none(
    hello: ChatRequest, price: Price | None, usage: Usage | None
) -> None:
    pool = _pool((ScriptedUpstream(Reply("x", usage=usage)), 1), price=price)
    assert (await pool.complete(hello)).cost_usd is None


def test_a_model_without_member_has_no_cost() -> None:
    members: Mapping[str, Member] = {}
    assert Pool(members).cost("small", Usage(1, 1, 2)) is None


class _CancelledWhileFailing(ScriptedUpstream):
    """Fails in the very turn of the event loop in which whoever asks is cancelled."""

    scope: anyio.CancelScope | None = None

    async def complete(self, request: ChatRequest) -> Any:
        assert self.scope is not None
        self.scope.cancel()
        return await super().complete(request)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_who_is_cancelled_before_a_call_asks_nobody(hello: ChatRequest, stream: bool) -> None:
    upstream = ScriptedUpstream("hi")
    pool = _pool((upstream, 1))

    async def ask() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            if stream:
                _ = [chunk async for chunk in pool.stream(hello)]
            else:
                await pool.complete(hello)
        assert scope.cancelled_caught

    run(ask)
    assert upstream.calls == []


@pytest.mark.parametrize("failure", [_status(429, 2.0), GONE, TLS, TIMED_OUT])
def test_who_is_cancelled_as_a_call_fails_is_cancelled_and_not_told_a_failure(
    hello: ChatRequest, failure: UpstreamError
) -> None:
    upstream = _CancelledWhileFailing(lambda _: failure)
    pool = _pool((upstream, 1), retries=2)

    async def ask() -> None:
        with anyio.CancelScope() as upstream.scope:
            await pool.complete(hello)
        assert upstream.scope is not None
        assert upstream.scope.cancelled_caught

    run(ask)
    assert len(upstream.calls) == 1
