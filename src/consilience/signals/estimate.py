"""How many tokens a request needs, estimated from its size: no tokenizer, no model named yet.

Source: the reference's request envelope. It errs on the high side, because the figure decides
whether a request fits a model.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..chat.codec import encode
from ..chat.request import ChatRequest, Message, text_of

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 8192
"""Per image, whatever its size; audio, video and file parts count the same."""
MESSAGE_TOKENS = 4
TOOL_TOKENS = 8
"""Framing per tool definition and per tool call."""

_STRUCTURED = ("tools", "functions", "response_format")


def estimate_tokens(request: ChatRequest) -> int:
    """Gives the tokens of prompt and answer together.

    Text counts a token per 4 bytes of UTF-8, rounded up. Tool definitions, tool calls and schemas
    count one per byte of compact JSON, as they tokenize badly. Media, framing and the answer's
    requested maximum are added.
    """
    body = request.body
    text_bytes = other = 0
    for message in request.messages:
        text_bytes += len(text_of(message).encode("utf-8", "replace"))
        other += MESSAGE_TOKENS + _tool_call_tokens(message) + _media_tokens(message)
    for name in _STRUCTURED:
        if body.get(name):
            other += len(encode(body[name]))
    other += TOOL_TOKENS * (_count(body.get("tools")) + _count(body.get("functions")))
    return -(-text_bytes // BYTES_PER_TOKEN) + other + _requested_output(body)


def _count(value: object) -> int:
    """How many there are; what is no list is left for the model's server to refuse."""
    return len(value) if isinstance(value, list | tuple) else 0


def _media_tokens(message: Message) -> int:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return 0
    return IMAGE_TOKENS * sum(1 for part in content if not isinstance(part.get("text"), str))


def _tool_call_tokens(message: Message) -> int:
    calls = message.get("tool_calls")
    count = len(calls) if isinstance(calls, list | tuple) else 0
    tokens = (TOOL_TOKENS * count + len(encode(calls))) if count else 0
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        tokens += TOOL_TOKENS + len(encode(legacy))
    return tokens


def _requested_output(body: Mapping[str, object]) -> int:
    value = body.get("max_completion_tokens") or body.get("max_tokens")
    return value if isinstance(value, int) else 0
