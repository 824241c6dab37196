"""Partitions: of several signals that match, the one with the highest confidence stays matched.

Source: vllm-sr-routing.md 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..signals.base import SignalKey, SignalResult
from .projections import Partition

MEMBER_KINDS = ("domain", "embedding")
"""Kinds whose signals may be members, all of them of one kind."""

Names = Mapping[str, Collection[str]]
"""Kind to the names that its rules emit."""


def member_kind(partition: Partition, names: Names) -> str | None:
    """Gives the kind that declares every member; None when there is none.

    Where both kinds do, `domain` is meant.
    """
    return next(
        (kind for kind in MEMBER_KINDS if set(partition.members) <= set(names.get(kind, ()))), None
    )


@dataclass(frozen=True, slots=True)
class PartitionTrace:
    """What a partition came to."""

    name: str
    semantics: str
    members: Sequence[tuple[str, SignalResult]]
    """In the configuration's order, as they are after it."""

    @property
    def winner(self) -> str | None:
        """The member that is matched; None when there is none."""
        return next((name for name, result in self.members if result.matched), None)

    def as_body(self) -> dict[str, Any]:
        """Gives the trace as JSON."""
        return {
            "type": "partition",
            "name": self.name,
            "semantics": self.semantics,
            "winner": self.winner,
            "members": [_member_body(name, result) for name, result in self.members],
        }


def _member_body(name: str, result: SignalResult) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name, "matched": result.matched}
    if result.matched:
        body["confidence"] = round(result.confidence, 4)
    if result.error is not None:
        body["error"] = result.error
    if "partition" in result.detail:
        body["why"] = result.detail["partition"]
    return body


class Exclusion:
    """A partition, compiled. Holds no state of a request."""

    def __init__(self, partition: Partition, kind: str) -> None:
        self._partition = partition
        self.keys = tuple(SignalKey(kind, name) for name in dict.fromkeys(partition.members))
        default = partition.default
        self._default = None if default is None else SignalKey(kind, default)
        self._softmax = partition.semantics == "softmax_exclusive"

    def apply(self, results: MutableMapping[SignalKey, SignalResult]) -> None:
        """Leaves one member matched, or none when all of them failed or there is no default."""
        contenders = [key for key in self.keys if results[key].matched]
        if not contenders:
            self._fall_back(results)
            return
        # Of equals the one that the configuration has first.
        winner = max(contenders, key=lambda key: _sane(results[key].confidence))
        if self._softmax:
            confidence = self._share(
                winner, [results[key].confidence for key in contenders], results
            )
            results[winner] = results[winner]._replace(confidence=confidence)
        for key in contenders:
            if key is not winner:
                results[key] = _with(results[key], f"lost to {winner.name!r}", matched=False)

    def trace(self, results: Mapping[SignalKey, SignalResult]) -> PartitionTrace:
        """Gives what `apply` has left."""
        members = tuple((key.name, results[key]) for key in self.keys)
        return PartitionTrace(self._partition.name, self._partition.semantics, members)

    def _share(
        self,
        winner: SignalKey,
        confidences: Sequence[float],
        results: Mapping[SignalKey, SignalResult],
    ) -> float:
        """The winner's softmax confidence: 1 when it has no rival."""
        best, temperature = _sane(results[winner].confidence), self._partition.temperature
        return 1 / math.fsum(math.exp((_sane(c) - best) / temperature) for c in confidences)

    def _fall_back(self, results: MutableMapping[SignalKey, SignalResult]) -> None:
        """The default matches, with its own figure as confidence if that is one.

        A default that failed stays failed; when any other member did not, it is at least known
        that nothing else matched.
        """
        if self._default is None:
            return
        result = results[self._default]
        if result.error is None:
            value = result.value
            known = value is not None and math.isfinite(value)
            confidence = _sane(value) if known and value is not None else 1 / len(self.keys)
            default = _with(result, "default", matched=True)
            results[self._default] = default._replace(confidence=confidence)


def _with(result: SignalResult, why: str, *, matched: bool) -> SignalResult:
    return result._replace(matched=matched, detail={**result.detail, "partition": why})


def _sane(confidence: float) -> float:
    return min(1.0, max(0.0, confidence)) if math.isfinite(confidence) else 0.0
