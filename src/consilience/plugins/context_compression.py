"""Plugin `context_compression`: shortens long tool outputs once a conversation is long.

When the conversation's estimate passes `budget.trigger_tokens` (`auto`: three quarters of the
smallest context window declared of the decision's models, or the window less what is reserved for
the answer; without a declared window nothing is done), tool outputs of at least `min_tokens` are
shortened to `target_tokens`, the oldest first, until the conversation is within
`budget.target_tokens` (`auto`: the trigger). What stays of an output is its beginning, its end and
what speaks of the last user message (`extract.py`); each cut is marked. JSON stays JSON: only its
texts are shortened. System, user and assistant messages and media are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from ..chat.codec import decode, encode
from ..chat.request import ChatRequest, Message, text_of
from ..rules.misfit import MisfitError
from .base import Count, Editor, PluginOptions
from .extract import Extractor, question_words, tokens_of

TRIGGER_SHARE = 0.75
_MESSAGE_TOKENS = 4
_TOOL_ROLES = ("tool", "function")
JSON_CHARS = 1 << 20
"""The longest JSON that is taken apart."""
_LEAF_TOKENS = 32
"""Texts in JSON that are shorter stay whole."""


def _tokens(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('must be a whole number of at least 1, or "auto"')


Mode = Literal["preserve", "extractive", "recoverable"]
Tokens = Annotated[int | Literal["auto"], BeforeValidator(_tokens)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Block):
    """`budget`: of the whole conversation, in tokens."""

    trigger_tokens: Tokens = "auto"
    """Above it something is shortened; `auto`: three quarters of the smallest context window of the
    decision's models, less where the answer needs more room."""
    target_tokens: Tokens = "auto"
    """How long it is to become; `auto`: as `trigger_tokens`."""
    reserve_output_tokens: Tokens = "auto"
    """Kept free for the answer; `auto`: what the request asks for."""


class ToolOutputs(_Block):
    """`targets.tool_outputs`: of each tool output, in tokens."""

    mode: Mode = "extractive"
    """`preserve` leaves them alone; the others leave out what has least to do with the question."""
    min_tokens: Count = 2000
    """Shorter ones stay as they are."""
    target_tokens: Count = 1000
    """How long a shortened one may be; below `min_tokens`."""

    @model_validator(mode="after")
    def _gets_shorter(self) -> ToolOutputs:
        if self.target_tokens >= self.min_tokens:
            raise MisfitError(
                f"target_tokens is {self.target_tokens}; it must be below min_tokens,"
                f" {self.min_tokens}",
                "target_tokens",
                "min_tokens",
            )
        return self


class History(_Block):
    """`targets.history`: the turns before the last one."""

    mode: Mode = "preserve"
    """They are left alone, whatever it says."""


class Targets(_Block):
    """`targets`: what is shortened."""

    tool_outputs: ToolOutputs = ToolOutputs()
    history: History = History()


class Scoring(_Block):
    """`scoring`: how lines are ranked."""

    method: Literal["bm25", "embedding", "hybrid"] = "bm25"
    """All work as `bm25`: by the words shared with the last user message."""


