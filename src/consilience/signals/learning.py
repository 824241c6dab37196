"""A small classifier of texts: ridge regression on a vector and on words, trained where it runs.

What stands in for the reference's trained networks. Examples come with the package (`examples`), and
for the models of the catalog so does what is learned from them (`weights`). With any other embedding
model it is computed at load, in closed form, with the same result every time. Scores become
probabilities by a temperature that is fitted on leave-one-out predictions, which ridge regression
gives without training again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lexical import Terms, terms_of
from .vectors import Vector, Vectors, stack

Array = NDArray[np.float32]
Truth = NDArray[np.int64]
Evidence = Callable[[str], Sequence[float]]
"""Gives figures about a text, the same number for every text, 0 where there is nothing to say."""

_RIDGE = 0.6
_WORDS = 1.0
"""How much words count beside the vector."""
_LEAST_TEXTS = 2
"""In so many examples a term must occur to be a feature."""
_SAMPLE = 1000
"""Examples that the temperature is fitted on."""
_TEMPERATURES = np.geomspace(0.02, 1.0, 40)
_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what it is."""

    text: str
    label: str
    alone: bool = True
    """Whether its text is in no other example: only such show how sure to be."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What training comes to: plain arrays, so that it can be kept and given away."""

    labels: tuple[str, ...]
    inverse: Mapping[str, float]
    """Weight of each known term, in the order of `by_word`'s rows."""
    by_vector: Array
    """Shape (dimensions, labels)."""
    by_word: Array
    """Shape (terms, labels)."""
    by_figure: Array
    """Shape (figures of the evidence, labels)."""
    lean: Array
    """Added to each label's score."""
    rare: float
    """Weight of a term that is not known."""
    temperature: float
    left_out_accuracy: float
    """The share of examples that the others get right."""


class TextClassifier:
    """Tells which of some labels fits a text."""

    def __init__(self, learned: Learned, evidence: Evidence | None = None) -> None:
        """
        Args:
            learned: from `train`, or kept from there.
            evidence: the same as in training.
        """
        self.labels = learned.labels
        self.learned = learned
        self._evidence = evidence
        self._index = {term: i for i, term in enumerate(learned.inverse)}

    @classmethod
    def train(
        cls,
        examples: Sequence[Example],
        vectors: Vectors,
        evidence: Evidence | None = None,
        *,
        by_share: bool = False,
    ) -> TextClassifier:
        """Trains; half a second for 1 500 examples, several for 4 000.

        Args:
            examples: at least two labels.
            vectors: of every example's text.
            evidence: figures beside words and meaning that a label may rest on.
            by_share: whether a label is likelier that more examples have.
        """
        labels = tuple(sorted({example.label for example in examples}))
        texts = [example.text for example in examples]
        terms = [terms_of(text) for text in texts]
        inverse, rare = _inverse_frequencies(terms), 1 + math.log(len(texts))
        index = {term: i for i, term in enumerate(inverse)}
        meaning, figures = stack(texts, vectors), _figures(evidence, texts)
        words = np.zeros((len(texts), len(index)), np.float32)
        for row, own in enumerate(terms):
            for term, weight in _weighed(own, inverse, rare):
                words[row, index[term]] = weight
        wanted = np.array(
            [[example.label == label for label in labels] for example in examples], np.float32
        )
        wanted -= wanted.mean(axis=0)
        alike = meaning @ meaning.T + _WORDS * (words @ words.T) + figures @ figures.T
        alone = [i for i, example in enumerate(examples) if example.alone]
        sample = [alone[int(i)] for i in np.linspace(0, len(alone) - 1, min(len(alone), _SAMPLE))]
        dual, left_out = _solved(alike, wanted, sample)
        truth = np.array([labels.index(examples[i].label) for i in sample])
        temperature, lean = _calibrated(left_out, truth, by_share=by_share)
        learned = Learned(
            labels,
            inverse,
            by_vector=np.asarray(meaning.T @ dual, np.float32),
            by_word=np.asarray(_WORDS * (words.T @ dual), np.float32),
            by_figure=np.asarray(figures.T @ dual, np.float32),
            lean=lean,
            rare=rare,
            temperature=temperature,
            left_out_accuracy=float(np.mean(left_out.argmax(axis=1) == truth)),
        )
        return cls(learned, evidence)

    def probabilities(self, text: str, vector: Vector, terms: Terms) -> Mapping[str, float]:
        """Gives the probability of each label for a text; they add up to 1.

        Args:
            text: read for evidence only.
            vector: of the text.
            terms: of the text.
        """
        learned = self.learned
        scores = learned.lean + vector @ learned.by_vector
        if self._evidence is not None:
            scores = scores + _figures(self._evidence, (text,))[0] @ learned.by_figure
        weighed = _weighed(terms, learned.inverse, learned.rare)
        if weighed:
            rows = learned.by_word[[self._index[term] for term, _ in weighed]]
            scores = scores + np.array([weight for _, weight in weighed], np.float32) @ rows
        odds = np.exp((scores - scores.max()) / learned.temperature)
        return dict(zip(self.labels, (odds / odds.sum()).tolist(), strict=True))


