"""What the gateway hands out: whole replies, events of a stream, and the headers of both. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .chat.codec import Body
from .chat.completion import Usage
from .loopers.base import Outcome, Progress, StageRecord
from .router import Route

SCHEMA_VERSION = "2"
_UNSAFE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    body: Body
    """An OpenAI `chat.completion`, with the `fusion` trace where it is due."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """`x-vsr-…`: which decision, which model, what was degraded."""

    @property
    def text(self) -> str:
        """The first choice's text; empty for a tool call or a refusal."""
        content = self.body["choices"][0]["message"].get("content")
        return content if isinstance(content, str) else ""

    @property
    def fusion(self) -> Mapping[str, Any] | None:
        """The trace, when there is one."""
        return self.body.get("fusion")


@dataclass(frozen=True, slots=True)
class Routed:
    """The request has its route; nothing was asked yet."""

    headers: Mapping[str, str]
    """What is known of the response's headers."""
    shows_progress: bool = False
    """Whether the request asked to see progress in its stream."""
    id: str = ""
    """The answer's id (`chatcmpl-…`), known before the answer is."""
    created: int = 0
    """Unix seconds."""
    model: str = ""
    """As requested; the answer's chunks name who writes it."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The answer begins: from here on failures can only break the stream."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One `chat.completion.chunk`, ready to be sent."""

    body: Body

    @property
    def text(self) -> str:
        """The first choice's new text."""
        choices = self.body["choices"]
        return (choices[0]["delta"].get("content") or "") if choices else ""


Event = Routed | Progress | Begin | Chunk
"""What a stream consists of: `Routed`, any number of `Progress`, one `Begin`, then chunks."""


def response_headers(
    route: Route,
    outcome: Outcome,
    model: str,
    delivery: Sequence[StageRecord],
    *,
    debug: bool,
    latency_ms: int,
    usage: Usage | None = None,
) -> dict[str, str]:
    """Gives the `x-vsr-…` headers of an answer.

    Args:
        route: how the request was routed.
        outcome: what deliberation came to.
        model: who answers.
        delivery: calls made to deliver, failed ones included.
        debug: whether the request asked for the looper's own headers.
        latency_ms: time since the request came in.
        usage: the sum over all calls, when it is known already.
    """
    deliberated = outcome.stage == "synthesis"
    headers = route_headers(route)
    if model != route.requested or route.recipe is None:  # a slug is nobody's name
        headers["x-vsr-selected-model"] = model
    if outcome.extension is not None:
        degraded = outcome.extension.degraded(delivery or None)
    else:
        degraded = [(r.stage, r.reason) for r in delivery if r.reason is not None]
    if degraded:
        headers["x-vsr-degraded"] = "; ".join(f"{stage}={reason}" for stage, reason in degraded)
    if debug and deliberated:
        headers |= _looper_headers(route, outcome, model, delivery, latency_ms, usage)
    if debug:
        headers |= _matched_headers(route)
    return {name: safe(value) for name, value in headers.items()}


def route_headers(route: Route) -> dict[str, str]:
    """Gives the headers that are known once a request has its route."""
    headers = {
        "x-vsr-schema-version": SCHEMA_VERSION,
        "x-vsr-response-path": "upstream" if route.algorithm == "static" else "looper",
        "x-vsr-request-model": route.requested,
    }
    if route.recipe is not None:
        headers["x-vsr-selected-recipe"] = route.recipe
    if route.decision is not None:
        headers |= {
            "x-vsr-selected-decision": route.decision,
            "x-vsr-selected-confidence": f"{route.confidence:.4f}",
            "x-vsr-selected-algorithm": route.algorithm,
        }
    if route.warnings:
        headers["x-vsr-response-warnings"] = "; ".join(route.warnings)
    failed = [
        f"{key.kind}:{key.name}" for key, found in (route.signals or {}).items() if found.error
    ]
    if failed:
        headers["x-vsr-failed-signals"] = ", ".join(failed)
    headers |= route.headers
    return {name: safe(value) for name, value in headers.items()}


def safe(value: str) -> str:
    """A header value from a configured name: what HTTP does not allow becomes `?`."""
    return _UNSAFE.sub("?", value)[:1024]


def _looper_headers(
    route: Route,
    outcome: Outcome,
    model: str,
    delivery: Sequence[StageRecord],
    latency_ms: int,
    usage: Usage | None,
) -> dict[str, str]:
    records = [r for r in (*outcome.records, *delivery) if r.called and r.stage != "signal"]
    used = dict.fromkeys([*(r.model for r in records), model])
    headers = {
        "x-vsr-looper-model": model,
        "x-vsr-looper-models-used": ",".join(used),
        "x-vsr-looper-iterations": str(len(records)),
        "x-vsr-looper-algorithm": route.algorithm,
        "x-vsr-looper-latency-ms": str(latency_ms),
    }
    if usage is not None:
        headers |= {
            "x-vsr-looper-prompt-tokens": str(usage.prompt_tokens),
            "x-vsr-looper-completion-tokens": str(usage.completion_tokens),
            "x-vsr-looper-total-tokens": str(usage.total_tokens),
        }
    return headers


def _matched_headers(route: Route) -> dict[str, str]:
    matched: dict[str, list[str]] = {}
    for key, result in (route.signals or {}).items():
        if result.matched:
            matched.setdefault(key.kind, []).append(key.name)
    return {f"x-vsr-matched-{kind}": ",".join(names) for kind, names in matched.items()}
