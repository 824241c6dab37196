"""What the client sees under `fusion`: what ran, what it cost, and nothing of what is hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from consilience.chat.codec import encode
from consilience.chat.completion import Usage
from consilience.loopers.base import Binding, Outcome, StageRecord, observe_nothing
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.fusion.options import FusionOptions
from consilience.loopers.fusion.trace import money, total_cost
from support.fusion_parts import (
    ANALYSIS,
    ANALYSIS_TEXT,
    USAGE,
    After,
    Models,
    answered,
    asking,
    status_error,
)

pytestmark = pytest.mark.anyio


def priced(model: str, text: str, cost: str | None = "0.001", **more: Any) -> Any:
    return answered(model, text, cost=cost, **more)


SCRIPT = {
    "a": priced("a", "alpha", message={"reasoning_content": "secret thought"}),
    "b": priced("b", "beta", finish_reason="length"),
    "j": priced("j", ANALYSIS_TEXT),
}
WRITTEN = StageRecord("synthesis", "j", "ok", 7, 3, USAGE, Decimal("0.002"))
FAILED = StageRecord("synthesis", "j", "failed", 5, reason="server_error")


async def outcome_of(script: Any = SCRIPT, **options: Any) -> Outcome:
    given = {"model": "j", "analysis_models": ["a", "b"], "shuffle_seed": 1, **options}
    looper = Fusion(FusionOptions.model_validate(given), Binding(decision="d"))
    return await looper.deliberate(asking(), Models(script), observe_nothing)


def drawn(outcome: Outcome, *delivery: StageRecord) -> dict[str, Any] | None:
    assert outcome.extension is not None
    body = outcome.extension.render(delivery or None)
    return None if body is None else dict(body)


async def trace_of(
    script: Any = SCRIPT, delivery: Sequence[StageRecord] = (WRITTEN,), **options: Any
) -> dict[str, Any]:
    trace = drawn(await outcome_of(script, **options), *delivery)
    assert trace is not None
    return trace


async def test_a_clean_run_is_told_whole() -> None:
    trace = await trace_of()
    labels = trace["labels"]
    assert sorted(labels) == ["A", "B"]
    assert sorted(labels.values()) == ["a", "b"]
    assert trace["analysis"]["consensus"] == ANALYSIS["consensus"]
    assert trace["analysis"]["unique_insights"][0]["model"] == labels["B"]
    assert trace["analysis"]["partial_coverage"][0]["models"] == [labels["A"], labels["B"]]
    by_model = {model: label for label, model in labels.items()}
    assert trace["responses"] == [
        {"model": "a", "label": by_model["a"], "content": "alpha"},
        {"model": "b", "label": by_model["b"], "content": "beta", "truncated": True},
    ]
    told = (
        "judge_model",
        "synthesis_model",
        "analysis_models",
        "prompt_version",
        "decision",
        "seed",
    )
    assert [trace[key] for key in told] == ["j", "j", ["a", "b"], "fusion-v1", "d", 1]
    assert not trace.keys() & {"degraded", "failed_models"}
    encode(trace)


async def test_each_stage_is_told_with_what_it_took() -> None:
    trace = await trace_of()
    assert [(s["stage"], s["model"], s["status"], s.get("seat")) for s in trace["stages"]] == [
        ("panel", "a", "ok", 0),
        ("panel", "b", "ok", 1),
        ("judge", "j", "ok", None),
        ("synthesis", "j", "ok", None),
    ]
    assert trace["stages"][3] == {
        "stage": "synthesis",
        "model": "j",
        "status": "ok",
        "latency_ms": 7,
        "ttft_ms": 3,
        "usage": USAGE.as_body(),
        "cost_usd": 0.002,
    }
    assert (trace["models_used"], trace["iterations"]) == (["a", "b", "j"], 4)
    assert trace["cost_usd"] == 0.005


async def test_before_delivery_the_trace_is_as_far_as_it_has_come() -> None:
    trace = await trace_of(delivery=())
    assert (trace["iterations"], trace["cost_usd"]) == (3, 0.003)
    assert trace["synthesis_model"] == "j"


async def test_a_cost_that_is_not_known_is_null_and_so_is_the_sum() -> None:
    trace = await trace_of(SCRIPT | {"b": priced("b", "beta", None, usage=None)})
    assert [s["cost_usd"] for s in trace["stages"]] == [0.001, None, 0.001, 0.002]
    assert trace["stages"][1]["usage"] is None
    assert trace["cost_usd"] is None


def test_the_sum_counts_what_a_failed_call_cost() -> None:
    failed = StageRecord("panel", "b", "failed", 1, cost_usd=Decimal("0.5"))
    assert total_cost([WRITTEN, failed, FAILED]) == Decimal("0.502")
    assert total_cost([failed]) is None
    assert total_cost([]) is None


def test_money_is_a_number_to_a_millionth_of_a_cent() -> None:
    assert money(Decimal("0.1") + Decimal("0.2")) == 0.3
    assert money(Decimal("1e-9")) == 0
    assert money(None) is None


async def test_usage_is_the_sum_over_every_call() -> None:
    outcome = await outcome_of()
    assert outcome.spent == USAGE + USAGE + USAGE
    silent = SCRIPT | {"b": answered("b", "beta", usage=None)}
    assert (await outcome_of(silent)).spent == USAGE + USAGE
    refused = SCRIPT | {"b": answered("b", "", usage=Usage(1, 1, 2))}
    assert (await outcome_of(refused)).spent == USAGE + USAGE + Usage(1, 1, 2)


@pytest.mark.parametrize(
    ("options", "shown", "hidden"),
    [
        ({"include_analysis": False}, {"responses"}, {"analysis"}),
        ({"include_intermediate_responses": False}, {"analysis"}, {"responses"}),
    ],
)
async def test_a_hidden_part_is_hidden_completely(
    options: Any, shown: set[str], hidden: set[str]
) -> None:
    trace = await trace_of(**options)
    assert trace.keys() >= shown
    assert not trace.keys() & hidden
    text = encode(trace).decode()
    secrets = {"analysis": ["Both name Paris.", "the river"], "responses": ["alpha", "beta"]}
    assert all(secret not in text for part in hidden for secret in secrets[part])


async def test_an_unread_reply_of_the_judge_is_hidden_with_the_analysis() -> None:
    script = SCRIPT | {"j": priced("j", "prose of the judge")}
    shown = await trace_of(script)
    hidden = await trace_of(script, include_analysis=False)
    assert shown["analysis"] == {"raw": "prose of the judge", "parse_failed": True}
    assert "prose of the judge" not in encode(hidden).decode()
    assert hidden["degraded"] == [{"stage": "judge", "reason": "analysis_unparsed"}]


async def test_reasoning_is_shown_only_when_asked_for() -> None:
    assert "secret thought" not in encode(await trace_of()).decode()
    trace = await trace_of(include_reasoning=True)
    assert [r.get("reasoning") for r in trace["responses"]] == ["secret thought", None]


async def test_with_both_parts_hidden_a_clean_run_has_no_trace() -> None:
    hidden = {"include_analysis": False, "include_intermediate_responses": False}
    assert drawn(await outcome_of(**hidden), WRITTEN) is None
    late = SCRIPT | {"b": After(math.inf)}
    quorum = await outcome_of(late, **hidden, min_successful_responses=1)
    assert drawn(quorum, WRITTEN) is None


async def test_with_both_parts_hidden_what_failed_is_still_told() -> None:
    failing = SCRIPT | {"b": status_error("b", 500)}
    trace = await trace_of(failing, include_analysis=False, include_intermediate_responses=False)
    assert trace["failed_models"] == [
        {
            "model": "b",
            "error": "answered with status 500",
            "reason": "server_error",
            "status_code": 500,
        }
    ]
    assert trace["degraded"] == [{"stage": "panel", "reason": "b: server_error"}]
    assert not trace.keys() & {"analysis", "responses"}
    assert "alpha" not in encode(trace).decode()


async def test_a_cancelled_straggler_is_listed_but_nothing_is_degraded() -> None:
    trace = await trace_of(SCRIPT | {"b": After(math.inf)}, min_successful_responses=1)
    assert [(f["model"], f["reason"]) for f in trace["failed_models"]] == [("b", "cancelled")]
    assert (trace["stages"][1]["status"], trace["stages"][1]["reason"]) == (
        "cancelled",
        "cancelled",
    )
    assert "degraded" not in trace


async def test_models_that_were_never_called_were_not_used() -> None:
    trace = await trace_of(
        SCRIPT | {"a": After(1, SCRIPT["a"])}, min_successful_responses=1, max_concurrent=1
    )
    assert trace["analysis_models"] == ["a", "b"]
    assert (trace["models_used"], trace["iterations"]) == (["a", "j"], 3)


async def test_a_writer_that_failed_and_the_one_that_wrote_are_told() -> None:
    outcome = await outcome_of(fallback_models=["b"])
    wrote = StageRecord("synthesis", "b", "ok", 4)
    trace = drawn(outcome, FAILED, wrote)
    assert trace is not None
    assert trace["synthesis_model"] == "b"
    assert trace["degraded"] == [{"stage": "synthesis", "reason": "server_error"}]


async def test_while_a_fallback_writes_nobody_claims_that_the_panel_answered() -> None:
    trace = drawn(await outcome_of(fallback_models=["b"]), FAILED)
    assert trace is not None
    assert trace["synthesis_model"] == "b"
    assert trace["degraded"] == [{"stage": "synthesis", "reason": "server_error"}]


async def test_a_panel_answer_that_stood_in_is_told() -> None:
    outcome = await outcome_of()
    trace = drawn(outcome, FAILED)
    assert trace is not None
    assert trace["synthesis_model"] == "a"
    assert [d["reason"] for d in trace["degraded"]] == ["server_error", "answered_by_panel"]
    assert outcome.extension is not None
    assert outcome.extension.degraded([FAILED]) == [
        ("synthesis", "server_error"),
        ("synthesis", "answered_by_panel"),
    ]


async def test_no_stage_tells_an_upstreams_words() -> None:
    trace = await trace_of(SCRIPT | {"b": status_error("b", 500)})
    assert "answered with status 500" not in encode(trace["stages"]).decode()