class ContextCompressionOptions(PluginOptions):
    """`configuration` of a `context_compression`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "targets.rag": "nothing is retrieved into the prompt",
        "targets.memory": "nothing is remembered of users",
        "scoring.embedding_model_ref": "lines are ranked by their words",
        "recovery": "what was left out cannot be asked for again",
        "request_controls": "a request cannot say how it is compressed",
    }

    mode: Literal["auto"] = "auto"
    """`auto`: only conversations that are too long."""
    budget: Budget = Budget()
    targets: Targets = Targets()
    scoring: Scoring = Scoring()
    failure_mode: Literal["fail_open", "fail_closed"] = "fail_open"
    """Both work as `fail_open`: what cannot be shortened is sent as it is."""

    def warnings(self) -> Sequence[str]:
        told = []
        if self.targets.tool_outputs.mode == "recoverable":
            told.append("`tool_outputs` are shortened for good: nothing is kept for recovery")
        if self.targets.history.mode != "preserve":
            told.append("`history` is preserved: only tool outputs are shortened")
        if self.scoring.method != "bm25":
            told.append(f"`method` {self.scoring.method} works as bm25: lines are ranked by words")
        if self.failure_mode == "fail_closed":
            told.append("`failure_mode` fail_closed is not acted on: what fails is sent as it is")
        return told


class ContextCompression(Editor[ContextCompressionOptions]):
    """Shorter tool outputs in long conversations."""

    kind: ClassVar[str] = "context_compression"
    Options: ClassVar[type[PluginOptions]] = ContextCompressionOptions

    def edit(self, request: ChatRequest) -> ChatRequest:
        outputs, trigger = self.options.targets.tool_outputs, self._trigger(request)
        if outputs.mode == "preserve" or trigger is None:
            return request
        total = conversation_tokens(request)
        if total <= trigger:
            return request
        target = self.options.budget.target_tokens
        excess = total - (trigger if target == "auto" else target)
        extractor = Extractor(question_words(request.user_text))
        messages = list(request.messages)
        for position, message in enumerate(messages):
            if excess <= 0:
                break
            before = tokens_of(text_of(message))
            if message["role"] not in _TOOL_ROLES or before < outputs.min_tokens:
                continue
            shorter = _shortened(message, extractor, outputs.target_tokens / before)
            saved = before - tokens_of(text_of(shorter))
            if saved > 0:
                messages[position] = shorter
                excess -= saved
        return request.replace(messages=messages)

    def effect(self, request: ChatRequest) -> str:
        trigger = self._trigger(request)
        if trigger is None:
            return "is off: no model of the decision has a context_window_size"
        before, after = conversation_tokens(request), conversation_tokens(self.edit(request))
        if before <= trigger:
            return f"changes nothing up to {trigger:,} tokens; these are about {before:,}"
        return f"shortens tool outputs: about {before:,} tokens become {after:,}"

    def _trigger(self, request: ChatRequest) -> int | None:
        """The tokens from which on a conversation is too long; None: never."""
        budget, window = self.options.budget, self.binding.context_window
        if budget.trigger_tokens != "auto":
            return budget.trigger_tokens
        if window is None:
            return None
        reserved = budget.reserve_output_tokens
        if reserved == "auto":
            asked = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
            reserved = asked or 0
        return max(min(int(window * TRIGGER_SHARE), window - reserved), 0)


def conversation_tokens(request: ChatRequest) -> int:
    """About how many tokens the conversation and the tools that it offers have, without media."""
    total = 0
    for message in request.messages:
        total += _MESSAGE_TOKENS + tokens_of(text_of(message))
        if message.get("tool_calls"):
            total += len(encode(message["tool_calls"])) // 4
    tools = request.body.get("tools")
    return total + (len(encode(tools)) // 4 if tools else 0)


def _shortened(message: Message, extractor: Extractor, share: float) -> Message:
    """The message with each of its texts shortened to a share of it."""

    def shorten(text: str) -> str:
        tokens = max(int(tokens_of(text) * share), 1)
        as_json = _shorter_json(text, extractor, tokens)
        return extractor.extract(text, tokens) if as_json is None else as_json

    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": shorten(content)}
    parts = [
        {**part, "text": shorten(part["text"])} if isinstance(part.get("text"), str) else part
        for part in content or ()
    ]
    return {**message, "content": parts}


def _shorter_json(text: str, extractor: Extractor, tokens: int) -> str | None:
    """JSON with its long texts shortened, if it has such; None when it is no JSON."""
    if len(text) > JSON_CHARS or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = decode(text.encode("utf-8", "replace"))
        long = sum(n for n in map(tokens_of, _leaves(value)) if n > _LEAF_TOKENS)
        room = tokens - (tokens_of(text) - long)
        if not long or room >= long:
            return text

        def shorten(leaf: str) -> str:
            limit = int(tokens_of(leaf) * max(room, 0) / long)
            return extractor.extract(leaf, max(limit, _LEAF_TOKENS))

        return encode(_with_leaves(value, shorten)).decode()
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a JSON value, keys left aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)


def _with_leaves(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with each of its leaves changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_with_leaves(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _with_leaves(item, change) for key, item in value.items()}
    return value
