"""What Fusion may be told, and how a request's settings lie over a decision's."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.loopers.fusion.options import (
    FusionOptions,
    FusionPlugin,
    Seat,
    merge,
    panel_size,
    seats_of,
)


def options(**fields: Any) -> FusionOptions:
    return FusionOptions.model_validate(fields)


def plugin(**fields: Any) -> FusionPlugin:
    return FusionPlugin.model_validate({"id": "fusion", **fields})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""),
        ("model", "  "),
        ("model", 5),
        ("synthesis_model", " "),
        ("fallback_models", "m"),
        ("fallback_models", [""]),
        ("analysis_models", "m"),
        ("analysis_models", [" "]),
        ("analysis_models", [7]),
        ("analysis_models", [{"temperature": 1}]),
        ("analysis_models", [{"model": "m", "count": 0}]),
        ("analysis_models", [{"model": "m", "count": 9}]),
        ("analysis_models", [{"model": "m", "seed": 1.5}]),
        ("analysis_models", [{"model": "m", "temprature": 1}]),
        ("analysis_models", [{"model": "m", "timeout_seconds": 0}]),
        ("analysis_models", [{"model": "m", "reasoning_effort": "hard"}]),
        ("analysis_overrides", [{"model": "m", "temperature": -1}]),
        ("analysis_overrides", [{"model": "m"}, {"model": " m "}]),
        ("max_concurrent", 0),
        ("max_concurrent", 2.0),
        ("max_concurrent", True),
        ("max_completion_tokens", "5"),
        ("judge_max_completion_tokens", -1),
        ("temperature", -0.5),
        ("temperature", "0.5"),
        ("temperature", True),
        ("temperature", float("inf")),
        ("temperature", float("nan")),
        ("reasoning", {"effort": "loud"}),
        ("min_successful_responses", 0),
        ("quorum_grace_seconds", -1),
        ("quorum_grace_seconds", float("nan")),
        ("round_timeout_seconds", 0),
        ("round_timeout_seconds", 4000),
        ("include_analysis", "yes"),
        ("include_intermediate_responses", 1),
        ("include_reasoning", "false"),
        ("on_error", "Skip"),
        ("on_error", " skip "),
        ("analysis_template", "Compare {{answers}}"),
        ("synthesis_template", "{{analysis}}"),
        ("shuffle_seed", -1),
        ("shuffle_seed", 2**32),
        ("grounding", {"policy": "drop"}),
        ("grounding", {"min_score": 1.5}),
        ("grounding", {"min_keep": -1}),
        ("unheard_of", 1),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        options(**{field: value})
    place = caught.value.errors()[0]["loc"]
    assert not place or place[0] == field


@pytest.mark.parametrize("field", sorted(FusionOptions.model_fields))
def test_a_field_that_is_null_counts_as_not_given(field: str) -> None:
    read = plugin(**{field: None})
    assert field not in read.model_fields_set
    assert merge(options(temperature=1), read) == options(temperature=1)


def test_an_unknown_field_is_refused_even_when_null() -> None:
    with pytest.raises(ValidationError):
        plugin(unheard_of=None)


def test_names_are_trimmed_and_seats_may_be_names() -> None:
    read = options(model=" j ", analysis_models=[" a ", {"model": "b\n"}], fallback_models=[" c"])
    assert read.model == "j"
    assert [seat.model for seat in read.analysis_models] == ["a", "b"]
    assert read.fallback_models == ("c",)


def test_an_entry_fills_as_many_seats_as_it_counts_with_seeds_counted_up() -> None:
    read = options(
        analysis_models=["a", {"model": "b", "count": 3, "seed": 9}, {"model": "c", "count": 2}]
    )
    seats = seats_of(read.analysis_models)
    assert panel_size(read.analysis_models) == len(seats) == 6
    assert [(s.model, s.seed, s.count) for s in seats] == [
        ("a", None, 1),
        ("b", 9, 1),
        ("b", 10, 1),
        ("b", 11, 1),
        ("c", None, 1),
        ("c", None, 1),
    ]


def test_a_quorum_must_fit_the_panel_it_stands_beside() -> None:
    with pytest.raises(ValidationError, match="the panel has 2 seats; use 1 to 2"):
        options(analysis_models=["a", "b"], min_successful_responses=3)
    assert options(min_successful_responses=3).min_successful_responses == 3


@pytest.mark.parametrize(
    ("field", "base", "given"),
    [
        ("model", "j", "k"),
        ("synthesis_model", "s", "t"),
        ("fallback_models", ["f"], ["g", "h"]),
        ("analysis_models", ["a", "b"], [{"model": "c", "seed": 1}]),
        ("max_concurrent", 1, 2),
        ("max_completion_tokens", 10, 20),
        ("judge_max_completion_tokens", 10, 20),
        ("temperature", 0.5, 0),
        ("reasoning", {"effort": "low"}, {"max_tokens": 5}),
        ("min_successful_responses", 1, 2),
        ("quorum_grace_seconds", 5, 0),
        ("round_timeout_seconds", 5, 1.5),
        ("include_analysis", True, False),
        ("include_intermediate_responses", True, False),
        ("include_reasoning", False, True),
        ("on_error", "fail", "skip"),
        ("analysis_template", "a {{responses}}", "b {{responses}}"),
        ("synthesis_template", "a {{responses}}", "b {{responses}}"),
        ("judge_prompt_version", "v1", "v2"),
        ("shuffle_seed", 1, 0),
    ],
)
def test_what_a_request_sets_replaces_the_decisions_and_the_rest_stays(
    field: str, base: Any, given: Any
) -> None:
    decided = options(**{field: base})
    merged = merge(decided, plugin(**{field: given}))
    assert merged == options(**{field: given})
    assert getattr(decided, field) == getattr(options(**{field: base}), field)
    assert merge(decided, plugin()) == decided


@pytest.mark.parametrize(
    ("field", "base", "unset"),
    [
        ("analysis_models", ["a"], []),
        ("analysis_template", "a {{responses}}", ""),
        ("synthesis_template", "a {{responses}}", ""),
    ],
)
def test_an_empty_value_does_not_unset_what_was_decided(field: str, base: Any, unset: Any) -> None:
    decided = options(**{field: base})
    assert merge(decided, plugin(**{field: unset})) == decided


def test_overrides_merge_per_model_and_field() -> None:
    decided = options(
        analysis_overrides=[
            {"model": "a", "temperature": 0.1, "max_completion_tokens": 5},
            {"model": "b", "temperature": 0.2},
        ]
    )
    merged = merge(
        decided,
        plugin(
            analysis_overrides=[
                {"model": "a", "temperature": 0},
                {"model": "c", "max_completion_tokens": 7},
            ]
        ),
    )
    kept = [(o.model, o.temperature, o.max_completion_tokens) for o in merged.analysis_overrides]
    assert kept == [("a", 0, 5), ("b", 0.2, None), ("c", None, 7)]


def test_grounding_merges_field_by_field() -> None:
    decided = options(grounding={"enabled": True, "policy": "filter", "min_keep": 2})
    merged = merge(decided, plugin(grounding={"min_keep": 3}))
    assert merged == options(grounding={"enabled": True, "policy": "filter", "min_keep": 3})
    assert merge(decided, plugin(grounding={})) == decided


def test_a_quorum_shrinks_to_a_panel_that_the_request_chose() -> None:
    decided = options(analysis_models=["a", "b", "c"], min_successful_responses=3)
    assert merge(decided, plugin(analysis_models=["a"])).min_successful_responses == 1
    own = merge(decided, plugin(analysis_models=["a", "b"], min_successful_responses=2))
    assert own.min_successful_responses == 2
    more = merge(decided, plugin(analysis_models=["a", "b", "c", "d"]))
    assert more.min_successful_responses == 3


def test_a_plugin_that_is_switched_off_changes_nothing() -> None:
    decided = options(analysis_models=["a", "b"])
    assert merge(decided, plugin(enabled=False, analysis_models=["c"], temperature=1)) == decided


def test_the_plugins_own_fields_are_no_options() -> None:
    merged = merge(options(), plugin(stream_progress=True, preset="general-high", tools=[{}]))
    assert type(merged) is FusionOptions
    assert merged == options()


def test_a_seat_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Seat(model="a").model = "b"
