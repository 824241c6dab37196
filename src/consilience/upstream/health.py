"""How a backend is doing, from how its calls end.

A backend is in service, or out of it for a time: *ejected* after failures in a row, *cooling* after
a 429, *disabled* when it refuses our key, *sick* while an active check fails. When the time of an
ejection or of a refused key is over, one call goes there as a probe; the others wait for its end.
Nothing here reads a clock: times are seconds of the caller's.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Literal

from ..telemetry import metrics
from ..telemetry.log import log
from .verdict import Mark

Absence = Literal["ejected", "cooling", "disabled"]
LONGEST_COOLING_S = 3600.0
SICK_AFTER = 2
"""Active checks that must fail in a row."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When a backend is taken out of service, and for how long."""

    failures: int = 5
    """In a row; 0: never."""
    ejection_s: float = 30.0
    """Times the number of ejections so far."""
    longest_ejection_s: float = 300.0
    cooling_s: float = 5.0
    """After a 429 that does not say how long."""
    disabled_s: float = 300.0
    """Until a refused key is tried again."""


@dataclass(slots=True)
class Health:
    """The state of one backend, shared by all that is served there. Of one event loop."""

    policy: HealthPolicy = HealthPolicy()
    name: str = ""
    """For the log."""
    in_flight: int = field(default=0, init=False)
    """Calls."""
    absence: Absence | None = field(default=None, init=False)
    until: float = field(default=0.0, init=False)
    """When the absence ends."""
    sick: bool = field(default=False, init=False)
    """Whether active checks fail."""
    _failures: int = field(default=0, init=False)
    _ejections: int = field(default=0, init=False)
    _ejected_s: float = field(default=0.0, init=False)
    """How long the latest ejection was."""
    _back_at: float = field(default=-math.inf, init=False)
    """When it came back from it."""
    _failed_checks: int = field(default=0, init=False)
    _probing: bool = field(default=False, init=False)

    @property
    def ejected(self) -> bool:
        """Whether failures took it out of service; it comes back by a probe that succeeds."""
        return self.absence == "ejected"

    @property
    def failing(self) -> bool:
        """Whether as many calls failed in a row as eject a backend that is not the last one."""
        return 0 < self.policy.failures <= self._failures

    def is_available(self, now: float) -> bool:
        """Whether a call may go there now."""
        if self.sick:
            return False
        return self.absence is None or (now >= self.until and not self._probing)

    def begin(self, now: float) -> bool:
        """Counts a call; gives whether it is a probe."""
        self.in_flight += 1
        if self.absence is None or now < self.until or self._probing:
            return False
        if self.absence == "cooling":
            self.absence = None
            return False
        self._probing = True
        return True

    def end(
        self,
        mark: Mark,
        now: float,
        *,
        probe: bool = False,
        told_s: float | None = None,
        may_eject: bool = True,
    ) -> None:
        """Takes in how a call ended.

        Args:
            mark: what its end says.
            now: seconds.
            probe: what `begin` gave for this call.
            told_s: what `Retry-After` said.
            may_eject: False for the last backend that is left.
        """
        self.in_flight -= 1
        if probe:
            self._probing = False
        if mark == "ok":
            self._recover(now)
        elif mark == "failed":
            self._failures += 1
            if may_eject and (probe or (self.failing and self.absence != "ejected")):
                self._eject(now)
        elif mark == "rate_limited" and self.absence in (None, "cooling"):
            cooling_s = self.policy.cooling_s if told_s is None else told_s
            if self.absence is None:
                self._count("cooling")
            self.absence, self.until = "cooling", now + min(cooling_s, LONGEST_COOLING_S)
        elif mark == "credentials":
            self._disable(now)

    def checked(self, healthy: bool, now: float) -> None:
        """Takes in an active check. One that succeeds ends an ejection, too."""
        self._failed_checks = 0 if healthy else self._failed_checks + 1
        if healthy and (self.sick or self.ejected):
            self.sick = False
            self._recover(now)
        elif self._failed_checks == SICK_AFTER:
            self.sick = True
            self._count("sick")
            log("backend_sick", level=logging.WARNING, backend=self.name)

    def _recover(self, now: float) -> None:
        self._failures = 0
        if self.absence in ("ejected", "disabled"):
            log("backend_back", backend=self.name, was=self.absence)
            self.absence, self._back_at = None, now

    def _count(self, state: str) -> None:
        if self.name:  # what has none is nobody's backend
            metrics.ABSENCES.of(self.name, state).inc()

    def _eject(self, now: float) -> None:
        if now - self._back_at > self._ejected_s:  # it was well for longer than it had been away
            self._ejections = 0
        self._ejections += 1
        self._count("ejected")
        seconds = min(self.policy.ejection_s * self._ejections, self.policy.longest_ejection_s)
        self.absence, self.until = "ejected", now + seconds
        # while it is away, or its probe fails, it is not well for any time
        self._ejected_s, self._back_at = seconds, math.inf
        log(
            "backend_ejected",
            level=logging.WARNING,
            backend=self.name,
            failures=self._failures,
            seconds=seconds,
        )

    def _disable(self, now: float) -> None:
        if self.absence != "disabled":  # said once, however many calls it refuses
            self._count("disabled")
            log(
                "backend_disabled",
                level=logging.ERROR,
                backend=self.name,
                cause="it refuses our key",
                seconds=self.policy.disabled_s,
            )
        self.absence, self.until = "disabled", now + self.policy.disabled_s
