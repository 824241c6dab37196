from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.similarity import Aggregation, Bank, Banks, PrototypeScoring
from consilience.signals.vectors import Vector, Vectors

ALL = PrototypeScoring(enabled=False)


def at(degrees: float) -> Vector:
    """A unit vector of two dimensions: the similarity of two is the cosine between them."""
    radians = np.deg2rad(degrees)
    return np.array([np.cos(radians), np.sin(radians)], np.float32)


def directions(*degrees: float) -> Vectors:
    return {f"{each:g}": at(each) for each in degrees}


def bank(
    *degrees: float, aggregation: Aggregation = "max", scoring: PrototypeScoring | None = None
) -> Bank:
    vectors = directions(*degrees)
    return Bank(tuple(vectors), vectors, scoring or PrototypeScoring(), aggregation)


def cosine(degrees: float) -> float:
    return float(np.cos(np.deg2rad(degrees)))


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("max", 0.75 * cosine(0) + 0.25 * (cosine(0) + cosine(60)) / 2),
        ("any", 0.75 * cosine(0) + 0.25 * (cosine(0) + cosine(60)) / 2),
        ("mean", (cosine(0) + cosine(60) + cosine(90)) / 3),
    ],
)
def test_score_is_that_of_the_aggregation(aggregation: Aggregation, expected: float) -> None:
    assert bank(0, 60, 90, aggregation=aggregation).score(at(0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "scoring",
    [
        PrototypeScoring(best_weight=1),
        PrototypeScoring(top_m=1),
        PrototypeScoring(enabled=False),
    ],
)
def test_score_is_that_of_the_nearest_when_only_it_counts(scoring: PrototypeScoring) -> None:
    assert bank(0, 60, 90, scoring=scoring).score(at(10)) == pytest.approx(cosine(10))


def test_top_m_is_bounded_by_what_there_is() -> None:
    scoring = PrototypeScoring(best_weight=0, top_m=64)
    assert bank(0, 60, scoring=scoring).score(at(0)) == pytest.approx(0.75)


def test_examples_as_alike_as_the_threshold_become_the_one_in_their_middle() -> None:
    clustered = bank(0, 10, 20, 90, scoring=PrototypeScoring(cluster_similarity_threshold=0.97))
    assert sorted(map(tuple, clustered.rows)) == sorted(map(tuple, (at(10), at(90))))


def test_every_example_is_a_prototype_when_clustering_is_off() -> None:
    assert len(bank(0, 1, 2, scoring=ALL).rows) == 3


def test_same_example_twice_is_one_prototype() -> None:
    vectors = directions(0)
    assert len(Bank(("0", "0"), vectors, ALL).rows) == 1


def test_prototypes_are_those_that_differ_most_when_there_are_too_many() -> None:
    kept = bank(0, 40, 45, 50, 90, scoring=PrototypeScoring(max_prototypes=3)).rows
    assert {round(float(np.rad2deg(np.arctan2(row[1], row[0])))) for row in kept} == {0, 45, 90}


@given(
    st.lists(st.integers(0, 359), min_size=1, max_size=40, unique=True),
    st.floats(0, 1),
    st.integers(1, 50),
)
def test_prototypes_cover_all_examples_and_are_unlike_each_other(
    degrees: list[int], threshold: float, most: int
) -> None:
    scoring = PrototypeScoring(cluster_similarity_threshold=threshold, max_prototypes=most)
    kept = bank(*degrees, scoring=scoring).rows
    assert 1 <= len(kept) <= most
    assert all(float(a @ b) < threshold + 1e-6 for a, b in combinations(kept, 2))
    if len(kept) < most:
        every = np.array([at(each) for each in degrees])
        assert (every @ kept.T).max(axis=1).min() >= threshold - 1e-6


def test_two_thousand_unlike_examples_become_two_hundred_prototypes() -> None:
    rows = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = {str(i): row for i, row in enumerate(rows)}
    assert len(Bank(tuple(vectors), vectors, PrototypeScoring(max_prototypes=200)).rows) == 200


def test_texts_without_tokens_are_examples_like_others() -> None:
    vectors = {"": np.zeros(2, np.float32), "…": np.zeros(2, np.float32), "a": at(0)}
    assert Bank(tuple(vectors), vectors, PrototypeScoring()).score(at(0)) > 0.8


def test_banks_give_the_scores_of_each_in_order_when_some_are_empty() -> None:
    banks = [bank(0, 60), Bank((), {}, ALL), bank(90)]
    expected = [each.score(at(20)) for each in banks]
    assert Banks(banks).scores(at(20)) == pytest.approx(expected)
    assert expected[1] == 0


def test_banks_give_nothing_when_there_is_nothing() -> None:
    assert Banks(()).scores(at(0)) == []
    assert Banks([Bank((), {}, ALL)]).scores(at(0)) == [0.0]
