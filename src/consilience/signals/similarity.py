"""How like some examples a text is: banks of prototypes, and scores against them.

Source: vllm-sr-routing.md 2.3 (embedding, prototype scoring).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from .base import SignalSettings
from .vectors import Matrix, Vector, Vectors, stack

Aggregation = Literal["mean", "max", "any"]

MOST_CANDIDATES = 500
"""Examples of one rule."""
Candidate = Annotated[str, Field(min_length=1, max_length=2000)]
Candidates = Annotated[tuple[Candidate, ...], Field(max_length=MOST_CANDIDATES)]


UNRELATED = 0.4
"""What two texts that have nothing to do with each other have in common, on the scale of all models of
the catalog; the nearest of several examples has a little more."""
MARGIN = "prototype_scoring.margin_threshold"
NO_MARGIN = "rules are not held against each other"
"""Of the one key of the reference's section that is not acted on, what is lost by it."""


class PrototypeScoring(SignalSettings):
    """How examples become prototypes, and what of them counts."""

    enabled: Annotated[bool, Field(strict=True)] = True
    """False: every example is a prototype of its own."""
    cluster_similarity_threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Examples as similar as this are one prototype."""
    max_prototypes: Annotated[int, Field(strict=True, ge=1, le=MOST_CANDIDATES)] = 64
    """Of one bank; of more examples those are kept that differ most."""
    best_weight: Annotated[float, Field(ge=0, le=1)] = 0.75
    """How much of a score is the nearest prototype; the rest is the mean of the nearest `top_m`."""
    top_m: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    """How many of the nearest prototypes the rest of a score is the mean of."""


class Bank:
    """The prototypes of one rule."""

    def __init__(
        self,
        examples: Sequence[str],
        vectors: Vectors,
        scoring: PrototypeScoring,
        aggregation: Aggregation = "max",
    ) -> None:
        rows = stack(tuple(dict.fromkeys(examples)), vectors)
        self.rows: Matrix = _distinct(rows, scoring) if scoring.enabled else rows
        self._best = scoring.best_weight if scoring.enabled else 1.0
        self._top = scoring.top_m
        self._mean = aggregation == "mean"

    def score(self, vector: Vector) -> float:
        """Gives how like the examples a text is, on the scale of similarities."""
        return self.score_of(self.rows @ vector) if len(self.rows) else 0.0

    def score_of(self, similarities: Vector) -> float:
        """Gives the same from the similarity to each of `rows`."""
        if not len(similarities):
            return 0.0
        if self._mean:
            return float(similarities.mean())
        best = float(similarities.max())
        if self._best >= 1 or len(similarities) == 1 or self._top == 1:
            return best
        top = min(self._top, len(similarities))
        nearest = np.partition(similarities, -top)[-top:]
        return self._best * best + (1 - self._best) * float(nearest.mean())


class Banks:
    """The banks of several rules as one matrix: one product scores them all."""

    def __init__(self, banks: Sequence[Bank]) -> None:
        self._banks = tuple(banks)
        there = [bank.rows for bank in banks if len(bank.rows)]
        self._rows = np.ascontiguousarray(np.vstack(there)) if there else None
        ends = np.cumsum([len(bank.rows) for bank in banks])
        self._slices = [
            slice(int(end) - len(bank.rows), int(end))
            for bank, end in zip(banks, ends, strict=True)
        ]

    def scores(self, vector: Vector) -> list[float]:
        """Gives each bank's score, in order."""
        if self._rows is None:
            return [0.0] * len(self._banks)
        similarities = self._rows @ vector
        return [
            bank.score_of(similarities[where])
            for bank, where in zip(self._banks, self._slices, strict=True)
        ]


def _distinct(rows: Matrix, scoring: PrototypeScoring) -> Matrix:
    """The medoid of each cluster; at most so many, those that cover the examples best."""
    if len(rows) < 2:
        return rows
    similarity = rows @ rows.T
    near = similarity >= scoring.cluster_similarity_threshold
    np.fill_diagonal(near, val=True)  # also where floats or a text without tokens say otherwise
    left, counts, sums = np.ones(len(rows), bool), near.sum(axis=1), similarity.sum(axis=1)
    medoids: list[int] = []
    while left.any():
        # the example with most others near it stands for them
        most = np.flatnonzero(left & (counts == counts[left].max()))
        chosen = int(most[sums[most].argmax()])
        medoids.append(chosen)
        gone = left & near[chosen]
        left &= ~gone
        counts = counts - near[:, gone].sum(axis=1)
    return rows[_spread(similarity, sorted(medoids), scoring.max_prototypes)]


def _spread(similarity: Matrix, rows: Sequence[int], most: int) -> list[int]:
    """At most so many of the rows, each as unlike those before it as can be."""
    if len(rows) <= most:
        return list(rows)
    own = similarity[np.ix_(rows, rows)]
    chosen = [int(own.sum(axis=1).argmax())]
    nearest = own[chosen[0]].copy()
    while len(chosen) < most:
        nearest[chosen[-1]] = np.inf  # never again
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, own[chosen[-1]])
    return sorted(rows[i] for i in chosen)
