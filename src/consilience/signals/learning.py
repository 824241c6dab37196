"""A small classifier of texts: ridge regression on a vector and on words, trained where it runs.

What stands in for the reference's trained networks. Examples come with the package (`examples`); the
model that embeds them is whichever the configuration names, so the weights are computed at load,
in closed form, with the same result every time. Scores become probabilities by a temperature that
is fitted on leave-one-out predictions, which ridge regression gives without training again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lexical import Terms, terms_of
from .vectors import Vector, Vectors, stack

Array = NDArray[np.float32]
Evidence = Callable[[str], Sequence[float]]
"""Gives figures about a text, the same number for every text, 0 where there is nothing to say."""

_RIDGE = 0.6
_WORDS = 1.0
"""How much words count beside the vector."""
_LEAST_TEXTS = 2
"""In so many examples a term must occur to be a feature."""
_TEMPERATURES = np.geomspace(0.02, 1.0, 60)


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what it is."""

    text: str
    label: str


class TextClassifier:
    """Tells which of some labels fits a text."""

    def __init__(
        self, examples: Sequence[Example], vectors: Vectors, evidence: Evidence | None = None
    ) -> None:
        """Trains; a second for 1 500 examples, a tenth for 500.

        Args:
            examples: at least two labels.
            vectors: of every example's text.
            evidence: figures beside words and meaning that a label may rest on.
        """
        self._evidence = evidence
        self.labels = tuple(sorted({example.label for example in examples}))
        texts = [example.text for example in examples]
        terms = [terms_of(text) for text in texts]
        self._inverse = _inverse_frequencies(terms)
        self._rare = 1 + math.log(len(texts))
        index = {term: i for i, term in enumerate(self._inverse)}
        meaning = stack(texts, vectors)
        words = np.zeros((len(texts), len(index)), np.float32)
        for row, own in enumerate(terms):
            for term, weight in self._weighed(own):
                words[row, index[term]] = weight
        wanted = np.array(
            [[example.label == label for label in self.labels] for example in examples], np.float32
        )
        wanted -= wanted.mean(axis=0)
        alike = meaning @ meaning.T + _WORDS * (words @ words.T)
        figures = self._figures(texts)
        alike += figures @ figures.T
        inverse = np.linalg.inv(alike + _RIDGE * np.eye(len(texts), dtype=np.float32))
        dual = inverse @ wanted
        self._by_vector: Array = np.asarray(meaning.T @ dual, np.float32)
        self._by_word: Array = np.asarray(_WORDS * (words.T @ dual), np.float32)
        self._by_figure: Array = np.asarray(figures.T @ dual, np.float32)
        self._index = index
        left_out = wanted - dual / np.diag(inverse)[:, None]
        truth = [self.labels.index(example.label) for example in examples]
        self._temperature = _temperature(left_out, truth)
        self.left_out_accuracy = float(np.mean(left_out.argmax(axis=1) == truth))
        """The share of examples that the others get right."""

    def probabilities(self, text: str, vector: Vector, terms: Terms) -> Mapping[str, float]:
        """Gives the probability of each label for a text; they add up to 1.

        Args:
            text: read for evidence only.
            vector: of the text.
            terms: of the text.
        """
        scores = vector @ self._by_vector
        if self._evidence is not None:
            scores = scores + self._figures((text,))[0] @ self._by_figure
        weighed = self._weighed(terms)
        if weighed:
            rows = self._by_word[[self._index[term] for term, _ in weighed]]
            scores = scores + np.array([weight for _, weight in weighed], np.float32) @ rows
        shifted = (scores - scores.max()) / self._temperature
        odds = np.exp(shifted)
        return dict(zip(self.labels, (odds / odds.sum()).tolist(), strict=True))

    def _figures(self, texts: Sequence[str]) -> Array:
        """What the evidence says of each text, one row a text."""
        if self._evidence is None:
            return np.zeros((len(texts), 0), np.float32)
        return np.array([self._evidence(text) for text in texts], np.float32)

    def _weighed(self, terms: Terms) -> list[tuple[str, float]]:
        """The known ones of the terms with their weights; all terms together have length 1.

        What was never seen counts for the length, so that a text of strange words has little to say.
        """
        known = [(term, self._inverse[term]) for term in terms if term in self._inverse]
        square = sum(weight * weight for _, weight in known)
        length = math.sqrt(square + (len(terms) - len(known)) * self._rare * self._rare)
        return [(term, weight / length) for term, weight in known]


def _inverse_frequencies(texts: Sequence[Terms]) -> dict[str, float]:
    counts = Counter(term for terms in texts for term in terms)
    return {
        term: 1 + math.log(len(texts) / count)
        for term, count in counts.items()
        if count >= _LEAST_TEXTS
    }


def _temperature(scores: Array, truth: Sequence[int]) -> float:
    """The temperature under which the scores say best how sure to be."""

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        chosen = scaled[np.arange(len(truth)), list(truth)]
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - chosen))

    return float(min(_TEMPERATURES, key=loss))
