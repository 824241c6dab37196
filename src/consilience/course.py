"""One request on its way through the gateway, and how it counts when it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from .deadline import late
from .delivery import Delivery
from .errors import ConsilienceError
from .limits.helper_calls import HelperCalls
from .loopers.fusion.looper import Fusion
from .preparation import Prepared
from .telemetry import metrics
from .upstream.calls import Calls


@dataclass(slots=True)
class Run:
    """One request on its way; what must be known when it ends early."""

    prepared: Prepared
    headers: Mapping[str, str]
    begun: float
    id: str
    created: int
    calls: Calls
    helpers: HelperCalls
    timeout_s: float
    exactly_begun: float = 0.0
    """By the performance counter: an event loop's own clock stands still while it works."""
    waited_s: float = 0.0
    """For room."""

    def count(self, delivery: Delivery) -> None:
        """Counts a request that was answered."""
        records = (*delivery.outcome.records, *delivery.records)
        for record in records:
            metrics.STAGE_SECONDS.of(record.stage, record.status).observe(record.latency_ms / 1000)
        if self._deliberates:
            outcome = "full" if delivery.undisturbed else "degraded"
            metrics.FUSIONS.of(self._decision, outcome).inc()
        took_s = time.perf_counter() - self.exactly_begun
        own_s = took_s - self.waited_s - self.calls.allowance.busy_s
        metrics.OWN_SECONDS.of().observe(max(0.0, own_s))

    def count_failure(self) -> None:
        """Counts a request that got no whole answer."""
        if self._deliberates:
            metrics.FUSIONS.of(self._decision, "failed").inc()

    def failure(self, exc: Exception) -> Exception:
        """The error to raise for what went wrong: unwrapped, and marked with whether it cost."""
        while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
            exc = exc.exceptions[0]
        if isinstance(exc, TimeoutError):
            exc = late(self.timeout_s)
        if isinstance(exc, ConsilienceError):
            if exc.status != 429:
                exc.spent = exc.spent or self.spent
            elif self.spent:  # others had begun to work, and who comes back pays for them again
                exc.status, exc.retry_after_s, exc.spent = 502, None, True
            else:  # turned away by all: nobody worked, and the client may well come back
                exc.spent = False
        return exc

    @property
    def _deliberates(self) -> bool:
        return isinstance(self.prepared.route.looper, Fusion) and self.prepared.outcome is None

    @property
    def _decision(self) -> str:
        return self.prepared.route.decision or ""

    @property
    def spent(self) -> bool:
        """Whether anything was paid for."""
        return self.calls.allowance.paid > 0 or self.helpers.paid
