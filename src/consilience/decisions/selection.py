"""The choice among decisions that match: total, and blind to the order of declaration.

Source: vllm-sr-routing.md 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Strategy = Literal["priority", "confidence"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A decision that matches, as far as the choice is concerned."""

    name: str
    confidence: float
    """0 to 1, of its rules."""
    priority: int = 0
    """The bigger wins."""
    tier: int = 0
    """The smaller wins, as soon as any candidate has one above 0."""


def rank(matched: Iterable[Candidate], strategy: Strategy = "priority") -> tuple[Candidate, ...]:
    """Gives the candidates best first.

    With tiers in play: tier, confidence, priority, name, whatever the strategy. Otherwise
    `confidence` puts confidence before priority, and `priority` the other way round.
    """
    candidates = tuple(matched)
    if any(candidate.tier > 0 for candidate in candidates):
        return tuple(sorted(candidates, key=lambda c: (c.tier, *_by_confidence(c))))
    return tuple(sorted(candidates, key=_ORDER[strategy]))


def select(matched: Iterable[Candidate], strategy: Strategy = "priority") -> Candidate | None:
    """Gives the best candidate, None when there is none."""
    return next(iter(rank(matched, strategy)), None)


def _by_confidence(c: Candidate) -> tuple[float, int, str]:
    return -c.confidence, -c.priority, c.name


def _by_priority(c: Candidate) -> tuple[int, float, str]:
    return -c.priority, -c.confidence, c.name


_ORDER: dict[Strategy, Callable[[Candidate], tuple[Any, ...]]] = {
    "confidence": _by_confidence,
    "priority": _by_priority,
}
