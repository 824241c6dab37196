from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.base import EXCERPT_CHARACTERS
from consilience.signals.excerpt import excerpt
from consilience.signals.predicate import Predicate
from support.conversation import facts


@given(st.text(max_size=60), st.integers(4, 40))
def test_excerpt_is_head_and_tail_when_the_text_is_longer(text: str, characters: int) -> None:
    shown = excerpt(text, characters)
    if len(text) <= characters:
        assert shown is text
    else:
        tail = characters // 4
        assert shown == f"{text[: characters - tail]}\n{text[-tail:]}"


@pytest.mark.parametrize("extra", [0, 1])
def test_excerpt_of_a_request_is_bounded(extra: int) -> None:
    of = facts("é" * (EXCERPT_CHARACTERS + extra))
    assert len(of.excerpt) == EXCERPT_CHARACTERS + extra
    assert of.excerpt_utf8.decode() == of.excerpt
    assert (of.excerpt is of.text) == (extra == 0)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_confidence_is_at_least_half_when_the_value_fits(bound: float, beyond: float) -> None:
    predicate = Predicate(gte=bound)
    assert 0.5 <= predicate.confidence(bound + beyond) <= 1
    assert predicate.confidence(bound) == 0.5


def test_nearest_bound_counts_when_there_are_two() -> None:
    predicate = Predicate(gte=0, lte=10)
    assert predicate.confidence(9.5) == Predicate(lte=10).confidence(9.5)
