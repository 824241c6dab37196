"""What a request may change, and what it hears when it may not."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.errors import InvalidRequestError
from consilience.loopers.base import Binding, RequestOverrides
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.fusion.options import FusionOptions
from support.fusion_parts import asking

SLUG = "vllm-sr/fusion"


def fusion(**overrides: Any) -> Fusion:
    given = {"configured": frozenset({"small", "large", "j"}), "forbidden": frozenset({SLUG})}
    binding = Binding(
        decision="d", models=["small", "large"], overrides=RequestOverrides(**given | overrides)
    )
    return Fusion(FusionOptions(model="j"), binding)


def prepared(looper: Fusion, *others: Any, **entry: Any) -> Fusion:
    plugins = [*others, {"id": "fusion", **entry}]
    return looper.prepare(asking(plugins=plugins))


def refusal(looper: Fusion, **entry: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        prepared(looper, **entry)
    assert caught.value.status == 400
    return caught.value


def test_without_an_entry_the_looper_is_used_as_it_is() -> None:
    looper = fusion()
    assert looper.prepare(asking()) is looper
    assert [seat.model for seat in looper.seats] == ["small", "large"]


def test_an_entry_makes_another_looper_and_leaves_this_one_alone() -> None:
    looper = fusion()
    mine = prepared(looper, analysis_models=["large"], temperature=0.5)
    assert [seat.model for seat in mine.seats] == ["large"]
    assert mine.judge_model == "j"
    assert (mine.options.temperature, looper.options.temperature) == (0.5, None)


def test_what_is_learnt_of_a_model_is_shared_with_the_next_request() -> None:
    looper = fusion()
    assert prepared(looper, temperature=1)._dialects is looper._dialects


@pytest.mark.parametrize(
    ("entry", "param", "words"),
    [
        ({"analysis_model": ["small"]}, "analysis_model", "did you mean 'analysis_models'?"),
        ({"zzz": 1}, "zzz", "known: "),
        (
            {"analysis_models": [{"model": "small", "temprature": 1}]},
            "analysis_models[0].temprature",
            "did you mean 'temperature'?",
        ),
        (
            {"analysis_models": [{"model": "small", "on_error": "fail"}]},
            "analysis_models[0].on_error",
            "known: count, max_completion_tokens, model, ",
        ),
        ({"reasoning": {"efort": "low"}}, "reasoning.efort", "did you mean 'effort'?"),
        ({"grounding": {"polcy": "weight"}}, "grounding.polcy", "did you mean 'policy'?"),
        ({"temperature": -1}, "temperature", "must be at least 0"),
        ({"temperature": "hot"}, "temperature", "must be a number"),
        ({"max_concurrent": 1.5}, "max_concurrent", "must be a whole number"),
        ({"max_concurrent": 0}, "max_concurrent", "must be at least 1"),
        ({"include_analysis": "yes"}, "include_analysis", "must be true or false"),
        ({"analysis_models": {}}, "analysis_models", "must be an array"),
        ({"analysis_models": [{}]}, "analysis_models[0].model", "is required"),
        ({"analysis_models": [3]}, "analysis_models[0]", "must be an object"),
        ({"model": " "}, "model", "must not be blank"),
        ({"on_error": "retry"}, "on_error", "must be one of 'skip' or 'fail'"),
        ({"round_timeout_seconds": 0}, "round_timeout_seconds", "must be greater than 0"),
        ({"shuffle_seed": 2**40}, "shuffle_seed", "must be less than"),
        ({"analysis_template": "compare them"}, "analysis_template", "{{responses}}"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(
    entry: dict[str, Any], param: str, words: str
) -> None:
    error = refusal(fusion(), **entry)
    assert error.param == f"plugins[0].{param}"
    assert words in error.message


def test_the_entry_is_named_by_its_place_among_the_plugins() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prepared(fusion(), {"id": "web"}, zzz=1)
    assert caught.value.param == "plugins[1].zzz"


@pytest.mark.parametrize(
    ("entry", "param"),
    [
        ({"model": SLUG}, "model"),
        ({"synthesis_model": SLUG}, "synthesis_model"),
        ({"fallback_models": ["small", SLUG]}, "fallback_models[1]"),
        ({"analysis_models": ["small", {"model": f" {SLUG} "}]}, "analysis_models[1]"),
    ],
)
@pytest.mark.parametrize("models", ["configured_models", "any"])
def test_a_slug_may_take_no_part(entry: dict[str, Any], param: str, models: str) -> None:
    error = refusal(fusion(models=models), **entry)
    assert error.param == f"plugins[0].{param}"
    assert "is a route, not a model" in error.message


def test_a_model_that_is_not_configured_is_refused_with_near_names() -> None:
    error = refusal(fusion(), analysis_models=["small", "lrage"])
    assert error.param == "plugins[0].analysis_models[1]"
    assert "did you mean 'large'?" in error.message


def test_an_override_for_a_model_that_does_not_exist_is_refused_with_near_names() -> None:
    error = refusal(fusion(), analysis_overrides=[{"model": "small"}, {"model": "lrage"}])
    assert error.param == "plugins[0].analysis_overrides[1].model"
    assert "did you mean 'large'?" in error.message


@pytest.mark.parametrize("models", ["configured_models", "any", "none"])
def test_an_override_may_speak_of_any_model_there_is(models: str) -> None:
    overrides = [{"model": "small", "temperature": 1}, {"model": "j", "temperature": 0}]
    looper = prepared(fusion(models=models), analysis_overrides=overrides)
    assert [o.temperature for o in looper.options.analysis_overrides] == [1, 0]


def test_any_takes_every_model_that_can_be_reached() -> None:
    looper = fusion(models="any", reachable=lambda name: name.startswith("ext/"))
    assert prepared(looper, model="ext/x").judge_model == "ext/x"
    assert refusal(looper, model="other").param == "plugins[0].model"


def test_none_takes_no_model_but_other_settings() -> None:
    looper = fusion(models="none")
    assert refusal(looper, model="small").param == "plugins[0].model"
    assert prepared(looper, temperature=0.5).options.temperature == 0.5


def test_a_panel_of_nine_is_refused_however_it_is_counted() -> None:
    nine = refusal(fusion(), analysis_models=["small"] * 9)
    counted = refusal(fusion(), analysis_models=[{"model": "small", "count": 8}, "large"])
    assert nine.param == counted.param == "plugins[0].analysis_models"
    assert "at most 8" in nine.message
    eight = prepared(fusion(), analysis_models=[{"model": "small", "count": 8}])
    assert eight.width == 8


@pytest.mark.parametrize(
    "entry",
    [
        {"min_successful_responses": 3},
        {"analysis_models": ["small"], "min_successful_responses": 2},
    ],
)
def test_a_quorum_above_the_panel_is_refused(entry: dict[str, Any]) -> None:
    error = refusal(fusion(), **entry)
    assert error.param is not None
    assert error.param.startswith("plugins[0]")
    assert "min_successful_responses is" in error.message


def test_an_entry_that_is_switched_off_is_checked_and_ignored() -> None:
    looper = fusion()
    ignored = prepared(looper, enabled=False, analysis_models=["unknown"], stream_progress=True)
    assert [seat.model for seat in ignored.seats] == ["small", "large"]
    assert not ignored.wants_progress
    assert refusal(looper, enabled=False, temperature=-1).param == "plugins[0].temperature"


def test_an_empty_panel_is_refused() -> None:
    looper = Fusion(FusionOptions(), Binding(decision="fusion_direct"))
    with pytest.raises(InvalidRequestError) as caught:
        looper.prepare(asking())
    assert caught.value.param == "plugins"


def test_what_is_accepted_and_not_acted_on_is_named() -> None:
    looper = prepared(
        fusion(),
        preset="general-high",
        max_tool_calls=4,
        tools=[{"type": "web"}],
        reasoning={"effort": "low", "max_tokens": 100},
        grounding={"enabled": True},
    )
    assert [w.split()[0] for w in looper.warnings] == [
        "plugins.fusion.preset",
        "plugins.fusion.max_tool_calls",
        "plugins.fusion.tools",
        "plugins.fusion.reasoning.max_tokens",
        "plugins.fusion.grounding",
    ]
    assert prepared(fusion(), reasoning={"effort": "low"}, grounding={}).warnings == ()
    assert fusion().warnings == ()


@pytest.mark.parametrize("plugin_id", ["fusion", "openrouter:fusion", " fusion "])
def test_both_ids_are_ours(plugin_id: str) -> None:
    looper = fusion().prepare(asking(plugins=[{"id": plugin_id, "stream_progress": True}]))
    assert looper.wants_progress
