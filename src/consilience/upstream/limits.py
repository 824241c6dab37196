"""The bounds of one upstream call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one upstream call."""

    connect_s: float = 3.0
    """For name resolution, the connection and its encryption together."""
    first_byte_s: float = 60.0
    """From the request to the first event of a stream. An answer asked for whole comes when it is
    finished: `total_s` bounds that."""
    idle_s: float = 60.0
    """Longest time without an event of a stream. Comments do not count as events."""
    total_s: float = 1200.0
    max_body_bytes: int = 32 << 20
    """Of a whole answer, or of all events of a stream together."""
    max_event_bytes: int = 1 << 20
    logs_refusals: bool = False
    """Whether what an upstream says with an error status is logged, at debug level: it often repeats
    the prompt."""
