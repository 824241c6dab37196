"""A new configuration takes over what was used and set aside under the old one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from consilience import Gateway, ScriptedUpstream, parse_config
from consilience.errors import BudgetExceededError
from consilience.limits.budgets import Purse
from consilience.live import LiveGateway
from support.client import HELLO
from support.keys import keyed_yaml

pytestmark = pytest.mark.anyio

ASKED = {"model": "a", "messages": HELLO, "max_tokens": 100}


def gateway(path: Path, usd: str) -> Gateway:
    text = keyed_yaml(path, budgets=f"per_day_usd: {usd}")
    return Gateway(parse_config(text), upstream=ScriptedUpstream())


async def test_what_is_set_aside_stays_so_over_a_reload(tmp_path: Path) -> None:
    async with LiveGateway(gateway(tmp_path / "keys", "1")) as live:
        purse = Purse("*", "this gateway", per_day=Decimal(1))
        await live.current().guard.ledger.hold([purse], Decimal("0.9995"))
        await live.replace(gateway(tmp_path / "keys", "1"))

        with pytest.raises(BudgetExceededError):
            await live.current().complete(ASKED)
        await live.replace(gateway(tmp_path / "keys", "2"))

        assert (await live.current().complete(ASKED)).text == "A scripted answer."


async def test_another_file_is_another_book(tmp_path: Path) -> None:
    async with LiveGateway(gateway(tmp_path / "keys", "1")) as live:
        before = live.current().guard.ledger
        await live.replace(gateway(tmp_path / "others", "1"))

        assert live.current().guard.ledger is not before
        await live.current().complete(ASKED)
    assert (tmp_path / "others").exists()
    assert not (tmp_path / "keys").exists()
