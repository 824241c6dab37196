"""Signal `conversation`: the shape of the conversation, counted from roles, tools and images.

Config: `routing.signals.conversation`. Sources of `count` and `exists`:

- `message`: messages of a `role`; `non_user` is everybody but the user, no role is everybody. A
  message of the old role `function` counts as `tool`.
- `tool_definition`: tools that the request offers (`tools` and the old `functions`).
- `assistant_tool_call`: calls that assistant messages made.
- `assistant_tool_cycle`: assistant messages with calls that a tool's result follows.
- `active_tool_loop`: 1 while a tool's result waits for the assistant, or a call for its result.
- `image_content`: image parts, of a `role` when one is given.

No text is read. Messages are counted once for all rules; of a message's parts the first
`MAX_PARTS` are looked at. Confidence is always 1. A `count` without a predicate always matches,
as in the reference: it is there for the predicates of conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from ..chat.request import ChatRequest, Message
from ..rules.misfit import MisfitError
from ..rules.predicate import Predicate
from .base import PureSignal, RequestFacts, SignalResult, SignalRule

MAX_PARTS = 1000
"""Content parts of one message that are looked at."""

Source = Literal[
    "message",
    "tool_definition",
    "assistant_tool_call",
    "assistant_tool_cycle",
    "active_tool_loop",
    "image_content",
]
Role = Literal["user", "assistant", "system", "developer", "tool", "non_user", ""]

_IMAGE_TYPES = ("image_url", "input_image", "image")
_WITH_ROLE = ("message", "image_content")


class ConversationSource(BaseModel):
    """What is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Source
    """What of the conversation."""
    role: Role = ""
    """For messages and images: whose. Empty: everybody's."""

    @model_validator(mode="after")
    def _role_has_a_meaning(self) -> ConversationSource:
        if self.role and self.type not in _WITH_ROLE:
            message = f"role goes with {' and '.join(_WITH_ROLE)}, not with {self.type}"
            raise MisfitError(message, "role", "type")
        return self


class ConversationFeature(BaseModel):
    """How it is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["count", "exists"]
    """How many, or whether any."""
    source: ConversationSource


class ConversationRule(SignalRule):
    """One entry of `routing.signals.conversation`."""

    feature: ConversationFeature
    predicate: Predicate | None = None
    """Range of the count; not with `exists`."""

    @model_validator(mode="after")
    def _exists_has_no_range(self) -> ConversationRule:
        if self.feature.type == "exists" and self.predicate is not None:
            raise MisfitError(
                "`exists` takes no predicate; use `count`", "predicate", "feature.type"
            )
        return self

    def warnings(self) -> Sequence[str]:
        if self.feature.type == "count" and self.predicate is None:
            return (f"rule {self.name!r} counts without a predicate: it always matches",)
        return ()

    def matches(self, count: int) -> bool:
        """Whether this many are what the rule asks for."""
        if self.feature.type == "exists":
            return count > 0
        return self.predicate is None or self.predicate.holds(count)


class Conversation(PureSignal[ConversationRule]):
    """Roles, tools and images of the conversation."""

    kind: ClassVar[str] = "conversation"
    config_key: ClassVar[str] = "conversation"
    Rule: ClassVar[type[SignalRule]] = ConversationRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        counts = count_conversation(facts.request)
        results = {}
        for rule in self.rules:
            source = rule.feature.source
            count = counts.get((source.type, source.role), 0)
            results[rule.name] = SignalResult(rule.matches(count), value=float(count))
        return results


Counts = dict[tuple[str, str], int]


def count_conversation(request: ChatRequest) -> Counts:
    """Counts what rules may ask for, under source and role; what is not there is none."""
    messages = request.messages
    counts: Counts = {}
    roles: dict[str, int] = {}
    for message in messages:
        role = _role(message)
        roles[role] = roles.get(role, 0) + 1
        if not isinstance(message.get("content"), str):
            _add(counts, "image_content", role, _images(message))
    for role, count in roles.items():
        _add(counts, "message", role, count)
    calls, cycles = _tool_use(messages) if "assistant" in roles else (0, 0)
    waits = calls > roles.get("tool", 0) or _ends_in_a_result(messages)
    counts["assistant_tool_call", ""] = calls
    counts["assistant_tool_cycle", ""] = cycles
    counts["active_tool_loop", ""] = int(waits)
    offered = [request.body.get(name) for name in ("tools", "functions")]
    counts["tool_definition", ""] = sum(len(t) for t in offered if isinstance(t, list | tuple))
    return counts


def _tool_use(messages: Sequence[Message]) -> tuple[int, int]:
    """How many calls assistants made, and how many of their messages with calls got a result."""
    calls = cycles = 0
    waits = False
    for message in messages:
        made = _calls(message)
        if waits and _role(message) == "tool":
            cycles += 1
        calls += made
        waits = made > 0
    return calls, cycles


def _add(counts: Counts, source: str, role: str, count: int) -> None:
    if count:
        for each in (role, "") if role == "user" else (role, "", "non_user"):
            counts[source, each] = counts.get((source, each), 0) + count


def _role(message: Message) -> str:
    role = str(message["role"])
    return "tool" if role == "function" else role


def _calls(message: Message) -> int:
    """Tool calls of an assistant message."""
    if message["role"] != "assistant":
        return 0
    calls, legacy = message.get("tool_calls"), message.get("function_call")
    if calls is None and legacy is None:
        return 0
    return (len(calls) if isinstance(calls, list | tuple) else 0) + isinstance(legacy, Mapping)


def _images(message: Message) -> int:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return 0
    return sum(1 for part in content[:MAX_PARTS] if part.get("type") in _IMAGE_TYPES)


def _ends_in_a_result(messages: Sequence[Message]) -> bool:
    """Whether a tool's result is the last word, or the last before the user's last one."""
    if _role(messages[-1]) == "tool":
        return True
    for i in range(len(messages) - 1, 0, -1):
        if messages[i]["role"] == "user":
            return _role(messages[i - 1]) == "tool"
    return False
