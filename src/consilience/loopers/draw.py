"""Drawing one of several by weight, so that one conversation always draws the same. Pure.

The seed is what stays the same while a conversation grows: the model that it asks for and its first
user message. So each conversation keeps its model, and that model's prefix cache keeps its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from ..chat.codec import encode
from ..chat.request import ChatRequest

_READ = 64 * 1024
"""Bytes of the message that count; more would tell nothing more apart."""


def draw(weights: Sequence[float], seed: bytes) -> int:
    """Gives a position, drawn in proportion to the weights; the same for the same seed.

    Each position draws a number of its own (the Gumbel-max trick), so that changing one weight
    moves only conversations to or from that position.

    Args:
        weights: at least one above 0; a position of weight 0 is never drawn.
        seed: equal seeds draw equally.
    """
    positions = (i for i, weight in enumerate(weights) if weight > 0)
    return max(positions, key=lambda i: math.log(weights[i]) - math.log(-math.log(_share(seed, i))))


def conversation_seed(request: ChatRequest) -> bytes:
    """Gives what is the same for every request of one conversation: 16 bytes."""
    messages = request.messages
    first = next((m for m in messages if m["role"] == "user"), messages[0])
    hashed = blake2b(request.model.encode("utf-8", "replace") + b"\0", digest_size=16)
    hashed.update(_read(first.get("content"))[:_READ])
    return hashed.digest()


def _read(content: object) -> bytes:
    if isinstance(content, str):
        return content[:_READ].encode("utf-8", "replace")
    try:
        return encode(content)
    except ValueError:  # what is no JSON cannot be sent either: the upstream will say so
        return b""


def _share(seed: bytes, position: int) -> float:
    """A number between 0 and 1, neither included, that looks like chance."""
    digest = blake2b(seed, digest_size=8, salt=position.to_bytes(8, "big")).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
