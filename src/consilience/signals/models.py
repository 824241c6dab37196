"""The models that signals use, as capabilities; and what signals learn from them before requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from ..telemetry.log import log
from .asking import AskModel
from .axes import Axes, texts_for_axes
from .base import RequestFacts
from .breaker import LateError, ModelError, log_failed, why_failed
from .vectors import Embed, Matrix, Vectors, VectorSignal

RETRY_S = 30.0
"""How long after a failure prototypes are tried again."""


@dataclass(frozen=True, slots=True)
class SignalModels:
    """What kinds may use beside the facts; None: the configuration has no such thing."""

    embed: Embed | None = None
    ask: AskModel | None = None


class NotReadyError(ModelError):
    """Prototypes have no vectors yet."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.told = True


class Comparison:
    """The kinds that compare meanings: one learning, one embedding per request for all of them."""

    def __init__(self, signals: Sequence[VectorSignal[Any]]) -> None:
        self.signals = tuple(signals)
        self.embed: Embed | None = None
        self._learned = False
        self._numbers = 0
        """Of a prototype's vector; 0: there is none."""
        self._axes: Axes | None = None
        self._next_try = -math.inf
        self._unlearned = ""
        """Why they could not be learned; empty: they were, or nobody has tried."""

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
            RestingError: it failed a moment ago.
            LateError: it took too long.
            Exception: whatever the model raises.
        """
        texts = tuple(dict.fromkeys(t for s in self.signals for t in s.wanted(facts)))
        if not texts:
            return {}
        embed = self.embed
        if embed is None:
            raise NotReadyError("there is no embedding model")
        left_s = embed.limit_s
        if not self._learned and (begun := anyio.current_time()) >= self._next_try:
            with anyio.move_on_after(embed.limit_s):
                await self._try_to_learn(embed)
            left_s = max(embed.limit_s - (anyio.current_time() - begun), 0.0)
        self._require_learned()
        rows = await _embedded(embed, texts, left_s)
        self._check_length(embed, rows.shape[1])
        vectors: Vectors = dict(zip(texts, rows, strict=True))
        return self._axes.beside(vectors) if self._axes is not None else vectors

    def _require_learned(self) -> None:
        if self._learned:
            return
        seconds = max(1, math.ceil(self._next_try - anyio.current_time()))
        why = f" ({self._unlearned})" if self._unlearned else ""
        raise NotReadyError(
            f"the embedding model could not be used so far{why}; tried again in {seconds} s"
        )

    def _check_length(self, embed: Embed, numbers: int) -> None:
        """Begins anew where the model gives other vectors than those that were learned from."""
        if not self._numbers or numbers == self._numbers:
            return
        constant = int(embed.floor > 0)  # the scale's, which the model did not give
        found, learned = numbers - constant, self._numbers - constant
        if embed is self.embed:
            self._learned, self._unlearned = False, "another model answers under its name"
            if embed.forget is not None:
                embed.forget()
        raise ModelError(
            f"the model's vector has {found} numbers and those of the examples have {learned}:"
            " another model answers under its name, so the examples are embedded again"
        )

    async def _try_to_learn(self, embed: Embed) -> None:
        """Gets the prototypes' vectors, and has each kind learn from them, in a thread."""
        self._next_try = anyio.current_time() + RETRY_S
        learners = [signal for signal in self.signals if signal.compares]
        try:
            texts = await anyio.to_thread.run_sync(_texts_to_learn, learners, embed)
            vectors = await embed.prototypes(texts)
            await anyio.to_thread.run_sync(self._teach, learners, embed, vectors)
        except Exception as exc:  # whatever a model raises or makes of a text: it may be mended
            why = why_failed(exc)
            if self._unlearned != why:
                log_failed("prototypes_not_embedded", exc)
            self._unlearned = why
        else:
            if self._unlearned:
                log("prototypes_embedded", model=embed.identity)
            self._learned, self._unlearned = True, ""

    def _teach(self, learners: Sequence[VectorSignal[Any]], embed: Embed, vectors: Vectors) -> None:
        self._numbers = len(next(iter(vectors.values()), ()))
        if embed.axes:
            self._axes = Axes(embed.axes, embed.floor, vectors, embed.identity)
            vectors = self._axes.beside(vectors)
        for signal in learners:
            signal.learn(vectors, embed.identity)


async def _embedded(embed: Embed, texts: Sequence[str], within_s: float) -> Matrix:
    """Gives one row for each text, within the time.

    Raises:
        RestingError: the model failed a moment ago.
        LateError: it took too long.
        Exception: whatever it raises.
    """
    if embed.breaker is not None:
        return await embed.breaker.ask(partial(embed.request, texts), within_s=within_s)
    try:
        with anyio.fail_after(within_s):
            return await embed.request(texts)
    except TimeoutError as exc:
        late = LateError(f"the embedding model gave no answer within {within_s:g} s", embed.limit_s)
        late.told = True
        raise late from exc


def _texts_to_learn(learners: Sequence[VectorSignal[Any]], embed: Embed) -> Sequence[str]:
    own = (text for signal in learners for text in signal.prototypes(embed.identity))
    axes = texts_for_axes(embed.identity) if embed.axes else ()
    return tuple(dict.fromkeys((*own, *axes)))
