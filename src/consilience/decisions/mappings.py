"""Mappings: a score becomes named results, which rules ask for with `type: projection`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..signals.base import SignalKey, SignalResult
from .projections import KIND, ScoreMapping
from .scores import ScoreValue


@dataclass(frozen=True, slots=True)
class MappingTrace:
    """What a mapping made of its score."""

    name: str
    source: str
    outputs: Sequence[tuple[str, SignalResult]]

    def as_body(self) -> dict[str, Any]:
        """Gives the trace as JSON."""
        return {
            "type": "mapping",
            "name": self.name,
            "source": self.source,
            "outputs": [
                {
                    "name": name,
                    "matched": result.matched,
                    "confidence": round(result.confidence, 4) if result.matched else None,
                }
                | ({} if result.error is None else {"error": result.error})
                for name, result in self.outputs
            ],
        }


class Bands:
    """A mapping, compiled. Holds no state of a request."""

    def __init__(self, mapping: ScoreMapping) -> None:
        self.source = mapping.source
        self._mapping = mapping
        self._outputs = tuple((SignalKey(KIND, o.name), o.predicate) for o in mapping.outputs)
        self._first_only = mapping.method == "threshold_bands"
        self._slope = mapping.calibration.slope

    def apply(self, score: ScoreValue, results: MutableMapping[SignalKey, SignalResult]) -> None:
        """Files a result for every output; an unknown score leaves all of them unknown."""
        detail: dict[str, object] = {"score": self.source}
        if score.failed:
            detail["failed_inputs"] = list(score.failed)
        if score.value is None:
            unknown = SignalResult(False, error=score.error, detail=detail)
            results.update(dict.fromkeys((key for key, _ in self._outputs), unknown))
            return
        miss = SignalResult(False, value=score.value, detail=detail)
        results.update(dict.fromkeys((key for key, _ in self._outputs), miss))
        for key, confidence in self._fitting(score.value):
            results[key] = SignalResult(True, confidence, score.value, detail=detail)
            if self._first_only:
                return

    def trace(self, results: Mapping[SignalKey, SignalResult]) -> MappingTrace:
        """Gives what `apply` has filed."""
        outputs = tuple((key.name, results[key]) for key, _ in self._outputs)
        return MappingTrace(self._mapping.name, self.source, outputs)

    def _fitting(self, value: float) -> Iterator[tuple[SignalKey, float]]:
        for key, predicate in self._outputs:
            if predicate is None:
                yield key, 1.0
            elif predicate.holds(value):
                yield key, predicate.confidence(value, self._slope)
