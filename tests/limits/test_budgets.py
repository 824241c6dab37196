"""Money is set aside before it is spent: nothing overshoots, nothing stays behind."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience import Gateway, ScriptedReply, ScriptedUpstream, parse_config
from consilience.chat.completion import Usage
from consilience.chat.request import ChatRequest
from consilience.errors import (
    BudgetExceededError,
    ConsilienceError,
    CostCeilingError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from consilience.keys.records import KeyLimits, VirtualKey, current_key
from consilience.keys.store import EVERYTHING
from consilience.limits.budgets import Ceiling, Hold, Ledger, Purse
from support.client import HELLO
from support.keys import keyed_yaml
from support.spending import Day, Spent
from support.virtual_time import run

NOW = 1_795_600_000.0
TODAY, MONTH = "2026-11-25", "2026-11"
KEY = VirtualKey("key_1", "team", "abcd", 0, KeyLimits(usd_per_day=Decimal("0.50")))
COUNT = 1000


def purse(account: str = "k", **limits: str) -> Purse:
    return Purse(account, "this key", **{name: Decimal(usd) for name, usd in limits.items()})


async def hold(
    ledger: Ledger, *purses: Purse, usd: str, ceilings: tuple[Ceiling, ...] = ()
) -> Hold:
    held = Hold(ledger, purses, ceilings)
    await held.plan([("m", Decimal(usd))])
    return held


def free() -> Decimal:
    return Decimal(0)


@pytest.mark.anyio
async def test_what_is_held_cannot_be_held_again() -> None:
    ledger = Ledger(Spent(), Day())
    first = await hold(ledger, purse(per_day="1"), usd="0.6")

    with pytest.raises(BudgetExceededError, match=r"up to \$0\.6; this key may spend \$1 today"):
        await hold(ledger, purse(per_day="1"), usd="0.6")
    first.close()

    await hold(ledger, purse(per_day="1"), usd="1")


@pytest.mark.anyio
async def test_a_purse_that_refuses_leaves_the_others_alone() -> None:
    ledger = Ledger(Spent(), Day())

    with pytest.raises(BudgetExceededError):
        await hold(ledger, purse("a", per_day="9"), purse("b", per_month="0.5"), usd="0.6")

    assert ledger.held("a") == ledger.held("b") == 0


@pytest.mark.anyio
async def test_a_call_is_settled_with_what_it_cost() -> None:
    spent = Spent()
    ledger = Ledger(spent, Day())
    held = await hold(ledger, purse(per_day="1"), usd="0.6")
    part = await held.begin("m", free)
    held.end(part, Decimal("0.1"))

    assert ledger.held("k") == 0
    assert spent.spent("k", "2026-11-30") == Decimal("0.1")
    await hold(ledger, purse(per_day="1"), usd="0.9")


@pytest.mark.anyio
async def test_a_new_day_has_its_own_money_and_a_new_month_too() -> None:
    day = Day()
    ledger = Ledger(Spent(), day)
    held = await hold(ledger, purse(per_day="1", per_month="1"), usd="1")
    held.end(await held.begin("m", free), Decimal(1))
    with pytest.raises(BudgetExceededError, match="today"):
        await hold(ledger, purse(per_day="1"), usd="0.1")
    with pytest.raises(BudgetExceededError, match="this month"):
        await hold(ledger, purse(per_month="1"), usd="0.1")

    day.today = date(2026, 12, 1)

    await hold(ledger, purse(per_day="1", per_month="1"), usd="1")


@pytest.mark.anyio
async def test_a_call_that_was_not_planned_needs_more_money() -> None:
    ledger = Ledger(Spent(), Day())
    held = await hold(ledger, purse(per_day="1"), usd="0.6")
    await held.begin("m", free)

    assert await held.begin("fallback", lambda: Decimal("0.4")) == Decimal("0.4")
    with pytest.raises(BudgetExceededError, match="one more call"):
        await held.begin("fallback", lambda: Decimal("0.1"))


@pytest.mark.anyio
@pytest.mark.parametrize(("own", "error"), [(True, CostCeilingError), (False, BudgetExceededError)])
async def test_a_ceiling_counts_what_is_spent_already(
    own: bool, error: type[ConsilienceError]
) -> None:
    ceiling = Ceiling(Decimal(1), own=own, param="x")
    ledger = Ledger(Spent(), Day())
    with pytest.raises(error):
        await hold(ledger, usd="1.01", ceilings=(ceiling,))
    held = await hold(ledger, usd="1", ceilings=(ceiling,))
    held.end(await held.begin("m", free), Decimal("0.7"))

    await held.begin("m", lambda: Decimal("0.3"))
    with pytest.raises(BudgetExceededError):
        await held.begin("m", lambda: Decimal("0.1"))


class Models:
    """Models that use up to what they may, fail, hang and are left, and count what it cost."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  # what models do
        self.cost = Decimal(0)
        self.budgets: list[Decimal] = []
        self.gateway: Gateway | None = None

    def __call__(self, request: ChatRequest) -> Any:
        assert self.gateway is not None
        ledger, ring = self.gateway.guard.ledger, self.gateway.guard.ring
        for account in (KEY.id, EVERYTHING):
            self.budgets.append(ledger.held(account) + ring.spent(account, TODAY))
        kind = self.rng.random()
        if kind < 0.1:
            return UpstreamStatusError("no", model=request.model, status_code=500)
        if kind < 0.15:
            return UpstreamTimeoutError("late", model=request.model)
        limit = request.body.get("max_completion_tokens") or request.body["max_tokens"]
        usage = Usage(self.rng.randint(1, 20), self.rng.randint(0, limit))
        self.cost += (usage.prompt_tokens + 10 * usage.completion_tokens) / Decimal(1_000_000)
        told = usage if kind < 0.9 else None
        return ScriptedReply("hm" if kind < 0.8 else "", usage=told, delay_s=self.rng.random())


