"""What is counted and timed, for Prometheus. Of the process: all its gateways add up.

Labels have names from the configuration, statuses and words of ours; what a client chose never
becomes one. Each label takes so many values and then `other`, so that a looper's endpoint that
serves any model cannot fill the memory. With several workers each writes what it counts into files
of one folder (`PROMETHEUS_MULTIPROC_DIR`, which must be set before this is imported), from which any
of them can add up the whole. The files are named after the worker's place, so that the one that takes
the place of a dead one counts on in its files, and their number does not grow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from multiprocessing import current_process
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WORKER = "consilience-worker-"
"""How the name of a worker's process begins; its number follows. Only one of each runs at a time."""
MOST_VALUES = 256
"""Of one label."""
OTHER = "other"

_REQUEST_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_UPSTREAM_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OWN_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_ROUTING_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1, 5)
_QUEUE_S = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10)
_LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2)

disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, and nobody reads them
_REGISTRY = CollectorRegistry()
_PROCESS = current_process().name
if FOLDER_VARIABLE in os.environ and _PROCESS.startswith(WORKER):
    values.ValueClass = values.MultiProcessValue(lambda: _PROCESS)  # type: ignore[no-untyped-call]


class Names:
    """The values that a label has had so far; new ones are `other` once there are many."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """Gives the label's value for a name."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


class Family:
    """A metric and its labels' values, each combination looked up once."""

    def __init__(self, metric: Any, *bounded: str) -> None:
        """
        Args:
            metric: a counter, gauge or histogram.
            bounded: names of the labels whose values come from the configuration.
        """
        self.metric = metric
        self._names = {label: Names() for label in bounded}
        self._known: dict[tuple[str, ...], Any] = {}

    @property
    def values(self) -> Sequence[tuple[str, ...]]:
        """The values that were asked for so far."""
        return tuple(self._known)

    def of(self, *values: str) -> Any:
        """Gives the child for these values, in the order in which the labels are declared."""
        child = self._known.get(values)
        if child is not None:
            return child
        labels = self.metric._labelnames  # noqa: SLF001  # the library tells them nowhere else
        kept = [
            self._names[label].of(value) if label in self._names else value
            for label, value in zip(labels, values, strict=True)
        ]
        child = self.metric.labels(*kept) if kept else self.metric
        if len(self._known) < 16 * MOST_VALUES:
            self._known[values] = child
        return child


def _counter(
    name: str, text: str, labels: Iterable[str] = (), bounded: Iterable[str] = ()
) -> Family:
    metric = Counter(f"consilience_{name}", text, tuple(labels), registry=_REGISTRY)
    return Family(metric, *bounded)


def _histogram(
    name: str,
    text: str,
    buckets: Iterable[float],
    labels: Iterable[str] = (),
    bounded: Iterable[str] = (),
) -> Family:
    made = Histogram(
        f"consilience_{name}", text, tuple(labels), buckets=tuple(buckets), registry=_REGISTRY
    )
    return Family(made, *bounded)


def _gauge(name: str, text: str, labels: Iterable[str] = (), *, over: Any = "livesum") -> Family:
    """A gauge; `over`: how it is taken together over workers."""
    metric = Gauge(
        f"consilience_{name}", text, tuple(labels), registry=_REGISTRY, multiprocess_mode=over
    )
    return Family(metric, *labels)


