"""The face of a looper: an algorithm that turns one request into an `Outcome`.

A looper deliberates; it does not deliver. It never sees `stream`, bytes or HTTP. What it returns
is a final request still to be sent, or a completion already in hand, with fallbacks of the same
two kinds. The gateway sends, streams and falls back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import ConsilienceError
from .reasoning import ReasoningSwitch

Stage = Literal["signal", "panel", "judge", "synthesis", "single"]
StageStatus = Literal["ok", "failed", "timeout", "cancelled"]

Ask = Callable[[ChatRequest], Awaitable[Completion]]
"""Asks the model that `request.model` names and gives its whole answer.

Raises only `ConsilienceError`. Cancelling it cancels the upstream call.
"""


class LooperOptions(BaseModel):
    """Base of every looper's own options: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignored_keys: ClassVar[Mapping[str, str]] = {}
    """Keys that the reference knows and we do not act on, each with what is lost by it."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a looper may know of a model."""

    context_window: int | None = None
    """Tokens that prompt and answer may have together; None when not declared."""


@dataclass(frozen=True, slots=True)
class RequestOverrides:
    """What a request may change of a route's own settings."""

    models: Literal["any", "configured_models", "none"] = "configured_models"
    max_panel_size: int = 8
    configured: frozenset[str] = frozenset()
    """Every name that a panel or judge may have under `configured_models`."""
    forbidden: frozenset[str] = frozenset()
    """Slugs and aliases: naming one as panel or judge would be a recursion."""
    reachable: Callable[[str], bool] = field(default=lambda _model: True)
    """Whether any upstream would serve this name."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a decision gives its looper beside the looper's own options."""

    decision: str
    """The decision's name, for traces."""
    models: Sequence[str] = ()
    """The decision's `modelRefs` in order, LoRA names resolved."""
    reasoning: Sequence[ReasoningSwitch | None] = ()
    """What the decision says of the reasoning of each of `models`; empty when of none."""
    weights: Sequence[float] = ()
    """The share of requests that each of `models` gets; empty when they are not drawn."""
    output_contract: str = ""
    output_contract_spec: Mapping[str, Any] | None = None
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
    overrides: RequestOverrides = field(default_factory=RequestOverrides)

    def switch(self, position: int) -> ReasoningSwitch | None:
        """Gives what the decision says of the reasoning of one of its models; None: nothing."""
        return self.reasoning[position] if self.reasoning else None

    def beginning_with(self, position: int) -> Binding:
        """Gives the binding with one of its models first and the others in order, not to be drawn."""
        order = sorted(range(len(self.models)), key=lambda i: i != position)
        return replace(
            self,
            models=tuple(self.models[i] for i in order),
            reasoning=tuple(self.reasoning[i] for i in order) if self.reasoning else (),
            weights=(),
        )


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """Equal upstream calls that a looper would make if all goes well; for dry runs."""

    stage: Stage
    model: str
    conversation: ChatRequest
    """What each would carry of the client's request."""
    count: int = 1
    answer_tokens: int = 0
    """How long each answer is taken to be."""
    added_tokens: int = 0
    """What each prompt is taken to have beside the conversation."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One upstream call that was made, as it stands in the trace."""

    stage: Stage
    model: str
    status: StageStatus
    latency_ms: int
    ttft_ms: int | None = None
    """Milliseconds to the first token; None when the answer came whole."""
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    reason: str | None = None
    """Why it did not succeed: a word of `UpstreamError.reason`."""
    seat: int | None = None
    """The panel seat, from 0."""
    called: bool = True
    """False for a seat that was cancelled while it still waited for its turn, and for an answer that
    was in hand."""
    attempts: int = 1
    """Upstream calls that it became, retries included."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Something that happened while deliberating, for people who watch."""

    event: str
    """`panel_started`, `panel_answered`, `panel_failed`, `judge_started`, `judge_finished` or
    `synthesis_started`."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only. Never an upstream's words of failure, never a key or an address."""


Observer = Callable[[Progress], Awaitable[None]]


