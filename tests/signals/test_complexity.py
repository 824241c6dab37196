from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from consilience.rules.grammar import Condition
from consilience.signals.base import SignalResult, composer_of
from consilience.signals.complexity import (
    GENERAL,
    Complexity,
    ComplexityRule,
    ComplexitySettings,
    Side,
)
from consilience.signals.similarity import PrototypeScoring
from support.conversation import facts
from support.meanings import found, matched

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_examples")]

HARD, EASY = Side(candidates=("prove theorem",)), Side(candidates=("say hello",))


def rule(threshold: float = 0.1, **more: object) -> ComplexityRule:
    return ComplexityRule.model_validate(
        {"name": "depth", "threshold": threshold, "hard": HARD, "easy": EASY, **more}
    )


class Told(Complexity):
    """Takes a text for as hard in general as the test says."""

    general: ClassVar[Mapping[str, float]] = {}

    def probabilities(self, *_: object) -> Mapping[str, float]:
        return self.general


def told(hard: float, easy: float) -> type[Complexity]:
    class Known(Told):
        general: ClassVar[Mapping[str, float]] = {"hard": hard, "easy": easy}

    return Known


EVEN = told(0.5, 0.5)


async def says(
    text: str, threshold: float = 0.1, kind: type[Complexity] = EVEN
) -> dict[str, SignalResult]:
    return dict(await found(kind, [rule(threshold)], facts(text)))


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("prove the theorem", "hard"),
        ("say hello", "easy"),
        ("paint it", "medium"),
        ("prove the theorem, say hello", "medium"),
    ],
)
async def test_level_is_the_side_that_the_text_is_like(text: str, level: str) -> None:
    assert matched(await says(text)) == [f"depth:{level}"]


@pytest.mark.parametrize(("threshold", "level"), [(0.99, "hard"), (1.01, "medium")])
async def test_margin_must_be_above_the_threshold(threshold: float, level: str) -> None:
    results = await says("prove theorem", threshold)
    assert matched(results) == [f"depth:{level}"]
    assert [result.value for result in results.values()] == pytest.approx([1.0] * 3)


async def test_confidence_is_the_margin_without_its_sign() -> None:
    result = (await says("say hello"))["depth:easy"]
    assert result.value == pytest.approx(-1.0)
    assert result.confidence == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "hard", "easy", "margin"),
    [
        ("paint it", 1, 0, GENERAL),
        ("paint it", 0, 1, -GENERAL),
        ("paint it", 0.75, 0.25, GENERAL / 2),
        ("prove theorem", 1, 0, 1 + GENERAL),
        ("prove theorem", 0, 1, 1 - GENERAL),
        ("say hello", 1, 0, GENERAL - 1),
    ],
)
async def test_hardness_in_general_is_added_to_the_margin(
    text: str, hard: float, easy: float, margin: float
) -> None:
    results = await says(text, kind=told(hard, easy))
    assert [result.value for result in results.values()] == pytest.approx([margin] * 3, abs=1e-6)
    assert results["depth:hard"].confidence == pytest.approx(min(1, abs(margin)), abs=1e-6)


@pytest.mark.parametrize(
    ("hard", "threshold", "level"),
    [(1, 0.19, "hard"), (1, 0.21, "medium"), (0, 0.19, "easy"), (0, 0.21, "medium")],
)
async def test_hardness_in_general_alone_may_be_enough(
    hard: float, threshold: float, level: str
) -> None:
    results = await says("paint it", threshold, told(hard, 1 - hard))
    assert matched(results) == [f"depth:{level}"]


@pytest.mark.parametrize(("text", "level"), [("prove it", "hard"), ("hi", "easy")])
async def test_hardness_in_general_is_what_the_examples_say(text: str, level: str) -> None:
    results = await says(text, 0.05, Complexity)
    assert matched(results) == [f"depth:{level}"]


async def test_no_level_matches_when_there_is_no_text() -> None:
    for kind in (told(1, 0), told(0, 1)):
        assert matched(await says("  ", kind=kind)) == []


async def test_rules_are_told_apart_when_there_are_several() -> None:
    turned = ComplexityRule(name="turned", hard=EASY, easy=HARD)
    results = await found(EVEN, [rule(), turned], facts("say hello"))
    assert matched(results) == ["depth:easy", "turned:hard"]


async def test_prototypes_are_scored_as_the_settings_say() -> None:
    one = Side(candidates=("prove theorem", "other words entirely"))
    settings = ComplexitySettings(prototype_scoring=PrototypeScoring(best_weight=0))
    results = await found(
        EVEN,
        [ComplexityRule(name="depth", hard=one, easy=EASY)],
        facts("prove theorem"),
        settings=settings,
    )
    assert results["depth:hard"].value == pytest.approx(0.5)


def test_composer_is_a_rule_tree() -> None:
    tree = {"type": "keyword", "name": "a"}
    assert composer_of(rule(composer=tree)) == Condition(type="keyword", name="a")


def test_warning_names_a_side_without_candidates() -> None:
    assert "no `easy` candidates" in rule(easy=Side()).warnings()[0]
    assert "no `hard` and no `easy`" in rule(hard=Side(), easy=Side()).warnings()[0]
    assert rule().warnings() == ()
