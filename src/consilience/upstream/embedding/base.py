"""The face of an embedding model, and the scale of its vectors.

Models differ in what a similarity of 0.5 means: unrelated for one, nearly the same for another. So
that a threshold means the same with every model, its vectors are put on one scale here: a model's
*floor* is what two unrelated texts get. Every vector gets one constant component more, which turns
the dot product `s` of two of them into `floor + (1 - floor) * s`; 1 stays 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float32]
"""Shape (texts, dimensions); rows have length 1, or 0 for a text without any token."""


class Embedder(Protocol):
    """What texts are embedded with."""

    identity: str
    """Changes when the vectors do: what a cached vector is filed under."""
    limit_s: float
    """How long a request may wait for its vectors."""

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Gives one row for each text, in order, on the scale of thresholds.

        Raises:
            EmbeddingError: they are not to be had.
        """
        ...


class EmbeddingError(Exception):
    """Texts could not be embedded; the message is one clause for people."""

    def __init__(self, message: str, *, of_text: bool = False) -> None:
        """
        Args:
            message: without addresses, keys, or what others wrote.
            of_text: whether it is about these texts, and says nothing of the next.
        """
        super().__init__(message)
        self.of_text = of_text


class Encoder(Protocol):
    """A model in this process: computes, waits for nothing, may be called from any thread."""

    identity: str

    def is_quick(self, texts: Sequence[str]) -> bool:
        """Whether texts may be embedded in place: nobody is held up for longer than about 1 ms."""
        ...

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Gives one row for each text, in order, as the model sees them."""
        ...


def unit(rows: Matrix) -> Matrix:
    """Gives the rows with length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def on_scale(rows: Matrix, floor: float) -> Matrix:
    """Gives unit rows with the constant component that the floor asks for.

    Args:
        rows: with length 1 or 0.
        floor: 0 to below 1; what unrelated texts are to have in common.
    """
    if floor <= 0:
        return rows
    there = np.any(rows, axis=1, keepdims=True).astype(np.float32)
    return np.hstack((rows * np.float32((1 - floor) ** 0.5), there * np.float32(floor**0.5)))


def as_text(text: str) -> str:
    """Gives a text that can be written as UTF-8: lone surrogates become `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")
