"""The three stages together: what is asked, what is handed over, and what stands in for what."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio
import pytest

from consilience.chat.codec import encode
from consilience.chat.completion import Completion
from consilience.chat.request import ChatRequest, text_of
from consilience.errors import PanelFailedError
from consilience.loopers.base import Binding, ModelFacts, Outcome, observe_nothing
from consilience.loopers.fusion.looper import LEAST_CHARS, Fusion
from consilience.loopers.fusion.options import FusionOptions
from consilience.loopers.fusion.prompts import estimate_tokens
from consilience.loopers.single import Single, SingleOptions
from support.fusion_parts import (
    ANALYSIS_TEXT,
    After,
    Models,
    Watcher,
    answered,
    asking,
    status_error,
)
from support.golden import assert_golden

pytestmark = pytest.mark.anyio

SCRIPT = {"a": "alpha", "b": "beta", "j": ANALYSIS_TEXT, "s": "unused"}


def fusion(binding: dict[str, Any] | None = None, **options: Any) -> Fusion:
    given = {"model": "j", "analysis_models": ["a", "b"], "shuffle_seed": 1, **options}
    return Fusion(
        FusionOptions.model_validate(given),
        Binding(**{"decision": "d", **(binding or {})}),
        draw_seed=lambda: 4242,
    )


async def deliberated(
    looper: Fusion, request: ChatRequest | None = None, script: Any = SCRIPT, observe: Any = None
) -> tuple[Outcome, Models]:
    models = Models(script)
    outcome = await looper.deliberate(request or asking(), models, observe or observe_nothing)
    return outcome, models


def rendered(outcome: Outcome) -> dict[str, Any]:
    assert outcome.extension is not None
    return dict(outcome.extension.render(None) or {})


def final_of(outcome: Outcome) -> ChatRequest:
    assert isinstance(outcome.final, ChatRequest)
    return outcome.final


async def test_the_bodies_of_a_whole_run() -> None:
    request = asking(temperature=0.3, top_k=5, tools=[{"type": "function"}], seed=2**70)
    outcome, models = await deliberated(fusion(), request)
    bodies = [call.body for call in models.calls] + [final_of(outcome).body]
    encode(bodies)  # what is shown here is what can be sent
    assert_golden("fusion_bodies.json", json.dumps(bodies, indent=1, ensure_ascii=False) + "\n")


async def test_the_synthesis_carries_all_of_the_clients_fields() -> None:
    fields = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function"}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "n": 2,
        "logprobs": True,
        "stop": ["x"],
        "max_tokens": 9,
        "temperature": 0.1,
        "seed": 2**70,
        "unheard_of": {"of": 1},
        "plugins": [{"id": "web"}, {"id": "fusion"}],
    }
    request = asking(**fields)
    outcome, models = await deliberated(fusion(temperature=0.9), request)
    expected = {**request.body, "model": "j", "plugins": [{"id": "web"}]}
    assert {**final_of(outcome).body, "messages": 0} == {**expected, "messages": 0}
    assert all("plugins" not in call.body for call in models.calls)


async def test_what_is_to_be_stored_is_the_synthesis_and_its_metadata_goes_with_it() -> None:
    outcome, models = await deliberated(fusion(), asking(store=True, metadata={"job": "7"}))
    final = final_of(outcome).body
    assert (final["store"], final["metadata"]) == (True, {"job": "7"})
    assert len(models.calls) == 3
    assert not any({"store", "metadata"} & call.body.keys() for call in models.calls)


async def test_fusions_temperature_fills_a_gap_of_the_synthesis() -> None:
    outcome, _ = await deliberated(fusion(temperature=0.9))
    assert final_of(outcome).body["temperature"] == 0.9
    plain, _ = await deliberated(fusion())
    assert "temperature" not in final_of(plain).body


async def test_fusions_token_limit_is_not_the_answers() -> None:
    outcome, models = await deliberated(fusion(max_completion_tokens=50), asking(max_tokens=900))
    assert [c.body["max_completion_tokens"] for c in models.calls] == [50, 50, 50]
    assert final_of(outcome).body["max_tokens"] == 900
    assert "max_completion_tokens" not in final_of(outcome).body


@pytest.mark.parametrize(
    ("options", "judge", "writer"),
    [
        ({}, "j", "j"),
        ({"synthesis_model": "s"}, "j", "s"),
        ({"model": None}, "a", "a"),
        ({"model": None, "synthesis_model": "s"}, "a", "s"),
    ],
)
async def test_who_judges_and_who_writes(options: Any, judge: str, writer: str) -> None:
    looper = fusion(**options)
    outcome, models = await deliberated(looper)
    assert (models.calls[-1].model, final_of(outcome).model) == (judge, writer)
    assert looper.models_used == tuple(dict.fromkeys(["a", "b", judge, writer]))


async def test_the_panel_is_the_decisions_models_when_none_is_named() -> None:
    looper = fusion({"models": ["b", "a"]}, analysis_models=[])
    _, models = await deliberated(looper)
    assert [c.model for c in models.calls] == ["b", "a", "j"]


async def test_fallbacks_write_in_order_and_then_the_panel_answers() -> None:
    script = SCRIPT | {"a": answered("a", "cut", finish_reason="length")}
    looper = fusion(fallback_models=["s", "j", "b", "s"])
    outcome, _ = await deliberated(looper, script=script)
    *requests, last = outcome.fallbacks
    assert [r.model for r in requests if isinstance(r, ChatRequest)] == ["s", "b"]
    for request in requests:
        assert isinstance(request, ChatRequest)
        assert request.body == {**final_of(outcome).body, "model": request.model}
    assert isinstance(last, Completion)
    assert (last.model, last.text) == ("b", "beta")


async def test_when_every_panel_answer_was_cut_the_first_stands_in() -> None:
    def cut(request: ChatRequest) -> Completion:
        return answered(request.model, request.model, finish_reason="length")

    outcome, _ = await deliberated(fusion(), script=SCRIPT | {"a": cut, "b": cut})
    (last,) = outcome.fallbacks
    assert last.model == "a"


async def test_under_fail_no_panel_answer_stands_in() -> None:
    outcome, _ = await deliberated(fusion(on_error="fail", fallback_models=["s"]))
    assert [f.model for f in outcome.fallbacks] == ["s"]


async def test_a_failed_panel_ends_it_before_anyone_judges() -> None:
    models = Models({"a": status_error("a", 500), "b": "", "j": ANALYSIS_TEXT})
    with pytest.raises(PanelFailedError):
        await fusion().deliberate(asking(), models, observe_nothing)
    assert models.asked_of("j") == []


async def test_a_failed_judge_leaves_an_answer_without_analysis_and_says_why() -> None:
    outcome, _ = await deliberated(fusion(), script=SCRIPT | {"j": status_error("j", 503)})
    trace = rendered(outcome)
    assert "analysis" not in trace
    assert trace["degraded"] == [{"stage": "judge", "reason": "server_error"}]
    assert "There is no analysis" in text_of(final_of(outcome).messages[-1])


async def test_one_deadline_leaves_time_for_every_stage() -> None:
    script = SCRIPT | {"b": After(math.inf), "j": After(math.inf)}
    with anyio.fail_after(100):
        outcome, _ = await deliberated(fusion(), script=script)
        assert anyio.current_time() == pytest.approx(80)
    assert [r.status for r in outcome.records] == ["ok", "timeout", "timeout"]


@pytest.mark.parametrize(
    ("options", "fields", "seed"),
    [
        ({"shuffle_seed": 7}, {"seed": 9}, 7),
        ({"shuffle_seed": None}, {"seed": 9}, 9),
        ({"shuffle_seed": None}, {"seed": -1}, 2**32 - 1),
        ({"shuffle_seed": None}, {"seed": 2**70 + 3}, 3),
        ({"shuffle_seed": None}, {"seed": True}, 4242),
        ({"shuffle_seed": None}, {"seed": None}, 4242),
        ({"shuffle_seed": None}, {}, 4242),
    ],
)
async def test_the_order_is_seeded_by_option_then_client_then_chance(
    options: Any, fields: Any, seed: int
) -> None:
    outcome, _ = await deliberated(fusion(**options), asking(**fields))
    assert rendered(outcome)["seed"] == seed


async def test_long_answers_are_cut_to_the_smaller_window_and_the_trace_says_so() -> None:
    facts = {"j": ModelFacts(3000), "s": ModelFacts(100_000), "a": ModelFacts(50)}
    looper = fusion({"facts": facts}, synthesis_model="s")
    long = SCRIPT | {"a": "x" * 9000, "b": "short"}
    outcome, models = await deliberated(looper, script=long)
    judge, writer = models.asked_of("j")[0], final_of(outcome)
    assert estimate_tokens(encode(judge.messages).decode()) + 1024 <= 3000
    assert LEAST_CHARS <= text_of(judge.messages[-1]).count("x") < 9000
    assert "short" in text_of(judge.messages[-1])
    assert writer.messages[0] == judge.messages[0]
    trace = rendered(outcome)
    assert trace["degraded"] == [{"stage": "judge", "reason": "panel_answers_cut"}]
    assert [len(r["content"]) for r in trace["responses"]] == [9000, 5]


@pytest.mark.parametrize("facts", [{}, {"j": ModelFacts(None)}, {"j": ModelFacts(100_000)}])
async def test_answers_that_fit_are_not_cut(facts: Any) -> None:
    outcome, models = await deliberated(fusion({"facts": facts}), script=SCRIPT | {"a": "x" * 9000})
    assert "x" * 9000 in text_of(models.asked_of("j")[0].messages[-1])
    assert "degraded" not in rendered(outcome)


async def test_a_judge_that_also_writes_has_room_for_both() -> None:
    looper = fusion({"facts": {"j": ModelFacts(6000)}}, judge_max_completion_tokens=500)
    many = SCRIPT | {"a": "x" * 9000, "b": "y" * 9000}
    outcome, _ = await deliberated(looper, asking(max_tokens=800), script=many)
    assert estimate_tokens(encode(final_of(outcome).messages).decode()) + 500 + 800 <= 6000


async def test_short_answers_in_a_tiny_window_are_left_whole_and_nothing_is_claimed() -> None:
    outcome, _ = await deliberated(fusion({"facts": {"j": ModelFacts(100)}}))
    assert "degraded" not in rendered(outcome)


async def test_output_contracts_reach_the_writer_only() -> None:
    looper = fusion({"output_contract": "One word."})
    outcome, models = await deliberated(looper)
    assert text_of(final_of(outcome).messages[-1]).endswith("One word.\n")
    assert all("One word." not in encode(call.body).decode() for call in models.calls)


async def test_a_typed_contract_becomes_the_last_edit() -> None:
    spec = {"type": "choice", "choice_set": {"values": ["yes"]}, "render": {"mode": "value"}}
    outcome, _ = await deliberated(fusion({"output_contract_spec": spec}))
    assert outcome.finish is not None
    assert outcome.finish(answered("j", " yes ")).message["content"] == "yes"
    plain, _ = await deliberated(fusion())
    assert plain.finish is None


async def test_watchers_see_the_stages_in_order() -> None:
    watcher = Watcher()
    await deliberated(fusion(max_concurrent=1), observe=watcher)
    assert sorted(watcher.events[:4]) == ["panel_answered"] * 2 + ["panel_started"] * 2
    by_seat = [p.event for p in watcher.seen if p.fields.get("seat") == 1]
    assert by_seat == ["panel_started", "panel_answered"]
    assert watcher.events[4:] == ["judge_started", "judge_finished", "synthesis_started"]


async def test_a_looper_keeps_nothing_of_one_request_for_the_next() -> None:
    looper = fusion()
    first, _ = await deliberated(looper, asking("one"))
    await deliberated(looper, asking("two"))
    again, _ = await deliberated(looper, asking("one"))
    assert final_of(first).body == final_of(again).body


def test_width_is_how_many_calls_run_at_once() -> None:
    assert fusion().width == 2
    assert fusion(max_concurrent=1).width == 1
    assert fusion(max_concurrent=9).width == 2


async def test_single_passes_the_request_on_to_its_first_model() -> None:
    single = Single(SingleOptions(), Binding(decision="d", models=["m", "n"]))
    request = asking(plugins=[{"id": "web"}], n=2)
    outcome = await single.deliberate(request, Models({}), observe_nothing)
    assert outcome.final == request.replace(model="m")
    assert list(outcome.fallbacks) == [request.replace(model="n")]
    assert (outcome.records, single.models_used) == ((), ("m", "n"))
    assert outcome.spent.total_tokens == 0
