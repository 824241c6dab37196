"""Requests, answers and a model that plays a script, for the loopers' tests."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio

from consilience.chat.completion import Completion, Usage
from consilience.chat.request import ChatRequest
from consilience.errors import UpstreamStatusError
from consilience.loopers.base import Progress
from consilience.loopers.fusion.panel import PanelResponse

ANALYSIS: Mapping[str, Any] = {
    "consensus": ["Both name Paris."],
    "contradictions": [
        {"topic": "population", "stances": [{"model": "A", "stance": "two million"}]}
    ],
    "partial_coverage": [{"models": ["A", "B"], "point": "history"}],
    "unique_insights": [{"model": "B", "insight": "the river"}],
    "blind_spots": ["the climate"],
}
ANALYSIS_TEXT = json.dumps(ANALYSIS)
USAGE = Usage(10, 5, 15)


def asking(text: Any = "What is the capital of France?", **fields: Any) -> ChatRequest:
    """A client's request with one user turn."""
    messages = [{"role": "user", "content": text}]
    return ChatRequest.from_body({"model": "vllm-sr/fusion", "messages": messages, **fields})


def answered(
    model: str,
    text: str | None,
    *,
    usage: Usage | None = USAGE,
    cost: str | None = None,
    message: Mapping[str, Any] | None = None,
    **choice: Any,
) -> Completion:
    """A whole answer."""
    said = {"role": "assistant", "content": text, **(message or {})}
    body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop", **choice}]}
    return Completion(body, model, usage, Decimal(cost) if cost is not None else None)


def status_error(
    model: str, status: int, *, retry_after: float | None = None, param: str | None = None
) -> UpstreamStatusError:
    """What `ask` raises when a model answers with an error status."""
    return UpstreamStatusError(
        f"answered with status {status}",
        model=model,
        status_code=status,
        retry_after_s=retry_after,
        rejected_param=param,
    )


def responses(*texts: str, models: Sequence[str] = ()) -> list[PanelResponse]:
    """Panel responses in seat order, models named m0, m1, …"""
    names = models or [f"m{i}" for i in range(len(texts))]
    return [
        PanelResponse(
            seat=i,
            model=name,
            text=text,
            reasoning="",
            truncated=False,
            completion=answered(name, text),
            latency_ms=0,
        )
        for i, (name, text) in enumerate(zip(names, texts, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class After:
    """An answer or an error that takes its time; `math.inf` never comes."""

    seconds: float
    what: Any = "late"


@dataclass(slots=True)
class Models:
    """An `Ask`: plays what is scripted for each model and notes what it was asked.

    A script is a text, a `Completion`, an exception, an `After`, a function of the request, or a
    list of these, one for each call.
    """

    script: Mapping[str, Any] | Callable[[ChatRequest], Any]
    calls: list[ChatRequest] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    cancelled: list[str] = field(default_factory=list)

    def asked_of(self, model: str) -> list[ChatRequest]:
        return [call for call in self.calls if call.model == model]

    async def __call__(self, request: ChatRequest) -> Completion:
        self.calls.append(request)
        reply = self._reply(request)
        seconds = 0.0
        if isinstance(reply, After):
            seconds, reply = reply.seconds, reply.what
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await (anyio.sleep_forever() if math.isinf(seconds) else anyio.sleep(seconds))
        except BaseException:
            self.cancelled.append(request.model)
            raise
        finally:
            self.running -= 1
        if isinstance(reply, BaseException):
            raise reply
        return reply if isinstance(reply, Completion) else answered(request.model, reply)

    def _reply(self, request: ChatRequest) -> Any:
        if not isinstance(self.script, Mapping):
            return self.script(request)
        reply = self.script[request.model]
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, list):
            reply = reply[len(self.asked_of(request.model)) - 1]
        return reply


@dataclass(slots=True)
class Watcher:
    """An observer that notes everything."""

    seen: list[Progress] = field(default_factory=list)

    async def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)

    @property
    def events(self) -> list[str]:
        return [progress.event for progress in self.seen]
