from __future__ import annotations

from collections.abc import Mapping

import pytest

from consilience.signals.base import SignalResult
from consilience.signals.domain import DOMAINS, Domain, DomainRule, DomainSettings
from consilience.signals.examples import examples_of
from support.conversation import facts
from support.meanings import found, matched, static_embedding

pytestmark = pytest.mark.anyio

RULES = [DomainRule(name=name.replace(" ", "_")) for name in DOMAINS]


class Told(Domain):
    """A subject classifier that says what the test wants."""

    probable: Mapping[str, float] = {}

    def probabilities(self, *_: object) -> Mapping[str, float]:
        return self.probable


def judged(
    probable: Mapping[str, float], *rules: DomainRule, settings: DomainSettings | None = None
) -> dict[str, SignalResult]:
    signal = Told(rules or RULES, settings)
    signal.probable = dict.fromkeys(DOMAINS, 0.0) | dict(probable)
    return dict(signal.judge(facts("x"), {"x": static_embedding().rows(("x",))[0]}))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Solve the integral of x squared times sine x", "math"),
        ("Is a verbal contract enforceable in court?", "law"),
        ("Why does the mitochondrion have its own DNA?", "biology"),
        ("Write a Python function that reverses a linked list", "computer_science"),
    ],
)
async def test_subject_of_a_plain_question_is_told(text: str, name: str) -> None:
    results = await found(Domain, RULES, facts(text), embedding=static_embedding())
    assert matched(results) == [name]


def test_only_the_best_counts_when_it_is_sure() -> None:
    settings = DomainSettings(threshold=0.05)
    results = judged({"math": 0.9, "physics": 0.1}, settings=settings)
    assert matched(results) == ["math"]


def test_all_that_reach_the_threshold_count_when_none_is_sure() -> None:
    settings = DomainSettings(threshold=0.3)
    results = judged({"math": 0.4, "physics": 0.35, "law": 0.25}, settings=settings)
    assert matched(results) == ["math", "physics"]
    assert results["physics"].confidence == pytest.approx(0.35)


@pytest.mark.parametrize("fallback", ["other", "business"])
def test_fallback_counts_when_none_reaches_the_threshold(fallback: str) -> None:
    settings = DomainSettings(fallback_category=fallback)
    results = judged({"math": 0.34, "physics": 0.33, "law": 0.33}, settings=settings)
    assert matched(results) == [fallback]


def test_rule_stands_for_each_of_its_subjects() -> None:
    science = DomainRule(name="science", mmlu_categories=("Physics", "computer_science"))
    results = judged({"computer science": 0.95, "law": 0.05}, science)
    assert results["science"] == SignalResult(
        True, 0.95, value=0.95, detail={"category": "computer science"}
    )


def test_value_is_that_of_the_subject_that_counts() -> None:
    rule = DomainRule(name="rest", mmlu_categories=("math", "other"))
    result = judged({"math": 0.34, "law": 0.34, "other": 0.05}, rule)["rest"]
    assert (result.matched, result.value, result.detail) == (True, 0.05, {"category": "other"})


@pytest.mark.parametrize("text", ["", " \n"])
async def test_text_about_nothing_is_about_the_fallback(text: str) -> None:
    results = await found(Domain, RULES, facts(text), embedding=static_embedding())
    assert matched(results) == ["other"]


async def test_nothing_matches_when_the_kind_is_off() -> None:
    results = await found(
        Domain,
        RULES,
        facts("Solve the integral"),
        settings=DomainSettings(enabled=False),
        embedding=static_embedding(),
    )
    assert matched(results) == []


def test_warning_names_a_subject_that_there_is_not() -> None:
    assert "'sports' is no subject" in DomainRule(name="sports").warnings()[0]
    assert DomainRule(name="Computer_Science").warnings() == ()


def test_examples_are_of_every_subject() -> None:
    assert {example.label for example in examples_of("domain")} == set(DOMAINS)


def test_subject_that_is_near_is_told() -> None:
    (warning,) = DomainRule(name="a", mmlu_categories=("phisics", "cooking")).warnings()
    assert warning.endswith("; did you mean 'physics'?")
    (warning,) = DomainRule(name="cooking").warnings()
    assert "did you mean" not in warning
