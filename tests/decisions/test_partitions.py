from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.decisions.partitions import Exclusion, member_kind
from consilience.decisions.projections import Partition
from consilience.signals.base import SignalKey, SignalResult

FAILED = SignalResult(False, error="broken")


def partition(**fields: Any) -> Partition:
    return Partition.model_validate(
        {"name": "p", "semantics": "exclusive", "members": ["a", "b", "c"], **fields}
    )


def applied(of: Partition, **results: SignalResult) -> dict[str, SignalResult]:
    """What is left of the members' results, by name."""
    found = {
        SignalKey("domain", name): results.get(name, SignalResult(False)) for name in of.members
    }
    Exclusion(of, "domain").apply(found)
    return {key.name: result for key, result in found.items()}


def test_only_the_most_confident_member_stays_matched() -> None:
    left = applied(partition(), a=SignalResult(True, 0.6, 0.6), b=SignalResult(True, 0.8, 0.8))

    assert [name for name, result in left.items() if result.matched] == ["b"]
    assert left["b"].confidence == 0.8
    assert left["a"].value == 0.6
    assert left["a"].detail == {"partition": "lost to 'b'"}


def test_first_of_equals_stays_matched() -> None:
    left = applied(partition(), b=SignalResult(True, 0.7), c=SignalResult(True, 0.7))

    assert left["b"].matched
    assert not left["c"].matched


def test_confidence_becomes_the_share_among_those_that_matched_when_softmax_is_asked_for() -> None:
    of = partition(semantics="softmax_exclusive", temperature=0.5)

    left = applied(
        of, a=SignalResult(True, 0.6), b=SignalResult(True, 0.8), c=SignalResult(False, 1.0)
    )

    assert left["b"].confidence == pytest.approx(
        math.exp(0.8 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5))
    )


def test_winner_without_a_rival_has_all_of_the_softmax() -> None:
    assert applied(partition(semantics="softmax_exclusive"), a=SignalResult(True, 0.2))[
        "a"
    ] == SignalResult(True, 1.0)


@given(
    st.lists(st.floats(allow_nan=True), min_size=3, max_size=3),
    st.floats(1e-9, 1e9),
    st.sampled_from(["exclusive", "softmax_exclusive"]),
)
def test_exactly_one_wins_whatever_the_figures_are(
    confidences: list[float], temperature: float, semantics: str
) -> None:
    a, b, c = (SignalResult(True, confidence) for confidence in confidences)

    left = applied(partition(semantics=semantics, temperature=temperature), a=a, b=b, c=c)

    assert sum(result.matched for result in left.values()) == 1
    if semantics == "softmax_exclusive":
        winner = next(result for result in left.values() if result.matched)
        assert 1 / 3 - 1e-9 <= winner.confidence <= 1


@pytest.mark.parametrize(
    ("value", "confidence"),
    [(0.42, 0.42), (-3.0, 0.0), (7.0, 1.0), (None, 1 / 3), (math.nan, 1 / 3)],
)
def test_default_matches_when_nothing_does(value: float | None, confidence: float) -> None:
    left = applied(partition(default="c"), c=SignalResult(False, value=value))

    assert left["c"].matched
    assert left["c"].confidence == pytest.approx(confidence)
    assert left["c"].detail == {"partition": "default"}
    assert not left["a"].matched


def test_nothing_matches_when_nothing_did_and_there_is_no_default() -> None:
    assert not any(result.matched for result in applied(partition()).values())


def test_default_is_not_invented_when_every_member_failed() -> None:
    left = applied(partition(default="c"), a=FAILED, b=FAILED, c=FAILED)

    assert list(left.values()) == [FAILED] * 3


def test_default_that_failed_stays_an_error() -> None:
    assert applied(partition(default="c"), c=FAILED)["c"] is FAILED


def test_default_matches_when_only_others_failed() -> None:
    left = applied(partition(default="c"), a=FAILED)

    assert left["c"].matched
    assert left["a"] is FAILED


def test_trace_tells_winner_and_losers() -> None:
    of = partition()
    results = {
        SignalKey("domain", "a"): SignalResult(True, 0.6),
        SignalKey("domain", "b"): SignalResult(True, 0.81234),
        SignalKey("domain", "c"): FAILED,
    }
    exclusion = Exclusion(of, "domain")
    exclusion.apply(results)

    assert exclusion.trace(results).as_body() == {
        "type": "partition",
        "name": "p",
        "semantics": "exclusive",
        "winner": "b",
        "members": [
            {"name": "a", "matched": False, "why": "lost to 'b'"},
            {"name": "b", "matched": True, "confidence": 0.8123},
            {"name": "c", "matched": False, "error": "broken"},
        ],
    }


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({"domain": {"a", "b", "c"}}, "domain"),
        ({"embedding": {"a", "b", "c", "d"}}, "embedding"),
        ({"domain": {"a", "b", "c"}, "embedding": {"a", "b", "c"}}, "domain"),
        ({"domain": {"a", "b"}, "embedding": {"a", "b", "c"}}, "embedding"),
        ({"domain": {"a", "b"}, "embedding": {"c"}}, None),
        ({"keyword": {"a", "b", "c"}}, None),
        ({}, None),
    ],
)
def test_kind_of_members_is_the_one_that_declares_all(
    names: dict[str, set[str]], kind: str | None
) -> None:
    assert member_kind(partition(), names) == kind
