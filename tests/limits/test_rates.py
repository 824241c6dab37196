"""Rates: exact in any minute, and a word on when to come back."""

from __future__ import annotations

from contextlib import suppress
from math import floor

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
def test_what_tokens_are_expected_counts_until_the_true_figure_does(
    steps: list[tuple[float, int, int]],
) -> None:
    rates, limits, now = KeyRates(), KeyLimits(tokens_per_minute=500), 0.0
    at_work: list[tuple[int, float]] = []
    counted: list[tuple[float, int]] = []
    for gap, expected, used in steps:
        now += gap
        with suppress(RateLimitedError):
            at_work.append((rates.hold_tokens(limits, expected, now), now))
            assert rates.tokens.at(now) <= 500
        if at_work and used % 2:
            held, then = at_work.pop()
            rates.settle_tokens(held, then, used, now)
            counted.append((now, used))
        lively = [*counted, *((then, held) for held, then in at_work)]
        assert rates.tokens.at(now) == sum(n for at, n in lively if now < floor(at) + WINDOW_S + 1)


def test_a_request_larger_than_a_minute_is_let_in_alone() -> None:
    rates, limits = KeyRates(), KeyLimits(tokens_per_minute=100)

    assert rates.hold_tokens(limits, 5000, 0) == 100
    rates.settle_tokens(100, 0, 5000, 0)
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
        "x-ratelimit-reset-tokens": "51s",
    }


def test_a_window_forgets() -> None:
    window = Window()
    for second in range(10_000):
        window.add(1, second)

    assert window.used <= WINDOW_S + 1
    assert len(window._by_second) <= WINDOW_S + 1


@given(GAPS)
def test_a_window_that_was_written_down_goes_on_as_it_was(gaps: list[float]) -> None:
    window, now = Window(), 0.0
    for amount, gap in enumerate(gaps):
        now += gap
        window.add(amount, now)

    again = Window.of(window.uses(), now)

    assert again == window
    assert again.wait_s(0, now) == window.wait_s(0, now)


def test_what_a_clock_wrote_that_began_anew_is_left_out() -> None:
    assert Window.of([(5, 1), (11, 2), (90_000, 7)], 10.0).at(10.0) == 3


def test_who_was_kept_waiting_counts_behind_who_was_not() -> None:
    window = Window()
    window.add(3, 101.5)
    window.add(4, 100.9)  # read its clock before, and wrote after

    assert list(window.uses()) == [(101, 7)]
    window.take_back(4, 100.9, 110.0)
    assert window.at(110.0) == 3
    assert window.at(101 + WINDOW_S + 1) == 0


def test_what_no_longer_counts_is_not_taken_back_from_later_uses() -> None:
    window = Window()
    window.add(4, 100.0)
    window.add(3, 150.0)

    window.take_back(4, 100.0, 100.0 + WINDOW_S + 1)

    assert window.at(100.0 + WINDOW_S + 1) == 3
