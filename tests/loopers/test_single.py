"""A route to one model: the client's request, and how the decision has the model reason."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.loopers.base import Binding, RequestOverrides, observe_nothing
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.fusion.options import FusionOptions
from consilience.loopers.reasoning import ReasoningDialect, ReasoningSwitch
from consilience.loopers.single import Single, SingleOptions
from support.fusion_parts import ANALYSIS_TEXT, Models, asking

pytestmark = pytest.mark.anyio

ON = ReasoningSwitch("chat_template_kwargs", "enable_thinking", on=True)
OFF = ReasoningSwitch("chat_template_kwargs", "enable_thinking", on=False)
EFFORT = ReasoningSwitch("reasoning_effort", "reasoning_effort", on=True, effort="low")


def told(switch: ReasoningSwitch, **fields: Any) -> dict[str, Any]:
    """What the switch changes in a request with these fields."""
    asked = asking(**fields)
    after = switch.applied(asked).body
    return {name: value for name, value in after.items() if asked.body.get(name) != value}


@pytest.mark.parametrize(
    ("dialect", "parameter", "when_on", "when_off"),
    [
        (
            "chat_template_kwargs",
            "enable_thinking",
            {"chat_template_kwargs": {"enable_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
        ("reasoning_effort", "anything", {"reasoning_effort": "low"}, {}),
        ("top_level_reasoning_effort", "thinking_budget", {"thinking_budget": "low"}, {}),
    ],
)
def test_family_is_told_in_its_own_field(
    dialect: ReasoningDialect, parameter: str, when_on: Any, when_off: Any
) -> None:
    assert told(ReasoningSwitch(dialect, parameter, on=True, effort="low")) == when_on
    assert told(ReasoningSwitch(dialect, parameter, on=False, effort="low")) == when_off


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_effort": "none"},
        {"reasoning": {"effort": "low"}},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": "not an object"},
    ],
)
def test_client_goes_first_when_it_says_how_to_reason(said: dict[str, Any]) -> None:
    request = asking(**said)

    assert ON.applied(request) is request


def test_other_template_arguments_stay_when_the_switch_is_set() -> None:
    given = {"add_generation_prompt": True, "enable_thinking": None}

    changed = told(ON, chat_template_kwargs=given, reasoning_effort=None)

    assert changed == {
        "chat_template_kwargs": {"add_generation_prompt": True, "enable_thinking": True}
    }


async def single(request: ChatRequest, **binding: Any) -> ChatRequest:
    looper = Single(SingleOptions(), Binding(decision="d", models=["m", "n"], **binding))
    outcome = await looper.deliberate(request, Models({}), observe_nothing)
    assert isinstance(outcome.final, ChatRequest)
    return outcome.final


async def test_only_the_model_changes_when_the_decision_says_nothing() -> None:
    request = asking(plugins=[{"id": "web"}], n=2)

    assert await single(request) == request.replace(model="m")
    assert await single(request, reasoning=(None, ON)) == request.replace(model="m")


async def test_switch_of_the_first_model_is_set_when_there_are_several() -> None:
    asked = await single(asking(), reasoning=(OFF, ON))

    assert asked.body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_drawn_model_is_asked_first_and_the_others_stand_in_in_order() -> None:
    binding = Binding(
        decision="d", models=["a", "b", "c"], reasoning=(ON, None, OFF), weights=(0.0, 0.0, 1.0)
    )
    looper = Single(SingleOptions(), binding).prepare(asking())

    outcome = await looper.deliberate(asking(), Models({}), observe_nothing)

    finals = [outcome.final, *outcome.fallbacks]
    asked = [(f.model, f.body.get("chat_template_kwargs")) for f in finals]
    assert asked == [
        ("c", {"enable_thinking": False}),
        ("a", {"enable_thinking": True}),
        ("b", None),
    ]
    assert looper.prepare(asking("another")) is looper


def test_only_the_drawn_model_is_planned() -> None:
    binding = Binding(decision="d", models=["a", "b"], weights=(0.0, 1.0))
    looper = Single(SingleOptions(), binding).prepare(asking())

    (call,) = looper.plan(asking(), answer_tokens=10)

    assert (call.model, looper.models_used) == ("b", ("b", "a"))


async def panel_of(options: dict[str, Any], request: ChatRequest) -> list[ChatRequest]:
    looper = Fusion(
        FusionOptions.model_validate({"model": "j", **options}),
        Binding(
            decision="d",
            models=["a", "a"],
            reasoning=(ON, EFFORT),
            overrides=RequestOverrides(models="any"),
        ),
    )
    models = Models({"a": "alpha", "j": ANALYSIS_TEXT})
    await looper.prepare(request).deliberate(request, models, observe_nothing)
    return models.calls


async def test_seats_reason_as_their_references_say() -> None:
    first, second, judge = await panel_of({}, asking())

    assert first.body["chat_template_kwargs"] == {"enable_thinking": True}
    assert "reasoning_effort" not in first.body
    assert (second.body["reasoning_effort"], second.model) == ("low", "a")
    assert not {"reasoning_effort", "chat_template_kwargs"} & judge.body.keys()


async def test_fusions_own_effort_goes_before_the_references() -> None:
    first, second, _ = await panel_of({"reasoning": {"effort": "high"}}, asking())

    assert [call.body["reasoning_effort"] for call in (first, second)] == ["high", "high"]
    assert "chat_template_kwargs" not in first.body


async def test_references_have_no_say_when_the_decision_names_a_panel() -> None:
    seat, _ = await panel_of({"analysis_models": ["a"]}, asking())

    assert not {"reasoning_effort", "chat_template_kwargs"} & seat.body.keys()


async def test_references_have_no_say_when_the_request_names_a_panel() -> None:
    seat, _ = await panel_of({}, asking(plugins=[{"id": "fusion", "analysis_models": ["a"]}]))

    assert not {"reasoning_effort", "chat_template_kwargs"} & seat.body.keys()


def test_every_model_has_its_place_among_the_calls() -> None:
    looper = Single(SingleOptions(), Binding("d", models=("a", "b", "c")))

    assert looper.calls == 3
