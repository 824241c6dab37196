"""Axes beside a vector: what a text is about, and what kind of work it asks for.

A static embedding model knows words. "Early signs of anaemia" and "when chest pain is urgent" share
none, and "rewrite this paragraph" is like "in one paragraph, say how a fridge works". So the subject
and the kind of work, as two classifiers see them (`examples/domain.jsonl`, `task.jsonl`), are put
beside the vector, each with a share of the similarity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .learned import classifier_of, texts_to_learn
from .learning import TextClassifier
from .lexical import terms_of
from .vectors import Vector, Vectors, WithAxes, plain

SUBJECT, WORK = "domain", "task"
_NO_SUBJECT = "other"
"""Having no subject in common is not having one in common."""
_LEAST_LENGTH = 0.3
"""Where a classifier is unsure of all labels, its axes are short."""


def texts_for_axes(identity: str) -> Sequence[str]:
    """Gives the texts whose vectors `Axes` needs to learn; none where it has learned already."""
    return (*texts_to_learn(SUBJECT, identity), *texts_to_learn(WORK, identity))


class Axes:
    """Puts the axes beside vectors."""

    def __init__(self, share: float, floor: float, vectors: Vectors, identity: str) -> None:
        """
        Args:
            share: of the similarity, for each of the two; 0 to below 0.5.
            floor: of the vectors' scale: what unrelated texts have in common.
            vectors: of `texts_for_axes`.
            identity: of the embedding model.
        """
        self._share = share
        self._floor = floor
        self._subject = classifier_of(SUBJECT, vectors, identity)
        self._work = classifier_of(WORK, vectors, identity)
        self._width = len(self._subject.labels) + len(self._work.labels)

    def beside(self, vectors: Vectors) -> Vectors:
        """Gives the vectors with their axes; the ones without stay in `plain`."""
        of_text = plain(vectors)
        return WithAxes({t: self._with_axes(t, vector) for t, vector in of_text.items()}, of_text)

    def _with_axes(self, text: str, vector: Vector) -> Vector:
        if not vector.any():
            return np.zeros(len(vector) + self._width, np.float32)
        terms = terms_of(text)
        subject = _axes(self._subject, self._subject.probabilities(text, vector, terms))
        work = _axes(self._work, self._work.probabilities(text, vector, terms))
        # with a floor, the last component is the scale's constant: it keeps its share whatever
        # stands before it
        end = len(vector) - (self._floor > 0)
        meaning, constant = vector[:end], vector[end:]
        room = 1 - self._floor
        parts = (
            meaning * np.float32((1 - 2 * self._share) ** 0.5),
            subject * np.float32((self._share * room) ** 0.5),
            work * np.float32((self._share * room) ** 0.5),
        )
        joined = np.concatenate(parts)
        length = float(np.linalg.norm(joined))
        scaled: Vector = np.concatenate((joined * np.float32(room**0.5 / length), constant))
        return scaled


def _axes(classifier: TextClassifier, probable: Mapping[str, float]) -> Vector:
    row = np.array(
        [0.0 if label == _NO_SUBJECT else probable[label] for label in classifier.labels],
        np.float32,
    )
    scaled: Vector = row / np.float32(max(float(np.linalg.norm(row)), _LEAST_LENGTH))
    return scaled
