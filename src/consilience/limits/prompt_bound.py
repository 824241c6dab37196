"""The most tokens that a prompt can have, whatever tokenizer reads it. Pure.

A tokenizer that works on bytes makes at most one token of a byte, so the size of what is sent is a
bound that no text breaks. Usual text has a quarter of it; what is not used goes back when the
call is settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chat.codec import encode
from ..chat.request import ChatRequest, Message

MEDIA_TOKENS = 49_152
"""Of one picture, sound or file at most: the dearest known, a detailed picture for gpt-4o-mini, has
48,169."""
TEMPLATE_TOKENS = 256
"""What a model's template puts around a conversation: marks, the date, a standing instruction."""
TOOL_TEMPLATE_TOKENS = 1024
"""What it puts around tools: how to call them."""
MESSAGE_TOKENS = 8
"""The marks around one message, beside its fields."""
_NO_PROMPT = frozenset(
    (
        *("messages", "model", "n", "best_of", "max_tokens", "max_completion_tokens"),
        *("stream", "stream_options", "metadata", "logit_bias", "user", "safety_identifier"),
        *("prompt_cache_key", "service_tier", "plugins"),
    )
)
"""Fields that no template reads. All others may end up in the prompt."""
_PICTURES: Mapping[object, str] = {"image_url": "image_url", "input_image": "image_url"}
"""Parts whose size is no measure of their tokens: their type, and the field with the picture."""


def prompt_bound(request: ChatRequest) -> int:
    """Gives a number of tokens that the request's prompt does not exceed."""
    body = request.body
    others = {name: value for name, value in body.items() if name not in _NO_PROMPT}
    tools = TOOL_TEMPLATE_TOKENS if body.get("tools") or body.get("functions") else 0
    return TEMPLATE_TOKENS + tools + size_of(others) + sum(map(_of_message, request.messages))


def size_of(value: Any) -> int:
    """Gives the bytes of a value: of a text as it is, of anything else as JSON; of None 0."""
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return len(encode(value))


def _of_message(message: Message) -> int:
    content = message.get("content")
    rest = {name: value for name, value in message.items() if name != "content"}
    if content is None or isinstance(content, str):
        return MESSAGE_TOKENS + size_of(rest) + size_of(content)
    return MESSAGE_TOKENS + size_of(rest) + sum(map(_of_part, content))


def _of_part(part: Mapping[str, Any]) -> int:
    if part.keys() <= {"type", "text"} and part["type"] == "text":
        return size_of(part)
    picture = _PICTURES.get(part["type"])
    rest = {name: value for name, value in part.items() if name != picture}
    return MEDIA_TOKENS + size_of(rest)
