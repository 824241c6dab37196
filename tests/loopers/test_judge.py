"""The judge's call: what it carries, what a model turns out not to take, and never fatal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from consilience.chat.request import ChatRequest
from consilience.errors import UpstreamConnectionError
from consilience.loopers.base import observe_nothing
from consilience.loopers.fusion.judge import (
    JUDGE_SHARE,
    LEAST_TOKENS,
    NOT_FOR_THE_JUDGE,
    Dialects,
    Verdict,
    judge_request,
    run_judge,
)
from consilience.loopers.fusion.options import FusionOptions
from consilience.loopers.fusion.prompts import analysis_schema
from support.fusion_parts import (
    ANALYSIS,
    ANALYSIS_TEXT,
    USAGE,
    After,
    Models,
    Watcher,
    answered,
    asking,
    status_error,
)

pytestmark = pytest.mark.anyio

SCHEMAS = [analysis_schema(bounded=True), analysis_schema(bounded=False), None]


async def judged(
    script: Any,
    *,
    models: list[str] | None = None,
    dialects: Dialects | None = None,
    observe: Any = observe_nothing,
    **options: Any,
) -> tuple[Verdict, Models]:
    asked = Models(script)
    verdict = await run_judge(
        asking("compare"),
        models or ["j"],
        FusionOptions.model_validate(options),
        dialects or Dialects(),
        asked,
        observe,
    )
    return verdict, asked


def schemas(models: Models) -> list[Any]:
    return [call.body.get("response_format") for call in models.calls]


def refusing(
    *, schema: bool = False, bounds: bool = False, temperature: str | None = None
) -> Callable[[ChatRequest], Any]:
    """A judge that refuses some fields; `temperature` is the `param` it then names."""

    def reply(request: ChatRequest) -> Any:
        given = request.body.get("response_format")
        if temperature is not None and "temperature" in request.body:
            return status_error("j", 400, param=temperature or None)
        if given is not None and (schema or (bounds and "maxItems" in str(given))):
            return status_error("j", 400, param="response_format")
        return ANALYSIS_TEXT

    return reply


def test_the_judge_gets_none_of_what_bends_an_answer() -> None:
    request = ChatRequest(
        {**asking().body, **dict.fromkeys(NOT_FOR_THE_JUDGE, 9), "top_k": 3, "seed": 2**70}
    )
    body = judge_request(request, "j", FusionOptions(judge_max_completion_tokens=7)).body
    assert body == {
        "model": "j",
        "messages": request.messages,
        "top_k": 3,
        "seed": 2**70,
        "temperature": 0,
        "max_completion_tokens": 7,
    }


@pytest.mark.parametrize(
    ("options", "client", "limit"),
    [
        ({}, {}, None),
        ({}, {"max_tokens": 5}, LEAST_TOKENS),
        ({}, {"max_completion_tokens": 4 * LEAST_TOKENS}, 4 * LEAST_TOKENS),
        ({"max_completion_tokens": 50}, {"max_tokens": 5}, 50),
        ({"max_completion_tokens": 50, "judge_max_completion_tokens": 60}, {}, 60),
    ],
)
def test_the_judges_limit_is_its_own_then_fusions_then_enough(
    options: dict[str, Any], client: dict[str, Any], limit: int | None
) -> None:
    asked = judge_request(asking(**client), "j", FusionOptions.model_validate(options))
    assert asked.body.get("max_completion_tokens") == limit
    assert "max_tokens" not in asked.body


@pytest.mark.parametrize(("decided", "temperature"), [(None, 0), (0.7, 0.7), (0, 0)])
def test_the_judges_temperature_is_0_unless_the_decision_sets_one(
    decided: float | None, temperature: float
) -> None:
    options = FusionOptions.model_validate(
        {"temperature": decided, "analysis_overrides": [{"model": "j", "temperature": 1.9}]}
    )
    asked = judge_request(asking(temperature=1.5), "j", options)
    assert asked.body["temperature"] == temperature


def test_reasoning_effort_reaches_the_judge() -> None:
    options = FusionOptions.model_validate({"reasoning": {"effort": "low"}})
    assert judge_request(asking(), "j", options).body["reasoning_effort"] == "low"


async def test_a_judge_is_asked_with_the_bounded_schema() -> None:
    verdict, models = await judged({"j": answered("j", ANALYSIS_TEXT, cost="0.5")})
    assert schemas(models) == SCHEMAS[:1]
    assert verdict.analysis is not None
    assert verdict.analysis.as_body() == ANALYSIS
    (record,) = verdict.records
    assert (record.model, record.status, record.usage) == ("j", "ok", USAGE)
    assert str(record.cost_usd) == "0.5"
    assert verdict.trouble == []


@pytest.mark.parametrize(
    ("refusal", "steps"), [(refusing(bounds=True), 2), (refusing(schema=True), 3)]
)
async def test_a_refused_schema_is_asked_without_and_that_is_remembered(
    refusal: Any, steps: int
) -> None:
    dialects = Dialects()
    verdict, first = await judged({"j": refusal}, dialects=dialects)
    _, second = await judged({"j": refusal}, dialects=dialects)
    assert schemas(first) == SCHEMAS[:steps]
    assert schemas(second) == SCHEMAS[steps - 1 : steps]
    assert [r.status for r in verdict.records] == ["ok"]


async def test_what_one_model_does_not_take_says_nothing_of_another() -> None:
    dialects = Dialects()
    await judged({"j": refusing(schema=True)}, dialects=dialects)
    _, models = await judged({"k": "{}"}, models=["k"], dialects=dialects)
    assert schemas(models) == SCHEMAS[:1]


async def test_nothing_is_remembered_of_a_model_that_takes_everything() -> None:
    dialects = Dialects()
    await judged({"j": "{}"}, dialects=dialects)
    assert dialects == Dialects()


async def test_a_refusal_that_asking_without_does_not_cure_is_not_remembered() -> None:
    dialects = Dialects()
    verdict, models = await judged({"j": lambda _: status_error("j", 400)}, dialects=dialects)
    assert schemas(models) == SCHEMAS
    assert (verdict.analysis, verdict.trouble) == (None, ["rejected"])
    assert dialects == Dialects()


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_other_failures_are_not_about_the_schema(status: int) -> None:
    verdict, models = await judged({"j": lambda _: status_error("j", status)})
    assert len(models.calls) == 1
    assert verdict.analysis is None


async def test_a_temperature_that_nobody_asked_for_is_left_out_where_refused() -> None:
    dialects = Dialects()
    script = {"j": refusing(temperature="temperature", bounds=True)}
    verdict, first = await judged(script, dialects=dialects)
    _, second = await judged(script, dialects=dialects)
    assert [("temperature" in c.body, c.body.get("response_format")) for c in first.calls] == [
        (True, SCHEMAS[0]),
        (False, SCHEMAS[0]),
        (False, SCHEMAS[1]),
    ]
    assert [("temperature" in c.body) for c in second.calls] == [False]
    assert verdict.trouble == []


async def test_a_temperature_that_was_decided_is_not_left_out() -> None:
    dialects = Dialects(no_temperature={"j"})
    script = {"j": refusing(temperature="temperature")}
    verdict, models = await judged(script, dialects=dialects, temperature=0.5)
    assert [c.body["temperature"] for c in models.calls] == [0.5]
    assert verdict.trouble == ["rejected"]


async def test_fallbacks_are_asked_in_order_until_one_replies() -> None:
    script = {"j": status_error("j", 500), "k": After(math.inf), "l": ANALYSIS_TEXT, "m": "{}"}
    with anyio.fail_after(100):
        verdict, models = await judged(script, models=["j", "k", "l", "m"])
    assert [c.model for c in models.calls] == ["j", "k", "l"]
    assert (verdict.model, verdict.trouble) == ("l", ["server_error", "timeout"])
    assert [(r.model, r.status) for r in verdict.records] == [
        ("j", "failed"),
        ("k", "timeout"),
        ("l", "ok"),
    ]


async def test_the_judge_has_its_share_of_the_deadline() -> None:
    with anyio.fail_after(100):
        verdict, models = await judged({"j": After(math.inf)})
        assert anyio.current_time() == pytest.approx(100 * JUDGE_SHARE)
    assert verdict.trouble == ["timeout"]
    assert models.running == 0


async def test_when_every_judge_fails_there_is_no_analysis_and_every_reason() -> None:
    script = {"j": status_error("j", 429), "k": UpstreamConnectionError("gone", model="k")}
    verdict, _ = await judged(script, models=["j", "k"])
    assert (verdict.analysis, verdict.model) == (None, "j")
    assert verdict.trouble == ["rate_limited", "connection"]


async def test_a_reply_that_cannot_be_read_is_kept_and_flagged_and_not_asked_again() -> None:
    verdict, models = await judged({"j": "I cannot.", "k": ANALYSIS_TEXT}, models=["j", "k"])
    assert len(models.calls) == 1
    assert verdict.analysis is not None
    assert verdict.analysis.as_body() == {"raw": "I cannot.", "parse_failed": True}
    assert verdict.trouble == ["analysis_unparsed"]


async def test_cancelling_cancels_the_judge() -> None:
    models = Models({"j": After(math.inf)})
    async with anyio.create_task_group() as group:
        group.start_soon(
            run_judge, asking(), ["j", "k"], FusionOptions(), Dialects(), models, observe_nothing
        )
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert (models.cancelled, len(models.calls)) == (["j"], 1)


@pytest.mark.parametrize("shown", [True, False])
async def test_watchers_see_how_much_was_found_unless_hidden(shown: bool) -> None:
    watcher = Watcher()
    await judged({"j": ANALYSIS_TEXT}, observe=watcher, include_analysis=shown)
    assert watcher.events == ["judge_started", "judge_finished"]
    found = {key: len(items) for key, items in ANALYSIS.items()}
    expected = {"model": "j", "parsed": True} | ({"found": found} if shown else {})
    assert watcher.seen[1].fields == expected
