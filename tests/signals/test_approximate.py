"""N-grams, against what they are by definition."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.approximate import Ngrams, Reading, jaccard, ngrams

LETTERS = "ab c"


def grams(text: str, arity: int) -> set[str]:
    padded = " " * (arity - 1) + text + " " * (arity - 1)
    return {padded[i : i + arity] for i in range(len(padded) - arity + 1)}


def similarity(one: str, other: str, arity: int) -> float:
    a, b = grams(one, arity), grams(other, arity)
    return len(a & b) / len(a | b) if a | b else 0.0


def nearest(keyword: str, text: str, arity: int, *, longest: float) -> float:
    """The keyword's greatest similarity to as many neighbours in a text, or to all of a short one."""
    words, size = re.findall(r"\w+", text), len(keyword.split())
    runs = [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]
    whole = [text.strip()] if len(text.strip()) <= longest else []
    return max((similarity(keyword, other, arity) for other in (*runs, *whole)), default=0.0)


@given(
    st.lists(st.text(LETTERS, min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=4),
    st.text(LETTERS, max_size=40),
    st.integers(1, 4),
    st.sampled_from([0.05, 0.3, 0.4, 0.5, 2 / 3, 0.9, 1.0]),
)
def test_keywords_that_are_found_are_those_that_are_similar_enough(
    keywords: Sequence[str], text: str, arity: int, threshold: float
) -> None:
    normal = [" ".join(keyword.split()) for keyword in keywords]

    found = Ngrams(normal, threshold, arity=arity, case_sensitive=False).find(Reading(text))

    longest = (max(map(len, normal)) + arity) / threshold
    expected = {i: nearest(k, text, arity, longest=longest) for i, k in enumerate(normal)}
    assert found == {i: near for i, near in expected.items() if near >= threshold}


@pytest.mark.parametrize("looked_up", [1, 10**6], ids=["few", "many"])
@pytest.mark.parametrize("arity", [1, 2, 3, 16])
def test_grams_of_a_reading_are_those_of_its_phrases_together(arity: int, looked_up: int) -> None:
    reading = Reading("To be, or not to be: that is the question")
    others = ngrams("a quest for what is not to be had", arity)

    for size in (1, 2):
        each = [ngrams(phrase, arity) for phrase in reading.phrases(size)]
        expected = frozenset().union(*each)
        there = reading.grams(size, arity, looked_up=looked_up)
        assert {gram for gram in expected | others if gram in there} == expected


def test_similarity_of_nothing_is_none() -> None:
    assert jaccard(frozenset(), frozenset()) == 0.0
