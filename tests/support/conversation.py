"""Requests for tests of signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consilience.chat.request import ChatRequest
from consilience.signals.base import RequestFacts


def facts(*messages: Any, headers: Mapping[str, str] | None = None, **fields: Any) -> RequestFacts:
    """Facts of a request; a message that is a text is the user's."""
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return RequestFacts(ChatRequest({"model": "m", "messages": turns, **fields}), headers)
