"""Whether and when to ask again: the pause before a retry, and the budget that stops a storm. Pure.

Sources: exponential backoff with full jitter as AWS describes it; a budget of calls in flight as
Envoy has it. A retry storm is what a budget is against: when everything fails, retries stay a
small part of the load, whatever the number of clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_WAIT_S = 60.0
"""A `Retry-After` above it is not waited for: the client, or another backend, has more use of it."""
TELLING_S = 10.0
TELLING_SHARE = 0.1
"""Of the time that requests have: where that is short, silence tells something sooner."""
BUDGET_SHARE = 0.2
BUDGET_FLOOR = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a model is asked again."""

    count: int = 2
    """Calls beyond the first that one call of ours may become, at backends it has been at."""
    base_s: float = 0.5
    cap_s: float = 8.0
    conditions: frozenset[str] | None = None
    """Retry only under these (`Verdict.conditions`); None: under any."""
    telling_s: float = TELLING_S
    """A call that a deadline cuts off after this long says something of its backend."""

    def takes(self, conditions: frozenset[str]) -> bool:
        """Whether it retries what happened under these; under none, it always does."""
        return self.conditions is None or not conditions or bool(conditions & self.conditions)

    def pause_s(
        self, retries: int, told_s: float | None, left_s: float, random: Callable[[], float]
    ) -> float | None:
        """Gives the seconds to wait before a retry, or None when there is no use in one.

        Args:
            retries: how many were made before.
            told_s: what the upstream's `Retry-After` says.
            left_s: seconds until the caller's deadline; a pause that long is none.
            random: gives a number from 0 to 1.
        """
        pause = random() * min(self.cap_s, self.base_s * 2.0**retries)
        if told_s is not None:
            if told_s > LONGEST_WAIT_S:
                return None
            if told_s > 0:  # and a little more, or all who were told so would come at once
                pause = told_s + random() * self.base_s
        return pause if pause < left_s else None


NO_RETRIES = RetryPolicy(count=0)


@dataclass(slots=True)
class RetryBudget:
    """How many of a model's calls in flight may be repeated ones."""

    in_flight: int = field(default=0, init=False)
    """Calls of ours; each counts once, however often it is repeated."""
    retrying: int = field(default=0, init=False)
    """Those of them that have been repeated."""

    @property
    def has_room(self) -> bool:
        """Whether one more call may be repeated."""
        return self.retrying < max(BUDGET_FLOOR, BUDGET_SHARE * self.in_flight)