def asked(rng: random.Random) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "model": rng.choice(["vllm-sr/fusion", "vllm-sr/fusion", "a"]),
        "messages": HELLO,
        rng.choice(["max_tokens", "max_completion_tokens"]): rng.choice([1, 50, 400]),
    }
    if rng.random() < 0.2:
        del body[list(body)[-1]]
    return body


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_thousand_requests_at_once_never_overshoot_and_leave_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys.sqlite3"
    run(_thousand, path, seed)


async def _thousand(path: Path, seed: int) -> None:
    rng, models = random.Random(seed), Models(seed)  # noqa: S311  # who asks what
    budgets = "per_day_usd: 0.9, per_request_usd: 0.1, answer_tokens: 500"
    config = parse_config(keyed_yaml(path, budgets=budgets, gateway="max_in_flight: 100000"))
    refused = answered = 0

    async def ask(gateway: Gateway, position: int) -> None:
        nonlocal refused, answered
        current_key.set(KEY if position % 2 else None)
        body, headers = asked(rng), {"x-max-cost-usd": rng.choice(["0.001", "0.01", "1"])}
        await anyio.sleep(rng.random() * 5)
        with anyio.move_on_after(rng.choice([0.3, 1, 9])), suppress(ConsilienceError):
            try:
                if rng.random() < 0.5:
                    await gateway.complete(body, headers)
                else:
                    async with gateway.stream(body, headers) as events:
                        async for _ in events:
                            pass
                answered += 1
            except (BudgetExceededError, CostCeilingError):
                refused += 1

    upstream = ScriptedUpstream(models)
    async with Gateway(config, upstream=upstream, unix_time=lambda: NOW) as gateway:
        models.gateway = gateway
        async with anyio.create_task_group() as group:
            for position in range(COUNT):
                group.start_soon(ask, gateway, position)
        ledger, ring = gateway.guard.ledger, gateway.guard.ring
        assert ledger.held(KEY.id) == ledger.held(EVERYTHING) == 0
        assert models.cost <= ring.spent(EVERYTHING, TODAY) <= Decimal("0.9")
        assert ring.spent(KEY.id, MONTH) <= Decimal("0.5")
        assert gateway.in_flight == upstream.in_flight == 0
    assert max(models.budgets[0::2]) <= Decimal("0.5")
    assert max(models.budgets[1::2]) <= Decimal("0.9")
    assert refused > 50
    assert answered > 50
