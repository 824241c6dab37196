from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.base import SignalResult
from consilience.signals.patterns import Places
from consilience.signals.structure import MAX_COUNT, Structure, StructureRule
from support.conversation import facts


def rule(kind: str, source: dict[str, Any], **fields: Any) -> StructureRule:
    return StructureRule.model_validate(
        {"name": "r", "feature": {"type": kind, "source": source}, **fields}
    )


def result(text: str, kind: str, source: dict[str, Any], **fields: Any) -> SignalResult:
    return Structure([rule(kind, source, **fields)]).find(facts(text))["r"]


QUESTIONS = {"type": "regex", "pattern": "[?？]"}
STEPS = {"type": "sequence", "sequences": [["first", "then"], ["先", "再"]]}


@pytest.mark.parametrize(
    ("text", "matched", "value"),
    [("Why? How? When？ Who?", True, 4), ("Why? How?", False, 2), ("", False, 0)],
)
def test_count_is_the_figure_when_a_pattern_occurs(text: str, matched: bool, value: float) -> None:
    found = result(text, "count", QUESTIONS, predicate={"gte": 4})
    assert (found.matched, found.value) == (matched, value)


@pytest.mark.parametrize(("questions", "confidence"), [(4, 0.5), (5, 0.982), (9, 1.0)])
def test_confidence_grows_when_the_figure_is_farther_from_the_bound(
    questions: int, confidence: float
) -> None:
    found = result("?" * questions, "count", QUESTIONS, predicate={"gte": 4})
    assert found.confidence == pytest.approx(confidence, abs=0.001)


def test_keywords_count_at_word_boundaries_and_once_per_place() -> None:
    source = {"type": "keyword_set", "keywords": ["table", "JSON", "json", "json table", "表格"]}
    found = result("table Table tablet json table jsonify 用表格", "count", source)
    assert found.value == 4


def test_letter_case_counts_when_asked_for() -> None:
    source = {"type": "keyword_set", "keywords": ["JSON"], "case_sensitive": True}
    assert result("json JSON", "count", source).value == 1


@pytest.mark.parametrize(
    ("text", "density"),
    [("why? who?", 1.0), ("为什么？", 1 / 3), ("用Python写？", 1 / 3), ("...", 0.0), ("", 0.0)],
)
def test_density_is_per_unit_of_the_script(text: str, density: float) -> None:
    assert result(text, "density", QUESTIONS).value == pytest.approx(density)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("First read it, then write.", True),
        ("then first", False),
        ("firsthand and then", False),
        ("先看再写", True),
        ("再看先写", False),
        ("first, first", False),
    ],
)
def test_sequence_matches_when_its_words_come_in_order(text: str, matched: bool) -> None:
    assert result(text, "sequence", STEPS).matched is matched


@pytest.mark.parametrize(("text", "matched"), [("1. a\n2. b", True), ("version 1.5", False)])
def test_exists_matches_when_the_pattern_occurs_once(text: str, matched: bool) -> None:
    source = {"type": "regex", "pattern": r"(?m)^\s*\d+\.\s+"}
    assert result(text, "exists", source).matched is matched


@pytest.mark.parametrize(("text", "matched"), [("", True), (" ", False), ("é", False)])
def test_text_bytes_count_utf8_when_blank_too(text: str, matched: bool) -> None:
    found = result(text, "count", {"type": "text_bytes"}, predicate={"lte": 0})
    assert (found.matched, found.value) == (matched, len(text.encode()))


def test_text_bytes_count_everything_when_the_text_is_long() -> None:
    assert result("x" * 500_000, "count", {"type": "text_bytes"}).value == 500_000


@pytest.mark.parametrize("source", [QUESTIONS, {"type": "keyword_set", "keywords": ["?"]}])
def test_counting_stops_when_there_is_too_much(source: dict[str, Any]) -> None:
    assert result("?" * 1_000_000, "count", source).value == MAX_COUNT


def test_beginning_and_end_are_read_when_the_text_is_long() -> None:
    text = f"why? {'x' * 100_000} why? {'x' * 100_000} why?"
    assert result(text, "count", QUESTIONS).value == 2


@given(
    st.lists(st.sampled_from(["at", "least", "at least", "最", "最多", "x", "-"]), max_size=12),
    st.sampled_from([" ", ""]),
)
def test_places_agree_with_a_search_by_hand(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    expected, at = 0, 0
    while at < len(text):
        if text.startswith("最多", at):
            expected, at = expected + 1, at + 2
        elif text.startswith("at least", at) and _is_bounded(text, at, 8):
            expected, at = expected + 1, at + 8
        else:
            at += 1
    assert len(list(Places(("最多", "at least")).ends(text.encode()))) == expected


def _is_bounded(text: str, start: int, length: int) -> bool:
    around = text[max(0, start - 1) : start] + text[start + length : start + length + 1]
    return not any(c.isascii() and c.isalnum() for c in around)


@pytest.mark.parametrize(
    ("kind", "source", "fields", "says"),
    [
        ("exists", QUESTIONS, {"predicate": {"gte": 1}}, "takes no predicate"),
        ("count", {"type": "regex", "pattern": "(a"}, {}, "does not compile"),
        ("count", {"type": "regex"}, {}, "needs `pattern`"),
        ("count", {"type": "keyword_set", "keywords": [" "]}, {}, "must not be blank"),
        ("count", {**QUESTIONS, "keywords": ["x"]}, {}, "goes with a keyword_set"),
        ("density", {"type": "text_bytes"}, {}, "regex, keyword_set"),
        ("sequence", {"type": "sequence", "sequences": [["x"]]}, {}, "at least 2"),
        ("count", {"type": "keyword_set", "keywords": ["x"] * 501}, {}, "at most 500"),
        ("count", {"type": "sequence", "sequences": [["x", "y"]] * 251}, {}, "at most 500"),
        ("count", QUESTIONS, {"predicate": {"gt": 1, "gte": 2}}, "not both"),
    ],
)
def test_rule_is_refused_when_it_cannot_work(
    kind: str, source: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(kind, source, **fields)


def test_rule_warns_when_it_always_matches() -> None:
    (warning,) = rule("count", QUESTIONS).warnings()
    assert "always matches" in warning
    assert result("no question", "count", QUESTIONS).matched
    assert rule("count", QUESTIONS, predicate={"gte": 1}).warnings() == ()
