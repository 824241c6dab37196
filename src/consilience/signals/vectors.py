"""Signals that compare meanings: what they are given, and what they give.

A text's *vector* is a row of float32 with length 1; the dot product of two is their similarity, on
the scale of thresholds whatever the model (see `upstream.embedding.base`). One call per request
embeds the texts that all kinds together ask for; what a kind compares them with, its *prototypes*,
is embedded once, before the first request.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from .base import RequestFacts, Signal, SignalResult, SignalRule
from .breaker import Breaker

Vector: TypeAlias = NDArray[np.float32]
"""Shape (dimensions,), length 1; all zeros for a text without any token."""
Matrix: TypeAlias = NDArray[np.float32]
"""Shape (texts, dimensions); each row a `Vector`."""
Vectors: TypeAlias = Mapping[str, Vector]
"""Vector by text."""


class WithAxes(dict[str, Vector]):
    """Vectors with axes beside them (see `axes`), and those without, for whoever made the axes."""

    def __init__(self, vectors: Vectors, without: Vectors) -> None:
        """
        Args:
            vectors: by text.
            without: the same texts' vectors as the model gave them.
        """
        super().__init__(vectors)
        self.plain = without


def plain(vectors: Vectors) -> Vectors:
    """Gives the vectors as the model gave them."""
    return vectors.plain if isinstance(vectors, WithAxes) else vectors


@dataclass(frozen=True, slots=True)
class Embed:
    """What embeds texts: a capability, not a client."""

    identity: str
    """Changes when the vectors do."""
    limit_s: float
    """How long a request may wait for its vectors."""
    request: Callable[[Sequence[str]], Awaitable[Matrix]]
    """Gives one row for each text of a request, in order; raises what it likes."""
    prototypes: Callable[[Sequence[str]], Awaitable[Vectors]]
    """Gives the vectors of texts that stay the same; slow the first time."""
    axes: float = 0.0
    """Share of each of the `axes` in a similarity; 0: there are none."""
    floor: float = 0.0
    """Of the vectors' scale; see `upstream.embedding.base`."""
    breaker: Breaker | None = None
    """Keeps requests from waiting for an endpoint that does not answer; None: it is no endpoint."""
    forget: Callable[[], None] | None = None
    """Has `prototypes` take none of its vectors unseen any more."""


RuleT = TypeVar("RuleT", bound=SignalRule)


class VectorSignal(Signal[RuleT]):
    """A kind that compares vectors. Pure: `judge` does no IO and waits for nothing."""

    @property
    def compares(self) -> bool:
        """Whether any rule needs vectors."""
        return True

    @abstractmethod
    def prototypes(self, identity: str) -> Sequence[str]:
        """Gives the texts whose vectors `learn` needs; duplicates are embedded once.

        Args:
            identity: of the embedding model.
        """

    @abstractmethod
    def learn(self, vectors: Vectors, identity: str) -> None:
        """Takes the prototypes' vectors, once, before the first `judge`.

        Args:
            vectors: of every text that `prototypes` gave.
            identity: of the model that they come from.
        """

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        """Gives the request's texts whose vectors `judge` needs; none: it can do without."""
        return (facts.sample,) if facts.sample else ()

    @abstractmethod
    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        """Gives one result for every name that its rules emit.

        Args:
            facts: what the request says.
            vectors: of every text that `wanted` gave.
        """

    def judge_without(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        """Gives the results of rules that need no vectors, for when there are none to be had."""
        return {}


def stack(texts: Sequence[str], vectors: Vectors) -> Matrix:
    """Gives the vectors of some texts as the rows of one matrix."""
    rows: Any = [vectors[text] for text in texts]
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
