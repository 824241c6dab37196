"""The pause before a retry, and the budget of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.upstream.retry import LONGEST_WAIT_S, RetryBudget, RetryPolicy

SHARES = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("retries", "most"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0), (60, 8.0)]
)
def test_the_range_of_the_pause_doubles_up_to_its_cap(retries: int, most: float) -> None:
    assert RetryPolicy().pause_s(retries, None, 1e9, lambda: 0.0) == 0.0
    assert RetryPolicy().pause_s(retries, None, 1e9, lambda: 1.0) == most


@given(st.integers(0, 50), st.none() | st.floats(0, 100), st.floats(0, 100), SHARES)
def test_a_pause_keeps_to_the_time_left_and_to_retry_after(
    retries: int, told_s: float | None, left_s: float, drawn: float
) -> None:
    pause = RetryPolicy().pause_s(retries, told_s, left_s, lambda: drawn)
    if pause is not None:
        assert 0 <= pause < left_s
        assert pause >= (told_s or 0)
    if told_s is not None and told_s > LONGEST_WAIT_S:
        assert pause is None


@given(st.integers(0, 2000))
def test_a_fifth_of_the_calls_in_flight_may_be_repeated_but_always_three(in_flight: int) -> None:
    budget = RetryBudget()
    budget.in_flight = in_flight
    while budget.has_room:
        budget.retrying += 1
    assert budget.retrying == max(3, -(-in_flight // 5))
