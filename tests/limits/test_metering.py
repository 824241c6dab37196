"""Every upstream call of a request is paid for: repeated ones, failed ones, streamed ones."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.errors import (
    BudgetExceededError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from consilience.limits.budgets import Ceiling, Hold, Ledger
from consilience.limits.metering import CallMeter
from consilience.limits.worst_case import WorstCase
from consilience.upstream.allowance import Allowance
from consilience.upstream.balance import Backend, Member
from consilience.upstream.calls import Calls
from consilience.upstream.pool import Pool
from consilience.upstream.price import Price
from consilience.upstream.retry import RetryPolicy
from consilience.upstream.scripted import ScriptedUpstream
from support.spending import Day, Spent
from support.virtual_time import run

PRICE = Price(Decimal(0), Decimal(1_000_000))
"""A dollar for each token of an answer."""
GARBAGE = UpstreamProtocolError("the answer is not valid JSON", model="small")
LIMITED = UpstreamStatusError("answered with status 503", model="small", status_code=503)
GONE = UpstreamConnectionError("could not be connected to", model="small")
ASKED = ChatRequest.from_body(
    {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
)


def metered(
    *script: Any, usd: str = "100", reply: Callable[[ChatRequest], Any] | None = None
) -> tuple[Calls, Hold, ScriptedUpstream]:
    """The calls of a request that planned one, of at most $10, and may spend so much in all."""
    said = iter(script)
    upstream = ScriptedUpstream(reply or (lambda _: next(said)))
    member = Member([Backend(upstream)], PRICE, RetryPolicy(2))
    pool = Pool({"small": member}, draw=lambda: 0.5)
    hold = Hold(Ledger(Spent(), Day()), (), [Ceiling(Decimal(usd), own=False)])
    run(lambda: hold.plan([("small", Decimal(10))]))
    meter = CallMeter(hold, WorstCase({"small": PRICE}, {}, 8192, True), pool.cost, True)
    return pool.calls(Allowance(), meter), hold, upstream


@pytest.mark.parametrize(
    ("failure", "lost"),
    [(GARBAGE, 10), (LIMITED, 0), (GONE, 0)],
    ids=["worked", "turned away", "never arrived"],
)
def test_a_repeated_call_pays_for_what_may_have_worked(failure: Exception, lost: int) -> None:
    calls, hold, upstream = metered(failure, "Hello.")
    completion = run(lambda: calls.complete(ASKED))

    assert len(upstream.calls) == 2
    assert completion.usage is not None
    assert hold.spent == lost + completion.usage.completion_tokens
    assert hold.left == 0


def test_a_repeated_call_leaves_alone_what_is_planned_for_a_later_one() -> None:
    during: list[tuple[Decimal, list[Decimal]]] = []

    def reply(_: ChatRequest) -> Any:
        during.append((hold.left, list(hold.planned["small"])))
        return LIMITED if len(during) == 1 else "Hello."

    calls, hold, _ = metered(reply=reply)
    run(lambda: hold.plan([("small", Decimal(1))]))
    run(lambda: calls.complete(ASKED))

    # ten dollars for the call at work each time, and one for the call to come
    assert during == [(Decimal(11), [Decimal(1)])] * 2
    assert hold.left == 1


@pytest.mark.parametrize("ask", ["whole", "stream"])
def test_a_call_is_not_repeated_without_money(ask: str) -> None:
    garbage = UpstreamProtocolError("the answer is not valid JSON", model="small")
    calls, hold, upstream = metered(garbage, "Hello.", usd="15")

    async def stream() -> None:
        async for _ in calls.stream(ASKED):
            pass

    asked: Callable[[], Any] = stream if ask == "stream" else lambda: calls.complete(ASKED)
    with pytest.raises(UpstreamProtocolError) as caught:
        run(asked)

    # what failed is the model; that it was not asked again is why nobody else could help
    assert caught.value.message == "the answer is not valid JSON; there was no money to ask again"
    assert isinstance(caught.value.__cause__, BudgetExceededError)
    assert caught.value.attempts == len(upstream.calls) == 1
    assert (hold.spent, hold.left) == (Decimal(10), Decimal(0))
    assert (calls.allowance.made, calls.allowance.paid) == (1, 1)


def test_a_stream_is_settled_with_its_usage() -> None:
    calls, hold, _ = metered("Hello.")

    async def stream() -> Any:
        return [c async for c in calls.stream(ASKED)][-1]["usage"]["completion_tokens"]

    assert run(stream) == hold.spent
    assert hold.left == 0


def test_a_stream_that_is_left_costs_what_was_set_aside() -> None:
    calls, hold, _ = metered("Hello, and many more words than that.")

    async def leave() -> None:
        chunks = calls.stream(ASKED)
        await anext(chunks)
        await chunks.aclose()

    run(leave)
    assert (hold.spent, hold.left) == (Decimal(10), Decimal(0))
