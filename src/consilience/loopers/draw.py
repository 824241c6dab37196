"""Drawing one of several by weight, so that one conversation always draws the same. Pure.

The seed is what stays the same while a conversation grows: the model that it asks for and its first
user message. So each conversation keeps its model, and that model's prefix cache keeps its value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ..chat.request import ChatRequest

_READ = 64 * 1024
"""Characters of the message that count; more would tell nothing more apart."""


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
    hashed = blake2b(request.model.encode("utf-8", "replace"), digest_size=16)
    left = _READ
    for text in _texts(first.get("content")):
        hashed.update(b"\0" + text[:left].encode("utf-8", "replace"))
        left -= len(text) + 1
        if left <= 0:
            break
    return hashed.digest()


def _texts(content: Any) -> Iterator[str]:
    """Every text in a message, an image's address among them, in the order of the message."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping | Sequence):
        for below in content.values() if isinstance(content, Mapping) else content:
            yield from _texts(below)


def _share(seed: bytes, position: int) -> float:
    """A number between 0 and 1, neither included, that looks like chance."""
    digest = blake2b(seed, digest_size=8, salt=position.to_bytes(8, "big")).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
