from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from consilience.signals.asking import MOST_CHARACTERS, PREFERENCE_HELPER
from consilience.signals.preference import Preference, PreferenceRule, PreferenceSettings
from support.conversation import facts
from support.meanings import Embedding, found, matched

pytestmark = pytest.mark.anyio

RULES = [
    PreferenceRule(name="short", description="short answers", examples=("be brief",)),
    PreferenceRule(name="code", examples=("write code", "fix this bug")),
]
BY_HELPER = PreferenceSettings(use_contrastive=False)


class Helper:
    """Answers always the same, and keeps what it was asked."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Sequence[Mapping[str, Any]]]] = []

    async def __call__(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        self.asked.append((model, messages))
        return self.answer


async def test_only_the_best_rule_matches() -> None:
    rules = [rule.model_copy(update={"threshold": 0.3}) for rule in RULES]
    results = await found(Preference, rules, facts("be brief, write code, fix this bug"))
    assert matched(results) == ["code"]
    assert (results["short"].value or 0) > 0.3


@pytest.mark.parametrize(("threshold", "names"), [(0.5, ["short"]), (0.9, [])])
async def test_best_rule_matches_when_it_reaches_its_threshold(
    threshold: float, names: list[str]
) -> None:
    rule = PreferenceRule(name="short", examples=("be brief",), threshold=threshold)
    assert matched(await found(Preference, [rule], facts("be brief please"))) == names


async def test_description_is_an_example_like_the_others() -> None:
    assert matched(await found(Preference, RULES, facts("short answers"))) == ["short"]


async def test_helper_chooses_when_it_is_to() -> None:
    helper, embedding = Helper('{"label": "code", "rationale": "x"}'), Embedding()
    results = await found(
        Preference, RULES, facts("hello"), settings=BY_HELPER, ask=helper, embedding=embedding
    )
    assert matched(results) == ["code"]
    assert results["code"].value == 1
    assert embedding.requests == embedding.prototypes == []
    ((model, messages),) = helper.asked
    assert model == PREFERENCE_HELPER
    assert "- short: short answers\n- code: write code; fix this bug" in messages[0]["content"]


async def test_nothing_matches_when_the_helper_says_that_nothing_fits() -> None:
    helper = Helper('{"label": "none_of_these"}')
    results = await found(Preference, RULES, facts("hello"), settings=BY_HELPER, ask=helper)
    assert matched(results) == []


async def test_result_is_an_error_when_the_helper_chooses_something_else() -> None:
    helper = Helper('{"label": "poem"}')
    results = await found(Preference, RULES, facts("hello"), settings=BY_HELPER, ask=helper)
    assert {result.error for result in results.values()} == {
        "the helper's answer names no label that was offered"
    }


async def test_helper_is_shown_a_bounded_part_of_a_long_text() -> None:
    helper = Helper('{"label": "code"}')
    text = "begin " + "x" * 1_000_000 + " end"
    await found(Preference, RULES, facts(text), settings=BY_HELPER, ask=helper)
    shown = helper.asked[0][1][1]["content"]
    assert len(shown) < MOST_CHARACTERS + 100
    assert "begin" in shown
    assert "end" in shown


@pytest.mark.parametrize("settings", [PreferenceSettings(), BY_HELPER])
async def test_nobody_is_asked_when_there_is_no_text(settings: PreferenceSettings) -> None:
    helper = Helper("")
    results = await found(Preference, RULES, facts("  "), settings=settings, ask=helper)
    assert matched(results) == []
    assert helper.asked == []


async def test_rule_without_examples_never_matches() -> None:
    bare = PreferenceRule(name="bare", threshold=0.01)
    assert matched(await found(Preference, [bare], facts("hello"))) == []
