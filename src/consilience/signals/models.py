"""The models that signals use, as capabilities; and what signals learn from them before requests."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread

from .asking import AskModel
from .axes import Axes, texts_for_axes
from .base import RequestFacts
from .vectors import Embed, Vectors, VectorSignal

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""How long after a failure prototypes are tried again."""


@dataclass(frozen=True, slots=True)
class SignalModels:
    """What kinds may use beside the facts; None: the configuration has no such thing."""

    embed: Embed | None = None
    ask: AskModel | None = None


class NotReadyError(Exception):
    """Prototypes have no vectors yet."""


class Comparison:
    """The kinds that compare meanings: one learning, one embedding per request for all of them."""

    def __init__(self, signals: Sequence[VectorSignal[Any]]) -> None:
        self.signals = tuple(signals)
        self.embed: Embed | None = None
        self._learned = False
        self._axes: Axes | None = None
        self._next_try = -math.inf

    @property
    def needs_model(self) -> bool:
        """Whether anything can be said without an embedding model."""
        return any(signal.compares for signal in self.signals)

    async def prepare(self, embed: Embed) -> None:
        """Has each kind learn from its prototypes' vectors; a failure is logged and made good later."""
        self.embed, self._learned = embed, False
        await self._try_to_learn(embed)

    async def request_vectors(self, facts: RequestFacts) -> Vectors:
        """Gives the vectors of all the texts of a request that any kind wants; one call.

        Raises:
            NotReadyError: there is no model, or its vectors could not be had so far.
            Exception: whatever the model raises.
        """
        texts = tuple(dict.fromkeys(t for s in self.signals for t in s.wanted(facts)))
        if not texts:
            return {}
        if self.embed is None:
            raise NotReadyError("there is no embedding model")
        if not self._learned and anyio.current_time() >= self._next_try:
            await self._try_to_learn(self.embed)
        if not self._learned:
            raise NotReadyError("the embedding model could not be used so far")
        vectors: Vectors = dict(zip(texts, await self.embed.request(texts), strict=True))
        return self._axes.beside(vectors) if self._axes is not None else vectors

    async def _try_to_learn(self, embed: Embed) -> None:
        """Gets the prototypes' vectors, and has each kind learn from them, in a thread."""
        self._next_try = anyio.current_time() + RETRY_S
        learners = [signal for signal in self.signals if signal.compares]
        try:
            texts = await anyio.to_thread.run_sync(_texts_to_learn, learners, embed)
            vectors = await embed.prototypes(texts)
            await anyio.to_thread.run_sync(self._teach, learners, embed, vectors)
        except Exception as exc:  # whatever a model raises or makes of a text: it may be mended
            log.warning("prototypes_not_embedded", exc_info=exc)
        else:
            self._learned = True

    def _teach(self, learners: Sequence[VectorSignal[Any]], embed: Embed, vectors: Vectors) -> None:
        if embed.axes:
            self._axes = Axes(embed.axes, embed.floor, vectors, embed.identity)
            vectors = self._axes.beside(vectors)
        for signal in learners:
            signal.learn(vectors, embed.identity)


def _texts_to_learn(learners: Sequence[VectorSignal[Any]], embed: Embed) -> Sequence[str]:
    own = (text for signal in learners for text in signal.prototypes(embed.identity))
    axes = texts_for_axes(embed.identity) if embed.axes else ()
    return tuple(dict.fromkeys((*own, *axes)))
