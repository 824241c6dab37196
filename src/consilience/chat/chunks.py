"""Stream chunks: a whole completion in chunks, and a relay that makes any upstream's stream strict.

What clients need (measured on openai-python, LangChain, LlamaIndex, openai-node, AI SDK): one id,
`created` and `model` throughout, a role in each choice's first chunk, an integer `index`, a
`delta` that is an object, exactly one finish reason per choice, usage only at the very end and only
if asked for, no `error` key, nothing afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .codec import Body
from .completion import Completion, Usage

OBJECT = "chat.completion.chunk"
_NOT_RELAYED = frozenset(
    ("usage", "fusion", "error", "choices", "id", "object", "created", "model")
)
_OF_THE_WHOLE = frozenset(("index", "message", "finish_reason"))


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all chunks of one answer share."""

    id: str
    created: int
    """Unix seconds."""
    model: str

    def chunk(self, **fields: Any) -> dict[str, Any]:
        """A chunk with these fields."""
        return {
            "id": self.id,
            "object": OBJECT,
            "created": self.created,
            "model": self.model,
            **fields,
        }


@dataclass(slots=True)
class ChunkRelay:
    """Passes on one upstream stream; holds what must be remembered between chunks."""

    stamp: Stamp
    usage: Usage | None = None
    """The last usage the upstream reported (some report it in every chunk, cumulatively)."""
    roles: set[int] = field(default_factory=set)
    """The choices that the client knows the role of; from another's stream, too, that ended
    without an answer."""
    _finished: set[int] = field(default_factory=set)
    _calls: dict[int, list[int]] = field(default_factory=dict)
    """Choice -> the `index` of each of its tool calls, in the order in which they began."""

    def relay(self, chunk: Body) -> dict[str, Any] | None:
        """Gives the chunk to send; None when the upstream's has nothing for the client."""
        self.usage = Usage.from_body(chunk.get("usage")) or self.usage
        given = chunk.get("choices")
        choices = [
            c for c in map(self._choice, given if isinstance(given, list | tuple) else ()) if c
        ]
        if not choices:
            return None
        extra = {k: v for k, v in chunk.items() if k not in _NOT_RELAYED and v is not None}
        return self.stamp.chunk(choices=choices, **extra)

    def closing(self) -> dict[str, Any] | None:
        """Gives a chunk that ends the choices which the upstream left without a finish reason."""
        left = sorted(self.roles - self._finished)
        if not left:
            return None
        choices: list[dict[str, Any]] = [
            {"index": i, "delta": {}, "finish_reason": "tool_calls" if i in self._calls else "stop"}
            for i in left
        ]
        self._finished.update(left)
        return self.stamp.chunk(choices=choices)

    def _choice(self, raw: object) -> dict[str, Any] | None:
        if not isinstance(raw, Mapping):
            return None
        index = raw.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else 0
        if index in self._finished:
            return None
        delta = raw.get("delta")
        delta = dict(delta) if isinstance(delta, Mapping) else {}
        reason = raw.get("finish_reason") or None
        calls = self._numbered(delta.pop("tool_calls", None), index)
        if calls:
            delta["tool_calls"] = calls
        news = any(value for name, value in delta.items() if name != "role")
        if not (news or reason or raw.get("logprobs")):
            return None
        if index not in self.roles:
            self.roles.add(index)
            delta = {**delta, "role": "assistant"}
            delta.setdefault("content", "")
        else:
            delta.pop("role", None)
        if reason:
            self._finished.add(index)
            reason = "tool_calls" if reason == "stop" and index in self._calls else reason
        return {**raw, "index": index, "delta": delta, "finish_reason": reason}

    def _numbered(self, calls: object, choice: int) -> list[Any]:
        """The tool calls of one delta, each with an integer `index`.

        Where the upstream gives none, a piece with an `id` begins the next call and one without
        continues the last.
        """
        if not isinstance(calls, list):
            return []
        numbered = []
        for call in calls:
            if not isinstance(call, Mapping):
                continue
            begun = self._calls.setdefault(choice, [])
            index = call.get("index")
            if not isinstance(index, int) or isinstance(index, bool):
                index = max(begun) + 1 if call.get("id") and begun else (begun or [0])[-1]
            if index not in begun:
                begun.append(index)
            numbered.append({**call, "index": index})
        return numbered


def as_chunks(completion: Completion) -> Iterator[Body]:
    """Gives a whole completion as the chunks an upstream would have sent: text, then the end."""
    extra = {k: v for k, v in completion.body.items() if k not in _NOT_RELAYED and v is not None}
    for position, choice in enumerate(completion.body["choices"]):
        index = choice.get("index") if isinstance(choice.get("index"), int) else position
        message = choice.get("message")
        delta = dict(message) if isinstance(message, Mapping) else {}
        if isinstance(delta.get("tool_calls"), Sequence):
            delta["tool_calls"] = _indexed(delta["tool_calls"])
        own = {k: v for k, v in choice.items() if k not in _OF_THE_WHOLE and v is not None}
        reason = choice.get("finish_reason") or "stop"
        yield {"choices": [{**own, "index": index, "delta": delta, "finish_reason": None}], **extra}
        yield {"choices": [{"index": index, "delta": {}, "finish_reason": reason}], **extra}
    if completion.usage is not None:
        yield {"choices": [], "usage": completion.usage.as_body()}


def finished_choices(body: Body) -> list[Any]:
    """The choices of a whole answer; one with tool calls that says `stop` says `tool_calls`."""
    choices = []
    for position, choice in enumerate(body["choices"]):
        fixed = dict(choice)
        fixed.setdefault("index", position)
        message = choice.get("message")
        called = isinstance(message, Mapping) and message.get("tool_calls")
        if called and choice.get("finish_reason") in ("stop", None):
            fixed["finish_reason"] = "tool_calls"
        choices.append(fixed)
    return choices


def _indexed(calls: object) -> list[Any]:
    """Tool calls each with an integer `index`, which two clients cannot do without."""
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        return []
    return [
        {**call, "index": call["index"] if isinstance(call.get("index"), int) else i}
        for i, call in enumerate(calls)
        if isinstance(call, Mapping)
    ]
