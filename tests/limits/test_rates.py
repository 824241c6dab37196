"""Rates: exact in any minute, and a word on when to come back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.errors import RateLimitedError
from consilience.keys.records import KeyLimits
from consilience.limits.rates import WINDOW_S, KeyRates, Window

GAPS = st.lists(st.floats(0, 30), min_size=1, max_size=200)


@given(gaps=GAPS, most=st.integers(1, 10))
def test_no_minute_ever_has_too_many_requests(gaps: list[float], most: int) -> None:
    rates, limits, now = KeyRates(), KeyLimits(requests_per_minute=most), 100.5
    let_in: list[float] = []
    for gap in gaps:
        now += gap
        try:
            rates.take_request(limits, now)
        except RateLimitedError:
            continue
        let_in.append(now)

    for start in let_in:
        assert sum(start <= moment < start + WINDOW_S for moment in let_in) <= most


@given(gaps=GAPS, most=st.integers(1, 10))
def test_who_waits_as_long_as_told_is_let_in(gaps: list[float], most: int) -> None:
    rates, limits, now = KeyRates(), KeyLimits(requests_per_minute=most), 0.0
    waits: list[float] = []
    for gap in gaps:
        now += gap
        try:
            rates.take_request(limits, now)
        except RateLimitedError as exc:
            waits.append(exc.retry_after_s or 0)
            now += waits[-1]
            rates.take_request(limits, now)
    assert all(0 < wait <= WINDOW_S + 1 for wait in waits)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 300), st.integers(0, 300)), max_size=100)
)
def test_tokens_set_aside_count_until_they_are_settled(
    steps: list[tuple[float, int, int]],
) -> None:
    rates, limits, now = KeyRates(), KeyLimits(tokens_per_minute=500), 0.0
    held: list[int] = []
    for gap, expected, used in steps:
        now += gap
        with suppress(RateLimitedError):
            held.append(rates.hold_tokens(limits, expected, now))
        assert rates.held_tokens == sum(held)
        assert sum(held) <= 500
        if held and used % 2:
            rates.settle_tokens(held.pop(), used, now)
    while held:
        rates.settle_tokens(held.pop(), 0, now)
    assert rates.held_tokens == 0


def test_a_request_larger_than_a_minute_is_let_in_alone() -> None:
    rates, limits = KeyRates(), KeyLimits(tokens_per_minute=100)

    assert rates.hold_tokens(limits, 5000, 0) == 100
    rates.settle_tokens(100, 5000, 0)
    with pytest.raises(RateLimitedError) as refused:
        rates.hold_tokens(limits, 1, 0)

    assert refused.value.retry_after_s == WINDOW_S + 1
    assert rates.hold_tokens(limits, 1, WINDOW_S + 1) == 1


def test_nothing_is_limited_that_has_no_limit() -> None:
    rates = KeyRates()
    for _ in range(1000):
        rates.take_request(KeyLimits(), 0)

    assert rates.hold_tokens(KeyLimits(), 10**9, 0) == 0
    assert rates.headers(KeyLimits(), 0) == {}


def test_headers_tell_what_is_left() -> None:
    rates, limits = KeyRates(), KeyLimits(requests_per_minute=3, tokens_per_minute=100)
    rates.take_request(limits, 10.25)
    rates.hold_tokens(limits, 40, 10.25)

    assert rates.headers(limits, 20.25) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "51s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "60",
        "x-ratelimit-reset-tokens": "0s",
    }


def test_a_window_forgets() -> None:
    window = Window()
    for second in range(10_000):
        window.add(1, second)

    assert window.used <= WINDOW_S + 1
    assert len(window._by_second) <= WINDOW_S + 1
