"""What signals ask helper models is paid for from the same money, counted, and told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consilience import Gateway, ScriptedReply, ScriptedUpstream, parse_config
from consilience.chat.completion import Usage
from consilience.chat.request import ChatRequest
from consilience.config.root import Config
from consilience.errors import BudgetExceededError, NoMatchingDecisionError, UpstreamStatusError
from consilience.keys.store import EVERYTHING
from support.client import HELLO
from support.keys import keyed_yaml
from support.raw_server import Received, Step, completion, json_answer, raw_server

pytestmark = pytest.mark.anyio

NOW = 1_795_600_000.0
TODAY = "2026-11-25"
SIGNALS = """\
routing:
  signals:
    classifiers: [{name: tone, type: llm, labels: [formal, casual], model: MODEL}]
"""
RULE = "rules: {type: classifier, name: tone, label: formal}"
LABEL = '{"label": "formal", "rationale": "hm"}'
FUSION = {"model": "vllm-sr/fusion", "messages": HELLO, "max_tokens": 100}


def configured(path: Path, model: str = "p", *, budgets: str, more: str = "") -> Config:
    text = keyed_yaml(path, budgets=budgets, decision=RULE)
    text = text.replace("routing:\n", SIGNALS.replace("MODEL", model))
    return parse_config(text + more)


def said(request: ChatRequest) -> Any:
    """Every call reads 100 tokens and writes 10; the label costs what an answer does."""
    usage = Usage(100, 10, 110)
    return ScriptedReply(LABEL if request.model == "p" else "hm", usage=usage)


def stages(body: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(s["stage"], s["model"], s["status"]) for s in body["fusion"]["stages"]]


async def test_a_helper_is_in_usage_cost_trace_and_spend(tmp_path: Path) -> None:
    config = configured(tmp_path / "keys", budgets="per_day_usd: 1")
    upstream = ScriptedUpstream(said)
    async with Gateway(config, upstream=upstream, unix_time=lambda: NOW) as gateway:
        reply = await gateway.complete(FUSION, {"x-vsr-debug": "true"})
        ring, ledger = gateway.guard.ring, gateway.guard.ledger

        made = len(upstream.calls)
        assert made == 5
        assert reply.body["usage"]["total_tokens"] == made * 110
        assert reply.body["fusion"]["cost_usd"] == pytest.approx(made * 0.0002)
        assert stages(reply.body)[0] == ("signal", "p", "ok")
        assert reply.headers["x-vsr-looper-iterations"] == "4"
        assert ring.spent(EVERYTHING, TODAY) == made * Decimal("0.0002")
        assert ledger.held(EVERYTHING) == 0


async def test_a_helper_is_not_asked_without_money(tmp_path: Path) -> None:
    config = configured(tmp_path / "keys", budgets="per_day_usd: 0.001")
    upstream = ScriptedUpstream(said)
    async with Gateway(config, upstream=upstream, unix_time=lambda: NOW) as gateway:
        with pytest.raises(BudgetExceededError):
            await gateway.complete({"model": "a", "messages": HELLO, "max_tokens": 1000})
        with pytest.raises(NoMatchingDecisionError, match="asked: budget_exceeded"):
            await gateway.complete(FUSION)

        assert upstream.calls == []
        assert gateway.guard.ledger.held(EVERYTHING) == 0


async def test_a_helper_that_answered_was_paid_for_though_the_request_fails(tmp_path: Path) -> None:
    config = configured(tmp_path / "keys", budgets="per_day_usd: 0.008")

    async with Gateway(config, upstream=ScriptedUpstream(said), unix_time=lambda: NOW) as gateway:
        with pytest.raises(BudgetExceededError):
            await gateway.complete({**FUSION, "max_tokens": 4000})

        assert gateway.guard.ring.spent(EVERYTHING, TODAY) == Decimal("0.0002")
        assert gateway.guard.ledger.held(EVERYTHING) == 0


async def test_a_helper_that_turns_away_costs_nothing(tmp_path: Path) -> None:
    def fails(request: ChatRequest) -> Any:
        if request.model == "p":
            return UpstreamStatusError("busy", model="p", status_code=503)
        return said(request)

    config = configured(tmp_path / "keys", budgets="per_day_usd: 1")
    async with Gateway(config, upstream=ScriptedUpstream(fails), unix_time=lambda: NOW) as gateway:
        with pytest.raises(NoMatchingDecisionError, match="could not be asked"):
            await gateway.complete(FUSION)

        assert gateway.guard.ring.spent(EVERYTHING, TODAY) == 0


async def test_a_helper_of_the_catalog_is_counted_and_its_price_unknown(tmp_path: Path) -> None:
    def labels(_: Received) -> list[Step]:
        return [json_answer(completion(LABEL))]

    with raw_server(labels) as server:
        more = (
            "  model_catalog: {external: [{name: h, llm_model_name: labeller, llm_endpoint:"
            f" {{address: 127.0.0.1, port: {server.port}}}}}]}}\n"
        )
        config = configured(tmp_path / "keys", "h", budgets="per_day_usd: 1", more=more)
        upstream = ScriptedUpstream(said)
        async with Gateway(config, upstream=upstream, unix_time=lambda: NOW) as gateway:
            reply = await gateway.complete(FUSION)

            assert reply.body["usage"]["total_tokens"] == 4 * 110 + 5
            assert reply.body["fusion"]["cost_usd"] is None
            assert stages(reply.body)[0] == ("signal", "h", "ok")
            assert gateway.guard.ring.spent(EVERYTHING, TODAY) == 4 * Decimal("0.0002")
