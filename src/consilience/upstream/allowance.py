"""How many upstream calls one request may make, has made, and how long they took together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

UNLIMITED = 1 << 30


@dataclass(slots=True)
class Allowance:
    """How many upstream calls one request may make."""

    most: int = UNLIMITED
    """In all, retries included."""
    planned: int = 0
    """Without any retry; what of them is still to come is kept free of retries."""
    patient: bool = True
    """Whether it waits as long as is configured; a client may have asked for less."""
    begun: int = field(default=0, init=False)
    """Calls so far, each counted once however often it was repeated."""
    made: int = field(default=0, init=False)
    """Upstream calls so far."""
    paid: int = field(default=0, init=False)
    """Those that may have cost: all but the ones that were turned away or never arrived."""
    _at_work: int = field(default=0, init=False)
    _busy_s: float = field(default=0.0, init=False)
    _busy_since: float = field(default=0.0, init=False)

    def enter(self, *, again: bool = False) -> None:
        """Takes in that a call begins; `again`: one that was begun before, in other words."""
        self.begun += not again
        if not self._at_work:
            self._busy_since = time.perf_counter()
        self._at_work += 1

    def leave(self) -> None:
        """Takes in that a call has ended, repeated or not."""
        self._at_work -= 1
        if not self._at_work:
            self._busy_s += time.perf_counter() - self._busy_since

    @property
    def busy_s(self) -> float:
        """Seconds in which at least one call was under way, until the last one ended."""
        return self._busy_s

    @property
    def has_room_for_retry(self) -> bool:
        """Whether a call may be repeated."""
        return self.most - self.made > max(0, self.planned - self.begun)
