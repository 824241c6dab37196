from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.decisions.selection import Candidate, Strategy, rank, select

candidates = st.lists(
    st.builds(
        Candidate,
        name=st.text("abc", min_size=1, max_size=3),
        confidence=st.sampled_from([0.0, 0.5, 1.0]),
        priority=st.integers(-2, 2),
        tier=st.integers(0, 2),
    ),
    unique_by=lambda c: c.name,
    max_size=8,
)


@given(candidates, st.sampled_from(["priority", "confidence"]), st.randoms())
def test_choice_is_the_same_when_declaration_order_changes(
    matched: list[Candidate], strategy: Strategy, shuffler: random.Random
) -> None:
    shuffled = list(matched)
    shuffler.shuffle(shuffled)
    assert rank(shuffled, strategy) == rank(matched, strategy)


def winner(strategy: Strategy, *matched: Candidate) -> str:
    best = select(matched, strategy)
    assert best is not None
    return best.name


@pytest.mark.parametrize(("strategy", "name"), [("priority", "urgent"), ("confidence", "sure")])
def test_strategy_decides_when_there_are_no_tiers(strategy: Strategy, name: str) -> None:
    sure, urgent = Candidate("sure", 0.9, priority=1), Candidate("urgent", 0.2, priority=9)
    assert winner(strategy, urgent, sure) == name


@pytest.mark.parametrize("strategy", ["priority", "confidence"])
def test_tier_goes_before_strategy_when_any_is_above_zero(strategy: Strategy) -> None:
    low = Candidate("low", 0.1, priority=1, tier=1)
    high = Candidate("high", 1.0, priority=9, tier=2)
    assert winner(strategy, high, low) == "low"
    assert winner(strategy, high, low, Candidate("untiered", 0.0)) == "untiered"


@pytest.mark.parametrize("strategy", ["priority", "confidence"])
def test_confidence_goes_before_priority_when_tiers_are_equal(strategy: Strategy) -> None:
    sure, urgent = Candidate("sure", 0.9, 1, tier=1), Candidate("urgent", 0.2, 9, tier=1)
    assert winner(strategy, urgent, sure) == "sure"


@pytest.mark.parametrize("strategy", ["priority", "confidence"])
def test_name_decides_when_all_else_is_equal(strategy: Strategy) -> None:
    assert winner(strategy, Candidate("b", 0.5), Candidate("a", 0.5)) == "a"


def test_nothing_is_chosen_when_nothing_matched() -> None:
    assert select([]) is None
