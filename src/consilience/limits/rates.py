"""What a key has used in the last minute. Pure.

Exact in any 60 seconds: what was used counts for a whole minute, to the second. A full window gives
its room back as the seconds of its use pass, not all at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import RateLimitedError
from ..keys.records import KeyLimits

WINDOW_S = 60


@dataclass(slots=True)
class Window:
    """The sum of what was used in the last minute."""

    used: int = 0
    _by_second: deque[tuple[int, int]] = field(default_factory=deque)

    @classmethod
    def of(cls, uses: Iterable[tuple[int, int]], now: float) -> Window:
        """Makes one of what `uses` gave.

        What is of a later minute than this is of a clock that has begun anew, and left out.
        """
        known = deque((second, amount) for second, amount in uses if second <= now + WINDOW_S)
        return cls(sum(amount for _, amount in known), known)

    def uses(self) -> Sequence[tuple[int, int]]:
        """Gives what counts, by the second of its use."""
        return tuple(self._by_second)

    def at(self, now: float) -> int:
        """Gives what counts at this moment."""
        while self._by_second and self._leaves(self._by_second[0][0]) <= now:
            self.used -= self._by_second.popleft()[1]
        return self.used

    def add(self, amount: int, now: float) -> None:
        """Counts a use; with the newest one at the earliest, which another process may have noted."""
        self.at(now)
        second = max(math.floor(now), self._by_second[-1][0] if self._by_second else 0)
        if self._by_second and self._by_second[-1][0] == second:
            second, before = self._by_second.pop()
            self._by_second.append((second, before + amount))
        else:
            self._by_second.append((second, amount))
        self.used += amount

    def take_back(self, amount: int, then: float, now: float) -> None:
        """Uncounts a part of what was counted at a moment, or at once behind it, if it still counts."""
        self.at(now)
        begun = math.floor(then)
        if self._leaves(begun) <= now:
            return
        for at, (second, counted) in enumerate(self._by_second):
            if second >= begun:
                taken = min(amount, counted)
                self._by_second[at] = second, counted - taken
                self.used -= taken
                amount -= taken

    def wait_s(self, most: int, now: float) -> float:
        """Gives the seconds until at most so much counts, if nothing more is used."""
        excess = self.at(now) - most
        if excess <= 0:
            return 0.0
        for second, amount in self._by_second:
            excess -= amount
            if excess <= 0:
                return self._leaves(second) - now
        return float(WINDOW_S)  # not even an empty window would do

    @staticmethod
    def _leaves(second: int) -> int:
        """When a use stops to count: at least a minute after the end of its second."""
        return second + 1 + WINDOW_S


@dataclass(slots=True)
class KeyRates:
    """The two windows of one key."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)

    def take_request(self, limits: KeyLimits, now: float) -> None:
        """Counts a request.

        Raises:
            RateLimitedError: it is one too many; nothing was counted.
        """
        most = limits.requests_per_minute
        if most is not None and self.requests.at(now) + 1 > most:
            raise RateLimitedError(
                f"this key may make {most} requests a minute; try again later",
                retry_after_s=self.requests.wait_s(most - 1, now) if most else WINDOW_S,
            )
        self.requests.add(1, now)

    def hold_tokens(self, limits: KeyLimits, expected: int, now: float) -> int:
        """Counts what a request is expected to use; gives how much that is, for `settle_tokens`.

        A request that expects more than a whole minute's tokens waits for an empty window: it is
        let in alone, and what it uses keeps others out until it no longer counts.

        Raises:
            RateLimitedError: too few are left; nothing was counted.
        """
        most = limits.tokens_per_minute
        if most is None:
            return 0
        expected = min(expected, most)
        if self.tokens.at(now) + expected > most:
            raise RateLimitedError(
                f"this key may use {most} tokens a minute, and this request needs about"
                f" {expected}; try again later",
                retry_after_s=max(self.tokens.wait_s(most - expected, now), 1.0),
            )
        self.tokens.add(expected, now)
        return expected

    def settle_tokens(self, held: int, then: float, used: int, now: float) -> None:
        """Counts what a request used in place of what it was expected to.

        Args:
            held: what `hold_tokens` gave.
            then: when it did.
            used: the true figure.
            now: from when it counts.
        """
        self.tokens.take_back(held, then, now)
        if used:
            self.tokens.add(used, now)

    def headers(self, limits: KeyLimits, now: float) -> Mapping[str, str]:
        """Gives `x-ratelimit-…` as OpenAI's clients know them; nothing where there is no limit."""
        told: dict[str, str] = {}
        if limits.requests_per_minute is not None:
            told |= _told("requests", limits.requests_per_minute, self.requests, now)
        if limits.tokens_per_minute is not None:
            told |= _told("tokens", limits.tokens_per_minute, self.tokens, now)
        return told


def _told(name: str, most: int, window: Window, now: float) -> dict[str, str]:
    left = max(most - window.at(now), 0)
    return {
        f"x-ratelimit-limit-{name}": str(most),
        f"x-ratelimit-remaining-{name}": str(left),
        f"x-ratelimit-reset-{name}": f"{math.ceil(window.wait_s(0, now))}s",
    }
