"""`GET /metrics`: what is counted and timed, in Prometheus' text format."""

from __future__ import annotations

from typing import NoReturn

import anyio
from starlette.requests import Request
from starlette.responses import Response

from ..errors import NotFoundError, PermissionDeniedError
from ..keys.records import current_key
from ..keys.store import EVERYTHING
from ..live import LiveGateway
from ..telemetry import metrics

TICK_S = 0.5
"""Between looks at the event loop and at what is in hand."""


class MetricsEndpoint:
    """The endpoint. Waits for no room, and renders in a thread, one request at a time."""

    def __init__(self, live: LiveGateway, version: str) -> None:
        self._live = live
        self._one_at_a_time = anyio.CapacityLimiter(1)
        metrics.BUILD.of(version).set(1)

    async def answer(self, request: Request) -> Response:
        """Gives everything that is counted.

        Raises:
            NotFoundError: the configuration wants no metrics.
            PermissionDeniedError: the key is a virtual one: what all clients do is the operator's.
        """
        if not self._live.current().config.global_.metrics.enabled:
            _absent()
        if current_key.get() is not None:
            raise PermissionDeniedError(
                "this key may not read metrics; send one of listeners[].api_keys, or set"
                " global.metrics.public"
            )
        note_levels(self._live)
        data = await anyio.to_thread.run_sync(metrics.rendered, limiter=self._one_at_a_time)
        return Response(data, media_type=metrics.CONTENT_TYPE)


def note_levels(live: LiveGateway) -> None:
    """Brings up to date what is not counted as it happens: what is in hand at this moment."""
    gateway = live.current()
    metrics.IN_FLIGHT.of().set(gateway.admission.in_flight)
    metrics.QUEUED.of().set(gateway.admission.queued)
    metrics.HELD.of().set(float(gateway.guard.ledger.held(EVERYTHING)))
    now, healths = anyio.current_time(), gateway.healths
    for name, health in healths.items():
        metrics.BACKEND_OUT.of(name).set(int(not health.is_available(now)))
    for (name,) in metrics.BACKEND_OUT.values:
        if name not in healths:  # another configuration had it
            metrics.BACKEND_OUT.of(name).set(0)


async def keep_levels(live: LiveGateway) -> None:
    """Notes them twice a second until cancelled, and how late the event loop comes to it."""
    while True:
        due = anyio.current_time() + TICK_S
        await anyio.sleep(TICK_S)
        metrics.LOOP_LAG.of().observe(max(0.0, anyio.current_time() - due))
        note_levels(live)


def _absent() -> NoReturn:
    raise NotFoundError("there are no metrics here: global.metrics.enabled is false")
