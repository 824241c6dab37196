from __future__ import annotations

import pytest

from consilience.rules.grammar import Condition
from consilience.signals.base import SignalResult, composer_of
from consilience.signals.complexity import Complexity, ComplexityRule, ComplexitySettings, Side
from consilience.signals.similarity import PrototypeScoring
from support.conversation import facts
from support.meanings import found, matched

pytestmark = pytest.mark.anyio

HARD, EASY = Side(candidates=("prove theorem",)), Side(candidates=("say hello",))


def rule(threshold: float = 0.1, **more: object) -> ComplexityRule:
    return ComplexityRule.model_validate(
        {"name": "depth", "threshold": threshold, "hard": HARD, "easy": EASY, **more}
    )


async def says(text: str, threshold: float = 0.1) -> dict[str, SignalResult]:
    return dict(await found(Complexity, [rule(threshold)], facts(text)))


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


async def test_no_level_matches_when_there_is_no_text() -> None:
    assert matched(await says("  ")) == []


async def test_rules_are_told_apart_when_there_are_several() -> None:
    turned = ComplexityRule(name="turned", hard=EASY, easy=HARD)
    results = await found(Complexity, [rule(), turned], facts("say hello"))
    assert matched(results) == ["depth:easy", "turned:hard"]


async def test_prototypes_are_scored_as_the_settings_say() -> None:
    one = Side(candidates=("prove theorem", "other words entirely"))
    settings = ComplexitySettings(prototype_scoring=PrototypeScoring(best_weight=0))
    results = await found(
        Complexity,
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
