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


def why_lost(
    loser: Candidate, winner: Candidate, strategy: Strategy = "priority", *, tiered: bool = False
) -> str:
    """Says in a few words what put one candidate behind another.

    Args:
        loser: matched, and was not chosen.
        winner: was chosen.
        strategy: of the choice.
        tiered: whether any candidate of the choice had a tier above 0.
    """
    for field in _TIERED if tiered else _FIELDS[strategy]:
        own, better = getattr(loser, field), getattr(winner, field)
        if own != better:
            return f"{field} {own:.4g} against {better:.4g} of {winner.name!r}"
    return f"as good as {winner.name!r}, whose name comes first"


def _by_confidence(c: Candidate) -> tuple[float, int, str]:
    return -c.confidence, -c.priority, c.name


def _by_priority(c: Candidate) -> tuple[int, float, str]:
    return -c.priority, -c.confidence, c.name


_FIELDS: dict[Strategy, tuple[str, ...]] = {
    "confidence": ("confidence", "priority"),
    "priority": ("priority", "confidence"),
}
_TIERED = ("tier", *_FIELDS["confidence"])
_ORDER: dict[Strategy, Callable[[Candidate], tuple[Any, ...]]] = {
    "confidence": _by_confidence,
    "priority": _by_priority,
}
