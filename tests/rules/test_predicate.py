from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consilience.rules.predicate import Predicate


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_confidence_is_at_least_half_when_the_value_fits(bound: float, beyond: float) -> None:
    predicate = Predicate(gte=bound)
    assert 0.5 <= predicate.confidence(bound + beyond) <= 1
    assert predicate.confidence(bound) == 0.5


def test_nearest_bound_counts_when_there_are_two() -> None:
    predicate = Predicate(gte=0, lte=10)
    assert predicate.confidence(9.5) == Predicate(lte=10).confidence(9.5)
