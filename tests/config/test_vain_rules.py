"""Rules that decide nothing are warned of, and only those."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.config import build_config

from .builders import data

KEYWORDS = {"keywords": [{"name": "kw", "operator": "OR", "keywords": ["x"]}]}
ASKS = {"type": "keyword", "name": "kw"}
FUSION = {"type": "fusion", "fusion": {"analysis_models": ["small", "large"]}}


def told(*decisions: dict[str, Any], **routing: Any) -> list[tuple[str, str]]:
    named = [{"modelRefs": [{"model": "small"}], **each} for each in decisions]
    profile = {"signals": KEYWORDS, "decisions": named, **routing}
    config = build_config(data(routing=profile), environ={})
    return [(warning.path, warning.message) for warning in config.warnings]


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ({"operator": "OR", "conditions": []}, "rules"),
        ({"operator": "or"}, "rules"),
        ({"operator": "AND", "conditions": [ASKS, {"operator": "OR"}]}, "rules.conditions[1]"),
    ],
)
def test_or_of_nothing_is_told_of_when_it_stands_anywhere(rules: Any, path: str) -> None:
    (warning,) = told({"name": "a", "rules": rules})

    assert warning == (f"routing.decisions[0].{path}", "OR of no conditions never matches")


@pytest.mark.parametrize("rules", [None, {"operator": "AND", "conditions": []}])
def test_decision_is_told_of_when_a_catch_all_has_a_higher_priority(rules: Any) -> None:
    (warning,) = told(
        {"name": "all", "priority": 9, "rules": rules}, {"name": "b", "priority": 8, "rules": ASKS}
    )

    assert warning[0] == "routing.decisions[1].name"
    assert '"b" can never win: "all" matches every request' in warning[1]


def test_decision_is_told_of_when_a_catch_all_has_a_lower_tier() -> None:
    (warning,) = told({"name": "all", "tier": 1}, {"name": "b", "tier": 2, "rules": ASKS})

    assert "the lower tier" in warning[1]


@pytest.mark.parametrize(
    ("first", "second", "routing"),
    [
        ({"priority": 9}, {"priority": 9}, {}),
        ({"priority": 8}, {"priority": 9}, {}),
        ({"priority": 9}, {"priority": 8}, {"strategy": "confidence"}),
        ({"priority": 9, "tier": 1}, {"priority": 8, "tier": 1}, {}),
        ({"priority": 9, "rules": ASKS}, {"priority": 8}, {}),
        ({"priority": 9}, {"priority": 8, "algorithm": FUSION}, {}),
    ],
    ids=["as high", "lower", "by confidence", "by tier", "not a catch-all", "through a slug"],
)
def test_nothing_is_told_when_the_other_decision_may_win(
    first: dict[str, Any], second: dict[str, Any], routing: dict[str, Any]
) -> None:
    assert told({"name": "a", **first}, {"name": "b", "rules": ASKS, **second}, **routing) == []


def test_plain_decision_is_told_of_when_the_catch_all_is_a_fusion_decision() -> None:
    (warning,) = told({"name": "a", "priority": 9, "algorithm": FUSION}, {"name": "b"})

    assert warning[0] == "routing.decisions[1].name"


def test_context_is_told_of_when_its_upper_end_is_zero() -> None:
    signals = {"context": [{"name": "c", "max_tokens": 0}]}

    assert told({"name": "a"}, signals=signals) == [
        (
            "routing.signals.context[0].max_tokens",
            "rule 'c': max_tokens 0 is no upper end: leave it out to say so",
        )
    ]


def test_effort_is_told_of_when_no_provider_knows_it() -> None:
    refs = [{"model": "small", "use_reasoning": False, "reasoning_effort": "hihg"}]
    sections = data(routing={"decisions": [{"name": "a", "modelRefs": refs}]})
    sections["providers"]["defaults"] = {"default_reasoning_effort": "xhigh"}

    (warning,) = build_config(sections, environ={}).warnings

    assert warning.path == "routing.decisions[0].modelRefs[0].reasoning_effort"
    assert warning.suggestion == 'did you mean "high"?'


def test_default_effort_is_told_of_when_no_provider_knows_it() -> None:
    sections = data()
    sections["providers"]["defaults"] = {"default_reasoning_effort": "meduim"}

    (warning,) = build_config(sections, environ={}).warnings

    assert warning.path == "providers.defaults.default_reasoning_effort"
    assert warning.suggestion == 'did you mean "medium"?'


@pytest.mark.parametrize(
    ("family", "suggestion"),
    [("qwn3", 'did you mean "qwen3"?'), ("zzz", 'declared there: "qwen3"')],
)
def test_declared_families_are_suggested_when_one_is_not(family: str, suggestion: str) -> None:
    sections = data()
    kind = {"type": "reasoning_effort", "parameter": "reasoning_effort"}
    sections["providers"]["defaults"] = {"reasoning_families": {"qwen3": kind}}
    sections["providers"]["models"][0]["reasoning_family"] = family

    (warning,) = build_config(sections, environ={}).warnings

    assert warning.suggestion == suggestion


def test_subject_is_told_of_at_its_name_when_it_is_misspelt() -> None:
    signals = {"domains": [{"name": "computer scince"}, {"name": "x", "mmlu_categories": ["lwa"]}]}

    first, second = told({"name": "a"}, signals=signals)

    assert first[0] == "routing.signals.domains[0].name"
    assert "did you mean 'computer science'?" in first[1]
    assert second[0] == "routing.signals.domains[1].mmlu_categories[0]"
