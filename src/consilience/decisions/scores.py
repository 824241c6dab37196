"""Scores: weighted sums of what signals found, in an order in which each has what it needs.

An input that failed counts as a miss and is named; a score all of whose inputs failed is unknown.
A raw value that is missing or not finite is a miss, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ..signals.base import SignalKey, SignalResult
from .projections import Score, ScoreInput

_NAMED = 4
"""Inputs that an error names."""

Results = Mapping[SignalKey, SignalResult]


@dataclass(frozen=True, slots=True)
class ScoreValue:
    """What a score came to."""

    value: float | None
    """None when it is unknown."""
    failed: Sequence[str] = ()
    """Inputs that failed, as `type:name`."""
    error: str | None = None
    """Why it is unknown."""


Values = Mapping[str, ScoreValue]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one input adds to a score."""

    input: ScoreInput
    value: float
    """Before it is weighed."""
    error: str | None = None
    """Why it counts as a miss."""

    @property
    def weighted(self) -> float:
        """What it adds; a miss adds 0, not -0."""
        return self.input.weight * self.value or 0.0

    def as_body(self) -> dict[str, Any]:
        """Gives the contribution as JSON."""
        body: dict[str, Any] = {
            "type": self.input.type,
            "name": name_of(self.input),
            "value_source": self.input.source,
            "weight": self.input.weight,
            "value": round(self.value, 6),
            "contribution": round(self.weighted, 6),
        }
        if self.error is not None:
            body["error"] = self.error
        return body


@dataclass(frozen=True, slots=True)
class ScoreTrace:
    """A score with what each input added."""

    name: str
    result: ScoreValue
    inputs: Sequence[Contribution]

    def as_body(self) -> dict[str, Any]:
        """Gives the trace as JSON."""
        body: dict[str, Any] = {"type": "score", "name": self.name, "value": None}
        if self.result.value is not None and math.isfinite(self.result.value):
            body["value"] = round(self.result.value, 6)
        if self.result.error is not None:
            body["error"] = self.result.error
        return body | {"inputs": [contribution.as_body() for contribution in self.inputs]}


class WeightedSum:
    """A score, compiled. Holds no state of a request."""

    def __init__(self, score: Score) -> None:
        self.name = score.name
        self._inputs = tuple((each, _reader(each)) for each in score.inputs)

    def value(self, results: Results, scores: Values) -> ScoreValue:
        """Gives the sum.

        Args:
            results: of all signals that it reads.
            scores: those that it is made of.
        """
        total, failed = [], []
        for each, read in self._inputs:
            value = read(results, scores)
            if isinstance(value, str):
                failed.append(f"{each.type}:{name_of(each)}")
                value = each.miss
            total.append(each.weight * value)
        if len(failed) == len(self._inputs):
            error = f"every input of score {self.name!r} failed: {_listed(failed)}"
            return ScoreValue(None, failed, error)
        return ScoreValue(math.fsum(total), failed)

    def trace(self, results: Results, scores: Values) -> ScoreTrace:
        """Gives the sum with its parts; `scores` must have its own value, too."""
        return ScoreTrace(
            self.name,
            scores[self.name],
            tuple(_contribution(each, read(results, scores)) for each, read in self._inputs),
        )


def in_order(scores: Iterable[Score]) -> tuple[Score, ...]:
    """Gives the scores so that each comes after those that it is made of.

    Raises:
        ValueError: they go round in a circle.
    """
    by_name = {score.name: score for score in scores}
    try:
        names = tuple(TopologicalSorter(_parts(by_name)).static_order())
    except CycleError as exc:
        circle = " -> ".join(reversed(exc.args[1]))
        raise ValueError(f"scores are made of each other: {circle}") from None
    return tuple(by_name[name] for name in names)


def cycles(scores: Iterable[Score]) -> Iterator[tuple[str, ...]]:
    """Gives circles of scores, first name again at the end, until none would be left."""
    parts = _parts({score.name: score for score in scores})
    while True:
        try:
            TopologicalSorter(parts).prepare()
        except CycleError as exc:
            # graphlib gives each name before the one that is made of it.
            circle = tuple(reversed(exc.args[1]))
            yield circle
            parts[circle[0]].discard(circle[1])
        else:
            return


def name_of(each: ScoreInput) -> str:
    """Gives what an input reads, by name."""
    return each.name or each.key.name


def _parts(by_name: Mapping[str, Score]) -> dict[str, set[str]]:
    return {
        name: {i.name for i in score.inputs if i.is_score and i.name and i.name in by_name}
        for name, score in by_name.items()
    }


_Reader = Callable[[Results, Values], float | str]
"""Gives what an input counts as, or as a text why it failed."""


def _reader(each: ScoreInput) -> _Reader:
    if each.is_score:
        return lambda _, scores: _of_score(each, scores)
    key, count = each.key, _COUNTS[each.source]

    def read(results: Results, _: Values) -> float | str:
        result = results.get(key)
        if result is None:
            return "it was not evaluated"
        return count(each, result) if result.error is None else result.error

    return read


def _of_score(each: ScoreInput, scores: Values) -> float | str:
    found = scores.get(each.name or "")
    if found is None or found.value is None:
        return found.error if found and found.error else "there is no such score"
    return found.value


def _value(each: ScoreInput, result: SignalResult) -> float:
    known = result.value is not None and math.isfinite(result.value)
    return result.value if known and result.value is not None else each.miss


def _binary(each: ScoreInput, result: SignalResult) -> float:
    return each.match if result.matched else each.miss


def _confidence(each: ScoreInput, result: SignalResult) -> float:
    return result.confidence if result.matched and math.isfinite(result.confidence) else each.miss


_COUNTS: Mapping[str, Callable[[ScoreInput, SignalResult], float]] = {
    "binary": _binary,
    "confidence": _confidence,
    "raw": _value,
    "score": _value,
}


def _contribution(each: ScoreInput, found: float | str) -> Contribution:
    if isinstance(found, str):
        return Contribution(each, each.miss, found)
    return Contribution(each, found)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
