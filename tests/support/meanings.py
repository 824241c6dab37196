"""Vectors for tests: words as dimensions, and the real small models where they have been fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import BaseModel

from consilience.signals.asking import AskModel
from consilience.signals.base import RequestFacts, Signal, SignalResult, SignalRule
from consilience.signals.evaluation import SignalSet
from consilience.signals.lexical import terms_of
from consilience.signals.models import SignalModels
from consilience.signals.vectors import Embed, Vectors
from consilience.upstream.embedding.base import Matrix, on_scale, unit
from consilience.upstream.embedding.catalog import MINILM, WORDLLAMA
from consilience.upstream.embedding.local import LocalEmbedder
from consilience.upstream.embedding.sentence import SentenceEncoder
from consilience.upstream.embedding.static import StaticEncoder

DIMENSIONS = 4096


class WordEncoder:
    """Two texts are as similar as they share words: each stem is a dimension, given by its hash."""

    identity = "words"

    def __init__(self, quick_characters: int = 0) -> None:
        self.quick_characters = quick_characters
        self.calls: list[tuple[str, ...]] = []

    def is_quick(self, texts: Sequence[str]) -> bool:
        return sum(map(len, texts)) <= self.quick_characters

    def encode(self, texts: Sequence[str]) -> Matrix:
        self.calls.append(tuple(texts))
        rows = np.zeros((len(texts), DIMENSIONS), np.float32)
        for i, text in enumerate(texts):
            for term in terms_of(text):
                if not term.endswith("~") and " " not in term:
                    place = int.from_bytes(sha256(term.encode()).digest()[:4], "big")
                    rows[i, place % DIMENSIONS] += 1
        return unit(rows)


class Embedding:
    """What embeds texts in place, and what it was asked for."""

    def __init__(self, encode: Any = None, identity: str = "words", floor: float = 0.0) -> None:
        self._encode = encode or WordEncoder().encode
        self._floor = floor
        self.requests: list[tuple[str, ...]] = []
        self.prototypes: list[tuple[str, ...]] = []
        self.embed = Embed(identity, 30.0, self._of_request, self._of_prototypes)

    def rows(self, texts: Sequence[str]) -> Matrix:
        return on_scale(self._encode(texts), self._floor)

    async def _of_request(self, texts: Sequence[str]) -> Matrix:
        self.requests.append(tuple(texts))
        return self.rows(texts)

    async def _of_prototypes(self, texts: Sequence[str]) -> Vectors:
        self.prototypes.append(tuple(texts))
        return dict(zip(texts, self.rows(texts), strict=True))


def vectors_of(*texts: str) -> Vectors:
    """Gives the vectors of words."""
    return dict(zip(texts, WordEncoder().encode(texts), strict=True))


async def found(
    kind: type[Signal[Any]],
    rules: Sequence[SignalRule],
    facts: RequestFacts,
    *,
    settings: BaseModel | None = None,
    embedding: Embedding | None = None,
    ask: AskModel | None = None,
) -> Mapping[str, SignalResult]:
    """Gives what a kind says of a request, by name, after it has learned."""
    shared = {} if settings is None else {kind.kind: settings}
    signals = SignalSet.build({kind.kind: rules}, settings=shared, kinds=(kind,))
    await signals.prepare(SignalModels((embedding or Embedding()).embed, ask))
    results = await signals.evaluate(facts)
    assert all(0 <= result.confidence <= 1 for result in results.values())
    return {key.name: result for key, result in results.items()}


def matched(results: Mapping[str, SignalResult]) -> list[str]:
    """Gives the names that matched; fails on any error."""
    assert [result.error for result in results.values() if result.error] == []
    return [name for name, result in results.items() if result.matched]


@cache
def static_encoder() -> StaticEncoder:
    """Gives the real static model, from this machine's cache."""
    encoder = WORDLLAMA.encoder()
    assert isinstance(encoder, StaticEncoder)
    return encoder


@cache
def sentence_encoder() -> SentenceEncoder:
    """Gives the real sentence model, from this machine's cache."""
    encoder = MINILM.encoder()
    assert isinstance(encoder, SentenceEncoder)
    return encoder


@cache
def static_embedding() -> Embedding:
    """Gives the real static model as signals have it, under the name of the packaged weights."""
    encoder = static_encoder()
    identity = LocalEmbedder(encoder, WORDLLAMA.floor).identity
    return Embedding(encoder.encode, identity, WORDLLAMA.floor)
