"""From what signals found to what rule trees read: the stages between, in their order.

Partitions leave one of several signals matched; composers take back results of rules that do not
apply; each signal narrows its own results; scores add up what is left; mappings name the sums.

Source: vllm-sr-routing.md 2.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from ..signals.base import Signal, SignalKey, SignalResult
from .evaluation import compile_rules
from .mappings import Bands, MappingTrace
from .needs import Composed, Needs
from .partitions import Exclusion, PartitionTrace
from .scores import ScoreTrace, ScoreValue, WeightedSum, in_order
from .trace import why_not

log = logging.getLogger(__name__)

Results = Mapping[SignalKey, SignalResult]
Changing = MutableMapping[SignalKey, SignalResult]
ProjectionTrace = PartitionTrace | ScoreTrace | MappingTrace


class Stages:
    """The stages that some decisions need, compiled once. Holds no state of a request."""

    def __init__(self, needs: Needs, signals: Sequence[Signal[Any]]) -> None:
        """
        Args:
            needs: what is in use.
            signals: those that find `needs.signals`.

        Raises:
            ValueError: scores that are made of each other; the configuration's check finds those first.
        """
        self._partitions = tuple(Exclusion(partition, kind) for partition, kind in needs.partitions)
        self._composers = tuple(map(_Composer, needs.composed))
        self._narrowing = tuple(s for s in signals if type(s).narrow is not Signal.narrow)
        self._scores = tuple(map(WeightedSum, in_order(needs.scores)))
        self._mappings = tuple(map(Bands, needs.mappings))
        self._missing = {
            key: SignalResult(False, error=f"no projection output named {key.name!r} is configured")
            for key in needs.missing
        }
        self.projects = bool(self._partitions or self._mappings or self._missing)
        """Whether there is any projection."""
        self._idle = not (self.projects or self._composers or self._narrowing)

    def apply(self, found: Results) -> Results:
        """Gives the results that rule trees read: the signals' own as they are now, and outputs.

        Args:
            found: a result for each of `needs.signals`.
        """
        if self._idle:
            return found
        results: Changing = {**found, **self._missing}
        for partition in self._partitions:
            partition.apply(results)
        # All are asked before any takes effect: none sees what another has taken back.
        changes = [change for composer in self._composers for change in composer.changes(results)]
        results.update(changes)
        for signal in self._narrowing:
            _narrow(signal, results)
        scores = self._values(results)
        for mapping in self._mappings:
            mapping.apply(scores.get(mapping.source, _NO_SCORE), results)
        return results

    def trace(self, results: Results) -> Sequence[ProjectionTrace]:
        """Gives what each partition, score and mapping came to.

        Args:
            results: what `apply` gave.
        """
        scores = self._values(results)
        return (
            *(partition.trace(results) for partition in self._partitions),
            *(score.trace(results, scores) for score in self._scores),
            *(mapping.trace(results) for mapping in self._mappings),
        )

    def _values(self, results: Results) -> Mapping[str, ScoreValue]:
        values: dict[str, ScoreValue] = {}
        for score in self._scores:
            values[score.name] = score.value(results, values)
        return values


_NO_SCORE = ScoreValue(None, error="there is no such score")


class _Composer:
    """Whether the results of a signal rule count."""

    def __init__(self, composed: Composed) -> None:
        self._rules = compile_rules(composed.composer)
        self._keys = composed.keys

    def changes(self, results: Results) -> Sequence[tuple[SignalKey, SignalResult]]:
        """Gives what takes the place of results that do not count."""
        matches = [key for key in self._keys if key in results and results[key].matched]
        if not matches:
            return ()
        verdict, _ = self._rules.verdict(results)
        if verdict:
            return ()
        if verdict is None:
            reason = why_not(self._rules.trace(results))
            error = f"its composer could not be evaluated: {reason}"
            return [(key, results[key]._replace(matched=False, error=error)) for key in matches]
        return [(key, _taken_back(results[key])) for key in matches]


def _taken_back(result: SignalResult) -> SignalResult:
    detail = {**result.detail, "composer": "composer did not match"}
    return result._replace(matched=False, detail=detail)


def _narrow(signal: Signal[Any], results: Changing) -> None:
    """Lets a signal narrow its own results; if it breaks, they are errors, not the request."""
    own = {key.name: result for key, result in results.items() if key.kind == signal.kind}
    try:
        narrowed = signal.narrow(own)
    except Exception as exc:  # a signal's bug is its own rules' error, not the request's
        log.warning("signal_failed", extra={"kind": signal.kind}, exc_info=exc)
        narrowed = dict.fromkeys(own, SignalResult(False, error=f"failed: {type(exc).__name__}"))
    for name, result in own.items():
        results[SignalKey(signal.kind, name)] = narrowed.get(name, result)