REQUESTS = _counter(
    "requests", "Requests that ended.", ("path", "decision", "status"), ("decision",)
)
REQUEST_SECONDS = _histogram(
    "request_seconds", "From a request's head to its end.", _REQUEST_S, ("path",)
)
ERRORS = _counter("errors", "Errors told to clients, by `error.code`.", ("code",), ("code",))
OWN_SECONDS = _histogram(
    "gateway_overhead_seconds",
    "What an answered request took beside its upstream calls and its wait for room.",
    _OWN_S,
)
QUEUE_SECONDS = _histogram(
    "queue_seconds", "The wait for room of a request that was let in.", _QUEUE_S
)
ROUTING_SECONDS = _histogram("routing_seconds", "Signals and decision of a request.", _ROUTING_S)
SIGNAL_FAILURES = _counter(
    "signal_failures", "Signals that gave an error in place of a value.", ("kind",)
)
FUSIONS = _counter(
    "fusions",
    "Deliberations that ended: `full`, `degraded` or `failed`.",
    ("decision", "outcome"),
    ("decision",),
)
STAGE_SECONDS = _histogram(
    "stage_seconds", "One call of a deliberation.", _UPSTREAM_S, ("stage", "status")
)
UPSTREAM_CALLS = _counter(
    "upstream_calls",
    "Calls of models, each attempt for itself: `ok`, `left`, or why it failed.",
    ("model", "outcome"),
    ("model", "outcome"),
)
UPSTREAM_SECONDS = _histogram(
    "upstream_seconds", "Calls of models that succeeded.", _UPSTREAM_S, ("model",), ("model",)
)
FIRST_TOKEN_SECONDS = _histogram(
    "upstream_first_token_seconds",
    "To the first token of a streamed call.",
    _UPSTREAM_S,
    ("model",),
    ("model",),
)
RETRIES = _counter("upstream_retries", "Calls that repeat a failed one.", ("model",), ("model",))
RETRIES_DENIED = _counter(
    "upstream_retries_denied",
    "Failures that were worth another call, which there was no room for: of the request's `calls`,"
    " the model's retry `budget`, or its `time`.",
    ("reason",),
)
TOKENS = _counter("tokens", "Tokens as the upstreams told.", ("model", "direction"), ("model",))
COST = _counter("cost_usd", "Dollars, of calls whose price is known.", ("model",), ("model",))
UNPRICED = _counter("unpriced_calls", "Calls that cost what is not known.", ("model",), ("model",))
ABSENCES = _counter(
    "backend_absences",
    "How often a backend was taken out of service.",
    ("backend", "state"),
    ("backend",),
)
BACKEND_OUT = _gauge("backend_out", "Workers that have the backend out of service.", ("backend",))
IN_FLIGHT = _gauge("calls_in_flight", "Room taken: upstream calls that may be in flight.")
QUEUED = _gauge("requests_queued", "Requests that wait for room.")
HELD = _gauge("budget_held_usd", "Dollars set aside for requests at work.")
RELOADS = _counter("config_reloads", "Reloads of the configuration.", ("result",))
RELOADED = _gauge(
    "config_last_reload_successful",
    "1, or 0 while the newest file could not be used.",
    over="livemin",
)
RELOADED_AT = _gauge(
    "config_last_reload_success_timestamp_seconds",
    "Unix time of the configuration in service.",
    over="livemin",
)
LOOP_LAG = _histogram("event_loop_lag_seconds", "How late a timer of half a second came.", _LAG_S)
BUILD = _gauge("build_info", "1.", ("version",), over="max")


def note_served() -> None:
    """Takes in that a configuration is in service now."""
    RELOADED.of().set(1)
    RELOADED_AT.of().set_to_current_time()


def count_call(model: str, outcome: str) -> None:
    """Counts one attempt of a call."""
    UPSTREAM_CALLS.of(model, outcome).inc()


def count_usage(model: str, prompt: int, completion: int, cost: Decimal | None) -> None:
    """Counts what a call used."""
    if prompt:
        TOKENS.of(model, "prompt").inc(prompt)
    if completion:
        TOKENS.of(model, "completion").inc(completion)
    if cost is None:
        UNPRICED.of(model).inc()
    else:
        COST.of(model).inc(float(cost))


def rendered(before: Callable[[], None] = lambda: None) -> bytes:
    """Gives everything in Prometheus' text format. Takes milliseconds with several workers.

    Args:
        before: brings gauges up to date.
    """
    before()
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return generate_latest(_REGISTRY)
    whole = CollectorRegistry()
    MultiProcessCollector(whole, folder)  # type: ignore[no-untyped-call]
    return generate_latest(whole)
