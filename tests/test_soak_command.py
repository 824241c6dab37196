"""What `python -m benchmarks.soak` makes of what it sees."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from benchmarks.callers import Outcome, judged
from benchmarks.paying import Spent
from benchmarks.soak import Course, State, missed_goals
from benchmarks.watched import in_hand

from consilience.upstream.retry import RetryBudget

SSE = "text/event-stream"
JSON = "application/json"
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
ERROR = b'data: {"error":{"message":"m","code":"upstream_timeout"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("status", "kind", "data", "outcome"),
    [
        (200, SSE, STOP + DONE, Outcome.ANSWERED),
        (200, SSE, b'data: {"choices":[]}\n\n' + ERROR, Outcome.BROKEN),
        (200, SSE, STOP, Outcome.LOST),
        (200, SSE, b'data: {"choices":[]}\n\n' + DONE, Outcome.LOST),
        (200, SSE, b"", Outcome.LOST),
        (200, JSON, b'{"choices":[{"message":{"content":"hi"}}]}', Outcome.ANSWERED),
        (200, JSON, b'{"choices":[{"message":{"content":""}}]}', Outcome.LOST),
        (504, JSON, b'{"error":{"code":"upstream_timeout"}}', Outcome.REFUSED),
        (500, JSON, b'{"error":{"code":"internal_error"}}', Outcome.LOST),
        (402, JSON, b'{"error":{"code":"budget_exceeded"}}', Outcome.UNPAID),
    ],
)
def test_a_request_that_just_stops_is_lost(
    status: int, kind: str, data: bytes, outcome: Outcome
) -> None:
    assert judged(status, kind, data) is outcome


def state(*, descriptors: int = 10, tasks: int = 3, active: int = 0, **counts: float) -> State:
    return State(descriptors, tasks, counts, {"active": active})


@pytest.mark.parametrize(
    ("after", "left"),
    [
        (state(calls=0), []),
        (state(calls=2), ["calls = 2"]),
        (state(tasks=4), ["4 tasks, were 3"]),
        (state(descriptors=11), ["11 descriptors, were 10"]),
        (state(active=1), ["1 upstream calls"]),
    ],
)
def test_what_is_left_over_is_named(after: State, left: list[str]) -> None:
    assert after.left_over(state()) == left


def course(growth: float, **outcomes: int) -> Course:
    """Ten minutes in which memory grows by so many MiB a minute, after it jumped at first."""
    samples = [(at, 0.0 if at < 60 else 100 + growth * at / 60) for at in range(0, 601, 10)]
    counts = Counter({Outcome[name.upper()]: count for name, count in outcomes.items()})
    return Course(600, outcomes=counts, samples=[(float(at), size) for at, size in samples])


@pytest.mark.parametrize(
    ("seen", "left_over", "missed"),
    [
        (course(0.5, answered=95, refused=5, left=50), [], []),
        (course(1.5, answered=95, refused=5), [], ["memory grows by more than 1 MiB/min"]),
        (course(0, answered=99, lost=1), [], ["a request was lost"]),
        (course(0, answered=90, broken=10), [], ["less than 93% answered"]),
        (course(0, answered=95, refused=5, unpaid=50), [], []),
        (course(0, answered=9), ["calls = 2"], ["something is left over"]),
        (course(0), [], ["less than 93% answered"]),
    ],
)
def test_a_goal_that_is_missed_is_named(
    seen: Course, left_over: list[str], missed: list[str]
) -> None:
    assert missed_goals(seen, left_over) == missed


@pytest.mark.parametrize(
    ("every", "ample", "poor", "missed"),
    [
        ("7", "6", "1", []),
        ("7.1", "6", "1", ["the keys' spend and the whole differ"]),
        ("7.000001", "6", "1.000001", ["a key spent more than its budget"]),
        ("6", "6", "0", ["nothing was spent"]),
        ("1", "0", "1", ["nothing was spent"]),
    ],
)
def test_money_that_does_not_add_up_is_named(
    every: str, ample: str, poor: str, missed: list[str]
) -> None:
    spend = {("*", "2026-11-25"): every, ("a", "2026-11-25"): ample, ("p", "2026-11-26"): poor}
    spent = Spent.of({at: Decimal(usd) for at, usd in spend.items()}, "p")

    assert spent.missed_goals() == missed


def test_a_slope_needs_some_samples() -> None:
    short = course(0, answered=9)
    short.samples = short.samples[:2]

    assert missed_goals(short, []) == ["memory grows by more than 1 MiB/min"]


def test_counts_of_living_objects_are_added_up() -> None:
    budgets = [RetryBudget() for _ in range(3)]
    before: dict[str, Any] = in_hand()
    budgets[0].in_flight, budgets[1].in_flight, budgets[2].retrying = 2, 3, 1
    after = in_hand()

    assert after["RetryBudget.in_flight"] - before["RetryBudget.in_flight"] == 5
    assert after["RetryBudget.retrying"] - before["RetryBudget.retrying"] == 1
