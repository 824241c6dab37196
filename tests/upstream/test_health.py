"""When a backend is out of service, for how long, and what is said of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.upstream.health import Health, HealthPolicy
from consilience.upstream.verdict import Mark


def _call(health: Health, mark: Mark, now: float, **more: Any) -> None:
    health.end(mark, now, probe=health.begin(now), **more)


def _events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_failures_in_a_row_eject() -> None:
    health = Health(HealthPolicy(failures=3))
    for mark in ("failed", "failed", "ok", "failed", "failed"):
        _call(health, mark, 0.0)
    assert health.is_available(0.0)
    _call(health, "failed", 0.0)
    assert not health.is_available(29.9)
    assert health.is_available(30.0)


def test_what_says_nothing_neither_ejects_nor_forgives() -> None:
    health = Health(HealthPolicy(failures=2))
    for mark in ("failed", "none", "none", "failed"):
        _call(health, mark, 0.0)
    assert health.ejected


def test_ejection_grows_while_probes_fail_and_is_short_again_after_good_times() -> None:
    health, now, lengths = Health(HealthPolicy(failures=1)), 0.0, []
    for _ in range(12):
        _call(health, "failed", now)
        lengths.append(health.until - now)
        now = health.until
    assert lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
    _call(health, "ok", now)
    _call(health, "failed", now + 299)
    assert health.until - (now + 299) == 300
    now = health.until
    _call(health, "ok", now)
    _call(health, "failed", now + 301)
    assert health.until - (now + 301) == 30


def test_only_one_call_probes() -> None:
    health = Health(HealthPolicy(failures=1))
    _call(health, "failed", 0.0)
    probe = health.begin(30.0)
    assert (probe, health.is_available(30.0), health.begin(30.0)) == (True, False, False)
    health.end("none", 31.0, probe=probe)
    assert health.is_available(31.0)


@pytest.mark.parametrize(("told_s", "until"), [(None, 5.0), (120.0, 120.0), (86_400.0, 3600.0)])
def test_a_rate_limit_cools_for_as_long_as_it_says(told_s: float | None, until: float) -> None:
    health = Health()
    other = health.begin(0.0)
    _call(health, "rate_limited", 0.0, told_s=told_s)
    health.end("ok", 1.0, probe=other)  # one that was on its way: the limit still holds
    assert not health.is_available(until - 0.1)
    assert health.is_available(until)


def test_a_refused_key_disables_and_is_said_once_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "consilience")
    health, now = Health(name="small/0"), 0.0
    for _ in range(4):
        _call(health, "credentials", now)
        assert not health.is_available(now + 299)
        now += 300
        assert health.is_available(now)
    assert _events(caplog) == ["backend_disabled"]
    _call(health, "ok", now)
    assert _events(caplog) == ["backend_disabled", "backend_back"]
    assert health.is_available(now)


def test_two_failed_checks_make_sick_and_one_good_one_well() -> None:
    health = Health(HealthPolicy(failures=1))
    health.checked(False, 0.0)
    assert health.is_available(0.0)
    health.checked(False, 10.0)
    assert not health.is_available(10.0)
    _call(health, "failed", 10.0)
    health.checked(True, 20.0)
    assert health.is_available(20.0)


def test_a_check_does_not_mend_a_refused_key() -> None:
    health = Health()
    _call(health, "credentials", 0.0)
    health.checked(True, 1.0)
    assert not health.is_available(1.0)


MARKS = st.sampled_from(["ok", "failed", "rate_limited", "credentials", "none"])


@given(st.lists(st.tuples(MARKS, st.floats(0, 100), st.floats(0, 100)), max_size=60))
def test_nothing_is_left_over_and_everyone_comes_back(
    calls: list[tuple[Mark, float, float]],
) -> None:
    health, now, running = Health(HealthPolicy(failures=2)), 0.0, []
    for mark, gap, _ in calls:
        now += gap
        running.append((mark, health.begin(now)))
        if len(running) > 2:
            ended, probe = running.pop(0)
            health.end(ended, now, probe=probe)
    for ended, probe in running:
        health.end(ended, now, probe=probe)
    assert health.in_flight == 0
    assert health.is_available(max(now, health.until))