def _figures(evidence: Evidence | None, texts: Sequence[str]) -> Array:
    """What the evidence says of each text, one row a text."""
    if evidence is None:
        return np.zeros((len(texts), 0), np.float32)
    return np.array([evidence(text) for text in texts], np.float32)


def _weighed(terms: Terms, inverse: Mapping[str, float], rare: float) -> list[tuple[str, float]]:
    """The known ones of the terms with their weights; all terms together have length 1.

    What was never seen counts for the length, so that a text of strange words has little to say.
    """
    known = [(term, inverse[term]) for term in terms if term in inverse]
    square = sum(weight * weight for _, weight in known)
    length = math.sqrt(square + (len(terms) - len(known)) * rare * rare)
    return [(term, weight / length) for term, weight in known]


def _solved(alike: Array, wanted: Array, sample: Sequence[int]) -> tuple[Array, Array]:
    """The dual weights; and for a sample of the examples what the others say of each.

    The residual of an example that is left out is its dual weight over its entry on the diagonal
    of the inverse, so the diagonal is all that is needed of it.
    """
    places, columns = list(sample), range(len(sample))
    units = np.zeros((len(alike), len(sample)), np.float32)
    units[places, columns] = 1
    ridge = alike + np.float32(_RIDGE) * np.eye(len(alike), dtype=np.float32)
    solved = np.linalg.solve(ridge, np.hstack((wanted, units))).astype(np.float32)
    dual, inverse = solved[:, : wanted.shape[1]], solved[:, wanted.shape[1] :]
    diagonal = inverse[places, columns]
    return dual, wanted[places] - dual[places] / diagonal[:, None]


def _inverse_frequencies(texts: Sequence[Terms]) -> dict[str, float]:
    counts = Counter(term for terms in texts for term in terms)
    return {
        term: 1 + math.log(len(texts) / count)
        for term, count in counts.items()
        if count >= _LEAST_TEXTS
    }


def _calibrated(scores: Array, truth: Truth, *, by_share: bool) -> tuple[float, Array]:
    """The temperature and the lean under which the scores say best how sure to be.

    All labels weigh the same, however many examples they have, unless `by_share`. For each
    temperature the lean is what makes the labels as frequent as they weigh.
    """
    labels = scores.shape[1]
    counts = np.bincount(truth, minlength=labels)
    weights = np.ones(len(truth)) if by_share else 1 / counts[truth]
    weights = weights / weights.sum()
    mass = np.bincount(truth, weights=weights, minlength=labels)

    def fitted(temperature: float) -> tuple[float, Array]:
        lean = np.zeros(labels)
        for _ in range(_ROUNDS):
            expected = weights @ _softmax((scores + lean) / temperature)
            lean += temperature * np.log(mass / np.maximum(expected, 1e-9))
        chosen = _softmax((scores + lean) / temperature)[np.arange(len(truth)), truth]
        return float(-(weights @ np.log(np.maximum(chosen, 1e-12)))), lean.astype(np.float32)

    temperature = float(min(_TEMPERATURES, key=lambda t: fitted(t)[0]))
    return temperature, fitted(temperature)[1]


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
