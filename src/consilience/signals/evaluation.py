"""Evaluation of the signals in use: every result that a rule tree may ask for, or an error for it.

Nothing here can fail a request. A kind that raises or is late gives an error result for each of
its rules; what that means is for the rule trees to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from pydantic import BaseModel

from . import SIGNALS
from .asking import AskingSignal
from .base import (
    PureSignal,
    RequestFacts,
    Signal,
    SignalKey,
    SignalResult,
    SignalRule,
    WaitingSignal,
)
from .breaker import LateError, ModelError, RestingError, Seldom, log_failed, why_failed
from .models import Comparison, NotReadyError, SignalModels
from .turns import Turns
from .vectors import Vectors, VectorSignal

log = logging.getLogger(__name__)

LIMIT_S = 0.25
"""How long a kind may take before its rules count as failed."""
INLINE_BYTES = 256 * 1024
"""Up to this much text, pure kinds are evaluated in place: milliseconds, but for rules of hundreds of
fuzzy keywords. Longer texts go to a thread, so that one request does not hold up the others."""
_THREADS = 4

Result = Mapping[str, SignalResult]
Evaluate = Callable[[RequestFacts], Result]


class SignalSet:
    """The kinds in use by one set of decisions, compiled once. Holds no state of a request."""

    def __init__(
        self,
        signals: Sequence[Signal[Any]],
        *,
        in_use: Collection[SignalKey] | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.signals = tuple(signals)
        emitted = _emitted(self.signals)
        self.in_use = frozenset(emitted if in_use is None else in_use)
        """What `evaluate` answers for."""
        self._missing = {
            key: SignalResult(False, error=_why_missing(key)) for key in self.in_use - set(emitted)
        }
        self._pure = tuple(s for s in self.signals if isinstance(s, PureSignal))
        self._waiting = tuple(s for s in self.signals if isinstance(s, WaitingSignal))
        self._asking = tuple(s for s in self.signals if isinstance(s, AskingSignal) and s.asked)
        self._comparison = Comparison([s for s in self.signals if isinstance(s, VectorSignal)])
        self._models = SignalModels()
        self._turns = Turns()
        self._told = Seldom()
        self._keys = {signal: self._wanted(signal, _names(signal)) for signal in self.signals}
        self._asked: dict[Signal[Any], Mapping[SignalKey, str]] = {
            signal: dict(self._wanted(signal, signal.asked)) for signal in self._asking
        }
        self._limit_s = limit_s
        self._threads = anyio.CapacityLimiter(_THREADS)

    @classmethod
    def build(
        cls,
        rules: Mapping[str, Sequence[SignalRule]],
        in_use: Collection[SignalKey] | None = None,
        *,
        settings: Mapping[str, BaseModel] | None = None,
        kinds: Sequence[type[Signal[Any]]] = SIGNALS,
        limit_s: float = LIMIT_S,
    ) -> SignalSet:
        """Compiles the rules that somebody asks about.

        Args:
            rules: the configured rules by signal kind.
            in_use: the results that will be asked for; None for all that the rules emit.
            settings: what the rules of a kind share, by signal kind; defaults where it is missing.
            kinds: the registry.
            limit_s: seconds that a kind may take.

        Raises:
            ValueError: a rule that cannot work.
        """
        signals = []
        for kind in kinds:
            own = (settings or {}).get(kind.kind)
            wanted = [rule for rule in rules.get(kind.kind, ()) if _is_wanted(rule, kind, in_use)]
            standing = kind.standing_names(own)
            if wanted or any(SignalKey(kind.kind, name) in (in_use or ()) for name in standing):
                signals.append(kind(wanted, own))
        return cls(signals, in_use=in_use, limit_s=limit_s)

    @property
    def needs_embedding(self) -> bool:
        """Whether any kind in use compares meanings."""
        return self._comparison.needs_model

    @property
    def needs_helper(self) -> bool:
        """Whether any kind in use asks a model."""
        return bool(self._asking)

    async def prepare(self, models: SignalModels) -> None:
        """Takes the models that kinds use, and has them learn; before the first request.

        When the embedding model fails, kinds that need it give errors, and requests try it again.
        """
        self._models = models
        if self.needs_embedding and models.embed is not None:
            await self._comparison.prepare(models.embed)

    async def evaluate(
        self, facts: RequestFacts, seconds: dict[str, float] | None = None
    ) -> Mapping[SignalKey, SignalResult]:
        """Gives a result for every key in use. Never raises for a signal's sake.

        Kinds that wait for something run side by side, each under the time limit. Cancelling it
        cancels them.

        Args:
            facts: what the signals look at.
            seconds: is told how long each kind took. A fact that several kinds share counts for
                the one that asks for it first.
        """
        await self._turns.take()
        results = dict(self._missing)
        seconds = {} if seconds is None else seconds
        threaded = bool(self._pure) and len(facts.text) > INLINE_BYTES
        if not threaded:
            begun = time.perf_counter()
            for signal in self._pure:
                self._file(results, signal, _guarded(signal, signal.find, facts))
                ended = time.perf_counter()
                seconds[signal.kind] = ended - begun
                begun = ended
        comparing = bool(self._comparison.signals)
        if self._waiting or self._asking or threaded:
            async with anyio.create_task_group() as group:
                for waiting in self._waiting:
                    group.start_soon(self._run, waiting, facts, results, seconds)
                for asking in self._asking:
                    group.start_soon(self._run_asking, asking, facts, results, seconds)
                for pure in self._pure if threaded else ():
                    group.start_soon(self._run_in_thread, pure, facts, results, seconds)
                if comparing:
                    await self._compare(facts, results, seconds)
        elif comparing:
            await self._compare(facts, results, seconds)
        return results

    async def _compare(
        self,
        facts: RequestFacts,
        results: dict[SignalKey, SignalResult],
        seconds: dict[str, float],
    ) -> None:
        """Embeds what the kinds that compare meanings want, at once, and has each judge."""
        begun = time.perf_counter()
        vectors: Vectors | None = None
        error = ""
        try:
            vectors = await self._comparison.request_vectors(facts)
        except Exception as exc:  # the model's failure is an error in the trace
            log_failed("embedding_failed", exc, self._told)
            error = _why_not_embedded(exc)
        seconds["embed"] = time.perf_counter() - begun
        for signal in self._comparison.signals:
            begun = time.perf_counter()
            if vectors is not None:
                found = _guarded(signal, partial(signal.judge, vectors=vectors), facts)
            elif signal.wanted(facts):
                found = {**_errors(signal, error), **_guarded(signal, signal.judge_without, facts)}
            else:
                found = _guarded(signal, partial(signal.judge, vectors={}), facts)
            self._file_compared(results, signal, found)
            seconds.setdefault(signal.kind, time.perf_counter() - begun)

    async def _run_asking(
        self,
        signal: AskingSignal[Any],
        facts: RequestFacts,
        results: dict[SignalKey, SignalResult],
        seconds: dict[str, float],
    ) -> None:
        """Has a kind ask its helper, which has a time limit of its own."""
        begun = time.perf_counter()
        ask = self._models.ask
        found: Result
        if facts.dry_run:
            found = _errors(signal, "helper models are not asked in a dry run")
        elif ask is None:
            found = _errors(signal, "there is no helper model")
        else:
            try:
                found = await signal.inquire(facts, ask)
            except Exception as exc:  # a helper's failure is an error in the trace
                log_failed("signal_failed", exc, self._told, kind=signal.kind)
                found = _errors(signal, why_failed(exc))
        for key, name in self._asked[signal].items():
            results[key] = found.get(name, _NO_RESULT)
        # the kind's other rules may have been compared meanwhile
        seconds[signal.kind] = max(seconds.get(signal.kind, 0), time.perf_counter() - begun)

    async def _run(
        self,
        signal: WaitingSignal[Any],
        facts: RequestFacts,
        results: dict[SignalKey, SignalResult],
        seconds: dict[str, float],
    ) -> None:
        begun = time.perf_counter()
        found = self._late(signal)
        with anyio.move_on_after(self._limit_s):
            try:
                found = await signal.evaluate(facts)
            except Exception as exc:  # a signal's bug is its own rules' error, not the request's
                found = _failed(signal, exc)
        self._file(results, signal, found)
        seconds[signal.kind] = time.perf_counter() - begun

    async def _run_in_thread(
        self,
        signal: PureSignal[Any],
        facts: RequestFacts,
        results: dict[SignalKey, SignalResult],
        seconds: dict[str, float],
    ) -> None:
        begun = time.perf_counter()
        found = self._late(signal)
        with anyio.move_on_after(self._limit_s):
            found = await anyio.to_thread.run_sync(
                _guarded,
                signal,
                signal.find,
                facts,
                limiter=self._threads,
                abandon_on_cancel=True,
            )
        self._file(results, signal, found)
        seconds[signal.kind] = time.perf_counter() - begun

    def _late(self, signal: Signal[Any]) -> Result:
        milliseconds = round(self._limit_s * 1000)
        return _errors(signal, f"not evaluated within {milliseconds} ms")

    def _file(
        self, results: dict[SignalKey, SignalResult], signal: Signal[Any], found: Result
    ) -> None:
        for key, name in self._keys[signal]:
            results[key] = found.get(name, _NO_RESULT)

    def _file_compared(
        self, results: dict[SignalKey, SignalResult], signal: Signal[Any], found: Result
    ) -> None:
        asked = self._asked.get(signal, ())  # those are filed when the helper has answered
        for key, name in self._keys[signal]:
            if key not in asked:
                results[key] = found.get(name, _NO_RESULT)

    def _wanted(
        self, signal: Signal[Any], names: Iterable[str]
    ) -> tuple[tuple[SignalKey, str], ...]:
        keys = dict.fromkeys(SignalKey(signal.kind, name) for name in names)
        return tuple((key, key.name) for key in keys if key in self.in_use)


_NO_RESULT = SignalResult(False, error="gave no result")


def _guarded(signal: Signal[Any], evaluate: Evaluate, facts: RequestFacts) -> Result:
    try:
        return evaluate(facts)
    except Exception as exc:  # a signal's bug is its own rules' error, not the request's
        return _failed(signal, exc)


def _failed(signal: Signal[Any], exc: Exception) -> Result:
    log.warning("signal_failed", extra={"kind": signal.kind}, exc_info=exc)
    return _errors(signal, why_failed(exc))


def _why_not_embedded(exc: Exception) -> str:
    """What a trace says of vectors that are not there."""
    if isinstance(exc, LateError):
        return f"not embedded within {exc.seconds:g} s"
    if isinstance(exc, NotReadyError | RestingError):
        return str(exc)
    return f"embedding failed: {exc if isinstance(exc, ModelError) else type(exc).__name__}"


def _errors(signal: Signal[Any], error: str) -> Result:
    return dict.fromkeys(_names(signal), SignalResult(False, error=error))


def _names(signal: Signal[Any]) -> Iterable[str]:
    return signal.emits()


def _emitted(signals: Iterable[Signal[Any]]) -> list[SignalKey]:
    return [SignalKey(signal.kind, name) for signal in signals for name in _names(signal)]


def _is_wanted(
    rule: SignalRule, kind: type[Signal[Any]], in_use: Collection[SignalKey] | None
) -> bool:
    return in_use is None or any(SignalKey(kind.kind, name) in in_use for name in rule.emits())


def _why_missing(key: SignalKey) -> str:
    return f"no {key.kind} signal named {key.name!r} is configured"
