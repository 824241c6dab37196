from __future__ import annotations

from typing import Any

import pytest

from consilience.signals.base import SignalResult
from consilience.signals.reask import MOST_TURNS, Reask, ReaskRule
from support.conversation import facts
from support.meanings import Embedding, found, matched

pytestmark = pytest.mark.anyio

ONCE, TWICE = ReaskRule(name="once"), ReaskRule(name="twice", lookback_turns=2)
ANSWER = {"role": "assistant", "content": "an answer"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


async def says(*messages: Any, rules: Any = (ONCE, TWICE)) -> dict[str, SignalResult]:
    return dict(await found(Reask, rules, facts(*messages)))


@pytest.mark.parametrize(
    ("messages", "names"),
    [
        (["why is it red", ANSWER, "why is it red"], ["once"]),
        (["why is it red", ANSWER, "why is it red", ANSWER, "why is it red"], ["twice"]),
        (["something else", ANSWER, "why is it red", ANSWER, "why is it red"], ["once"]),
        (["why is it red", ANSWER, "something else", ANSWER, "why is it red"], []),
        (["why is it red"], []),
        (["something else", ANSWER, "why is it red"], []),
        (["why is it red", "", "why is it red"], []),
        (["why is it red", {"role": "user", "content": [IMAGE]}, "why is it red"], []),
        (["why is it red", ANSWER, ""], []),
        ([{"role": "system", "content": "why is it red"}], []),
    ],
)
async def test_rule_with_the_most_turns_matches_when_the_run_is_unbroken(
    messages: list[Any], names: list[str]
) -> None:
    assert matched(await says(*messages)) == names


async def test_confidence_is_the_least_similarity_of_the_run() -> None:
    rules = [ReaskRule(name="twice", threshold=0.4, lookback_turns=2)]
    results = await says("red blue", "red green", "red green", rules=rules)
    assert results["twice"].confidence == pytest.approx(0.5)
    assert results["twice"].matched


async def test_repeated_question_reaches_a_threshold_of_one() -> None:
    text = "why is the sky so very red in the evening and blue at noon"
    rules = [ReaskRule(name="same", threshold=1)]
    assert matched(await says(text, ANSWER, text, rules=rules)) == ["same"]


async def test_no_more_turns_are_embedded_than_any_rule_looks_back() -> None:
    embedding = Embedding()
    turns = [f"question number {i}" for i in range(50)]
    await found(Reask, [ONCE, TWICE], facts(*turns), embedding=embedding)
    assert embedding.requests == [tuple(reversed(turns[-3:]))]


async def test_nothing_is_embedded_when_there_is_no_earlier_turn() -> None:
    embedding = Embedding()
    await found(Reask, [ONCE], facts("hello"), embedding=embedding)
    assert embedding.requests == []


def test_lookback_is_bounded() -> None:
    with pytest.raises(ValueError, match="lookback_turns"):
        ReaskRule(name="far", lookback_turns=MOST_TURNS + 1)