class Extension(Protocol):
    """What a looper adds to the client's answer, rendered before and after delivery."""

    def render(self, delivery: Sequence[StageRecord] | None) -> Body | None:
        """Gives the `fusion` object, or None when nothing is to be shown.

        Args:
            delivery: the calls made to deliver the final answer, failed ones included, in order;
                None while the answer has only begun.
        """
        ...

    def degraded(self, delivery: Sequence[StageRecord] | None) -> Sequence[tuple[Stage, str]]:
        """Gives what did not go as configured, as (stage, reason); empty when all went well."""
        ...

    def after(self, before: Sequence[StageRecord]) -> Extension:
        """Gives the same with calls that were made before deliberation."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What deliberation came to."""

    final: ChatRequest | Completion
    """The request still to be sent (its `model` is the model to ask), or the answer itself."""
    fallbacks: Sequence[ChatRequest | Completion] = ()
    """Tried in order when `final` fails before anything was passed on."""
    stage: Stage = "single"
    """What the final call counts as in the trace."""
    records: Sequence[StageRecord] = ()
    """Every call made so far."""
    extension: Extension | None = None
    finish: Callable[[Completion], Completion] | None = None
    """A last edit of the whole answer (an output contract). Such an answer cannot be streamed as
    it comes; the gateway waits for it and then sends it in chunks."""

    def after(self, before: Sequence[StageRecord]) -> Outcome:
        """Gives the same with calls that were made before deliberation."""
        if not before:
            return self
        extension = self.extension.after(before) if self.extension else None
        return replace(self, records=(*before, *self.records), extension=extension)

    @property
    def spent(self) -> Usage:
        """Usage of every call made so far."""
        return sum((r.usage for r in self.records if r.usage), Usage())


OptionsT = TypeVar("OptionsT", bound=LooperOptions)


class Looper(ABC, Generic[OptionsT]):
    """An algorithm bound to its options. Holds no state of a single request."""

    kind: ClassVar[str]
    """`algorithm.type` in a decision, and the name of its options block."""
    Options: ClassVar[type[LooperOptions]]
    plugin_ids: ClassVar[tuple[str, ...]] = ()
    """Ids of the `plugins` entries by which a request overrides this looper's options."""

    def __init__(self, options: OptionsT, binding: Binding) -> None:
        self.options = options
        self.binding = binding

    @property
    def warnings(self) -> Sequence[str]:
        """What of the request was accepted but not acted on; for `x-vsr-response-warnings`."""
        return ()

    def prepare(self, request: ChatRequest) -> Self:
        """Gives this looper as this request has it: with its own overrides, with what was drawn.

        Raises:
            InvalidRequestError: the override is wrong or not allowed; nothing was spent.
        """
        return self

    @property
    def wants_progress(self) -> bool:
        """Whether the request asked to see progress in its stream."""
        return False

    @property
    def width(self) -> int:
        """Upstream calls that this looper may have in flight at once."""
        return 1

    @property
    def calls(self) -> int:
        """Upstream calls that this looper and its delivery may ask for, fallbacks included."""
        return 1

    @property
    def models_used(self) -> Sequence[str]:
        """The models this looper may call, in order, once each; for traces and estimates."""
        return tuple(self.binding.models)

    def plan(self, request: ChatRequest, *, answer_tokens: int) -> Sequence[PlannedCall]:
        """Gives the calls that this request would lead to, in order; makes none.

        Args:
            request: the client's request.
            answer_tokens: how long an answer is taken to be that nothing limits further.
        """
        tokens = expected_tokens(answer_tokens, request_limit(request))
        return [PlannedCall("single", m, request, answer_tokens=tokens) for m in self.models_used]

    @abstractmethod
    async def deliberate(self, request: ChatRequest, ask: Ask, observe: Observer) -> Outcome:
        """Does the work that comes before the final answer.

        Reads the deadline from the enclosing cancel scope. Cancellation stops every call it made.

        Raises:
            ConsilienceError: nothing can be delivered. `spent` says whether money was.
        """


def request_limit(request: ChatRequest) -> int | None:
    """The client's own limit of the answer, in tokens.

    The larger of two: which of them a server reads is not known.
    """
    named = (request.body.get(name) for name in ("max_completion_tokens", "max_tokens"))
    return max(filter(None, named), default=None)


def expected_tokens(usual: int, *limits: int | None) -> int:
    """How long an answer is taken to be: as usual, but not beyond the first limit that is set."""
    limit = next((limit for limit in limits if limit is not None), usual)
    return min(usual, limit)


def ms_since(begun: float) -> int:
    """Whole milliseconds from a moment of the event loop's clock until now."""
    return round((anyio.current_time() - begun) * 1000)


async def observe_nothing(progress: Progress) -> None:
    """An observer for callers that do not watch."""


__all__ = [
    "Ask",
    "Binding",
    "ConsilienceError",
    "Extension",
    "Looper",
    "LooperOptions",
    "ModelFacts",
    "Observer",
    "Outcome",
    "PlannedCall",
    "Progress",
    "RequestOverrides",
    "Stage",
    "StageRecord",
    "expected_tokens",
    "ms_since",
    "observe_nothing",
    "request_limit",
]
