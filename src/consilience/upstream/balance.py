"""A model's backends: whose turn it is.

Turns go by weight (smooth weighted round robin) or to the less busy of two drawn ones. Backends out
of service are passed over as long as one is left; when none is, the one that comes back first is
asked all the same, because no call at all helps nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from ..chat.completion import Usage
from .base import Upstream
from .health import Health
from .price import Price
from .retry import NO_RETRIES, RetryBudget, RetryPolicy

Balancing = Literal["round_robin", "least_request"]


@dataclass(slots=True)
class Backend:
    """One endpoint that serves a model."""

    upstream: Upstream
    weight: int = 1
    health: Health = field(default_factory=Health)
    credit: int = field(default=0, init=False)
    """Of the round robin."""


@dataclass(slots=True)
class Member:
    """A model, its backends, and how they are used."""

    backends: Sequence[Backend]
    price: Price | None = None
    retries: RetryPolicy = NO_RETRIES
    balancing: Balancing = "round_robin"
    most_ejected: float = 1.0
    """Share of the backends that failures may take out of service; one may always be, and one is
    always left."""
    budget: RetryBudget = field(default_factory=RetryBudget)
    named: bool = True
    """Whether it serves one model. False for who serves every name that a request may have."""

    def cost(self, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        return None if usage is None or self.price is None else self.price.cost(usage)

    def pick(
        self, tried: Sequence[Backend], now: float, random: Callable[[], float]
    ) -> Backend | None:
        """Gives the backend for a call's next attempt; None when there is none at all.

        Args:
            tried: those the call has been at; they come last.
            now: seconds.
            random: gives a number from 0 up to 1.
        """
        if len(self.backends) <= 1:
            return self.backends[0] if self.backends else None
        available = [b for b in self.backends if b.health.is_available(now)]
        fresh = _without(available, tried)
        if fresh or available:
            return self._turn(fresh or available, random)
        waiting = _without(self.backends, tried) or self.backends
        return min(waiting, key=lambda b: (b.health.sick, b.health.until))

    def has_other(self, tried: Sequence[Backend], now: float) -> bool:
        """Whether a backend in service has not been tried yet."""
        return any(b.health.is_available(now) for b in _without(self.backends, tried))

    def may_eject(self, backend: Backend) -> bool:
        """Whether this one may go out of service for its failures."""
        others = [b.health for b in self.backends if b is not backend]
        most = max(1, math.floor(self.most_ejected * len(self.backends)))
        left = any(health.absence is None and not health.sick for health in others)
        return left and sum(health.ejected for health in others) < most

    def _turn(self, among: Sequence[Backend], random: Callable[[], float]) -> Backend:
        # a backend of weight 0 has no turn of its own: it stands in when all others are away
        among = [b for b in among if b.weight] or among
        if len(among) == 1:
            return among[0]
        if self.balancing == "least_request":
            return _less_busy(among, random)
        for backend in among:
            backend.credit += backend.weight or 1
        best = max(among, key=lambda b: b.credit)
        best.credit -= sum(b.weight or 1 for b in among)
        return best


def _without(backends: Sequence[Backend], tried: Sequence[Backend]) -> Sequence[Backend]:
    return [b for b in backends if not any(b is t for t in tried)]


def _less_busy(among: Sequence[Backend], random: Callable[[], float]) -> Backend:
    """Draws two by weight and gives the one with fewer calls for its weight."""
    first = _drawn(among, random)
    second = _drawn([b for b in among if b is not first], random)
    return min(first, second, key=lambda b: b.health.in_flight / (b.weight or 1))


def _drawn(among: Sequence[Backend], random: Callable[[], float]) -> Backend:
    point = random() * sum(b.weight or 1 for b in among)
    for backend in among:
        point -= backend.weight or 1
        if point < 0:
            return backend
    return among[-1]
