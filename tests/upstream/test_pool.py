"""The pool: whose turn it is, when the next backend is asked, and what a call cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

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
from consilience.upstream.pool import Member, Pool, Price, single_pool
from consilience.upstream.scripted import Reply, ScriptedUpstream

pytestmark = pytest.mark.anyio
GONE = UpstreamConnectionError("could not be connected to", model="small")


def _pool(*backends: tuple[ScriptedUpstream, int], price: Price | None = None) -> Pool:
    return Pool({"small": Member(backends, price)})


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
    backends = [(ScriptedUpstream(), weight) for weight in weights]
    member = Member(backends)
    turns = Counter(id(member.in_turn()[0]) for _ in range(60))
    assert tuple(turns[id(upstream)] for upstream, _ in backends) == shares


def test_a_backend_of_little_weight_is_not_asked_in_a_row() -> None:
    heavy, light = ScriptedUpstream(), ScriptedUpstream()
    member = Member(((heavy, 4), (light, 1)))
    turns = ["L" if member.in_turn()[0] is light else "h" for _ in range(10)]
    assert "".join(turns) == "hhLhhhhLhh"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 30))
def test_every_backend_stands_in_once_for_each_call(weights: list[int], calls: int) -> None:
    backends = [(ScriptedUpstream(), weight) for weight in weights]
    member = Member(backends)
    everyone = {id(upstream) for upstream, _ in backends}
    for _ in range(calls):
        order = [id(upstream) for upstream in member.in_turn()]
        assert len(order) == len(backends)
        assert set(order) == everyone


async def test_the_next_backend_is_asked_when_there_was_no_connection(hello: ChatRequest) -> None:
    down, up = ScriptedUpstream(lambda _: GONE), ScriptedUpstream("here")
    pool = _pool((down, 1), (up, 1))
    answers = [(await pool.complete(hello)).text for _ in range(4)]
    assert answers == ["here"] * 4
    assert (len(down.calls), len(up.calls)) == (2, 4)


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamTimeoutError("did not answer in time", model="small"),
        UpstreamStatusError("answered with status 503", model="small", status_code=503),
        UpstreamProtocolError("the answer is not valid JSON", model="small"),
    ],
    ids=["timeout", "status", "protocol"],
)
async def test_no_other_backend_is_asked_after_any_other_failure(
    hello: ChatRequest, failure: UpstreamError
) -> None:
    first, second = ScriptedUpstream(lambda _: failure), ScriptedUpstream("never")
    with pytest.raises(type(failure)):
        await _pool((first, 1), (second, 1)).complete(hello)
    assert second.calls == []


async def test_the_last_failure_is_told_when_all_backends_are_away(hello: ChatRequest) -> None:
    first, second = ScriptedUpstream(lambda _: GONE), ScriptedUpstream(lambda _: GONE)
    with pytest.raises(UpstreamConnectionError):
        await _pool((first, 1), (second, 1)).complete(hello)
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_stream_moves_on_before_its_first_chunk(hello: ChatRequest) -> None:
    down, up = ScriptedUpstream(Reply("x", breaks_after=0)), ScriptedUpstream("here I am")
    chunks = [chunk async for chunk in _pool((down, 1), (up, 1)).stream(hello)]
    assert len(chunks) > 1
    assert (len(down.calls), len(up.calls)) == (1, 1)


async def test_a_stream_does_not_move_on_after_its_first_chunk(hello: ChatRequest) -> None:
    breaking, up = ScriptedUpstream(Reply("one two three", breaks_after=2)), ScriptedUpstream("no")
    got = []
    with pytest.raises(UpstreamConnectionError):
        async for chunk in _pool((breaking, 1), (up, 1)).stream(hello):
            got.append(chunk)  # noqa: PERF401  # it fails on the way
    assert (len(got), up.calls) == (2, [])


@pytest.mark.parametrize("how", ["complete", "stream"])
async def test_a_model_that_nobody_serves_is_an_upstream_error(
    hello: ChatRequest, how: str
) -> None:
    pool = Pool({"other": Member(((ScriptedUpstream(), 1),))})
    with pytest.raises(UpstreamError, match="has no backend"):
        if how == "complete":
            await pool.complete(hello)
        else:
            await anext(pool.stream(hello))
    assert (pool.serves("other"), pool.serves("small")) == (True, False)


async def test_the_endpoint_for_all_serves_what_has_no_backend(hello: ChatRequest) -> None:
    pool = Pool({}, other=ScriptedUpstream("from the endpoint"))
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
    ],
)
def test_a_call_costs_exactly(price: Price, usage: Usage, cost: str) -> None:
    assert price.cost(usage) == Decimal(cost)


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
