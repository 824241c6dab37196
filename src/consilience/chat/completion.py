"""A whole answer: the upstream's body, what it says, and what it used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from .codec import Body
from .request import text_of

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CACHE_WRITES = ("cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens")
"""How Anthropic, LiteLLM and OpenRouter call prompt tokens that went into a cache."""
THINKING_TAGS = ("think", "thinking", "reasoning")
"""Tags in which models put reasoning in front of their text."""
_THINKING = re.compile(rf"\A\s*<({'|'.join(THINKING_TAGS)})>(.*?)(?:</\1>|\Z)", re.DOTALL)

BESIDE_TEXT = ("tool_calls", "function_call", "refusal", "audio")
"""Fields of a message that say something without any text."""
WITHHELD = "content_filter"
"""Like a refusal, this finish reason is the answer: another model's must not go around a provider's
filter."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, summed over any number of calls with `+`."""

    prompt_tokens: int = 0
    """Tokens read, cached ones included (OpenAI's way of counting)."""
    completion_tokens: int = 0
    """Tokens written, reasoning included."""
    total_tokens: int = 0
    """As reported; summed, not recomputed."""
    prompt_details: Mapping[str, int] = field(default_factory=dict)
    """`prompt_tokens_details`: cached_tokens and whatever else the upstream counts."""
    completion_details: Mapping[str, int] = field(default_factory=dict)
    """`completion_tokens_details`: reasoning_tokens and whatever else the upstream counts."""

    @classmethod
    def from_body(cls, usage: object) -> Usage | None:
        """Reads a `usage` object; None when it is absent or not one, which is not the same as 0."""
        if not isinstance(usage, Mapping):
            return None
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        return cls(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=_count(usage, "total_tokens") or prompt + completion,
            prompt_details=_prompt_details(usage),
            completion_details=_details(usage.get("completion_tokens_details")),
        )

    def __add__(self, other: Usage | None) -> Usage:
        if other is None:
            return self
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            _merged(self.prompt_details, other.prompt_details),
            _merged(self.completion_details, other.completion_details),
        )

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens the upstream did not have to read again."""
        return self.prompt_details.get("cached_tokens", 0)

    @property
    def cache_write_tokens(self) -> int:
        """Prompt tokens the upstream put into its cache, by whichever name it counts them."""
        return max(self.prompt_details.get(name, 0) for name in _CACHE_WRITES)

    def as_body(self) -> dict[str, Any]:
        """Writes the OpenAI `usage` object; details only when something was counted."""
        body: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }
        if self.prompt_details:
            body["prompt_tokens_details"] = dict(self.prompt_details)
        if self.completion_details:
            body["completion_tokens_details"] = dict(self.completion_details)
        return body


@dataclass(frozen=True, slots=True)
class Completion:
    """An upstream's whole answer under the configured name of the model that gave it."""

    body: Body
    """The upstream's JSON object; `choices` is a non-empty array of objects."""
    model: str
    """Configured name, not the upstream's."""
    usage: Usage | None = None
    """None when the upstream did not say."""
    cost_usd: Decimal | None = None
    """None when the price or the usage is unknown; never 0 for unknown."""
    attempts: int = 1
    """Upstream calls it took, retries included."""

    @property
    def choice(self) -> Mapping[str, Any]:
        """The first choice."""
        first: Mapping[str, Any] = self.body["choices"][0]
        return first

    @property
    def message(self) -> Mapping[str, Any]:
        """The first choice's message; empty when it has none."""
        message = self.choice.get("message")
        return message if isinstance(message, Mapping) else _NOTHING

    @property
    def finish_reason(self) -> str | None:
        """The first choice's finish reason."""
        reason = self.choice.get("finish_reason")
        return reason if isinstance(reason, str) else None

    @property
    def truncated(self) -> bool:
        """Whether the answer stopped at a token limit."""
        return self.finish_reason in ("length", "max_tokens")

    @property
    def text(self) -> str:
        """What the model says, without reasoning that it wrote in front of it in tags."""
        return said(self.message)

    @property
    def reasoning(self) -> str:
        """What the model thought, from whichever field or tag the upstream uses."""
        for source in (self.message, self.choice):
            for name in ("reasoning_content", "reasoning"):
                value = source.get(name)
                if isinstance(value, str) and value.strip():
                    return value.strip()
        tagged = _THINKING.match(text_of(self.message))
        return tagged.group(2).strip() if tagged else ""

    @property
    def refusal(self) -> str:
        """The refusal text, if the model refused."""
        value = self.message.get("refusal")
        return value.strip() if isinstance(value, str) else ""

    @property
    def tool_calls(self) -> Sequence[Any]:
        """The first choice's tool calls."""
        calls = self.message.get("tool_calls")
        return calls if isinstance(calls, Sequence) else ()

    def with_text(self, text: str) -> Completion:
        """Gives a copy whose first choice says `text` and nothing else.

        Log probabilities and a `tool_calls` finish reason go: they spoke of what was there before.
        """
        message = {"role": "assistant", "content": text}
        choice = {**self.choice, "message": message}
        choice.pop("logprobs", None)
        if self.finish_reason in ("tool_calls", "function_call"):
            choice["finish_reason"] = "stop"
        body = {**self.body, "choices": [choice, *self.body["choices"][1:]]}
        return Completion(body, self.model, self.usage, self.cost_usd)


def said(message: Mapping[str, Any]) -> str:
    """What a message says, without reasoning that stands in front of it in tags."""
    return _THINKING.sub("", text_of(message), count=1).strip()


def says(message: Mapping[str, Any]) -> bool:
    """Whether a message has anything for its reader: text, a call, a refusal, sound."""
    return bool(said(message)) or any(message.get(name) for name in BESIDE_TEXT)


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _prompt_details(usage: Mapping[str, Any]) -> Mapping[str, int]:
    """The details, with the cache's tokens that some servers count beside them."""
    details = _details(usage.get("prompt_tokens_details"))
    written = _count(usage, _CACHE_WRITES[0])
    return {**details, _CACHE_WRITES[0]: written} if written else details


def _details(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {
        k: v
        for k, v in list(value.items())[:32]
        if isinstance(v, int) and not isinstance(v, bool) and v >= 0
    }


def _merged(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    if not (a and b):
        return a or b
    return {k: a.get(k, 0) + b.get(k, 0) for k in {**a, **b}}
