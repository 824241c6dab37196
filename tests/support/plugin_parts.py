"""Plugins bound to options, and requests for them."""

from __future__ import annotations

from typing import Any

from consilience.chat.request import ChatRequest
from consilience.plugins import PLUGINS
from consilience.plugins.base import PluginBinding

KINDS = {plugin.kind: plugin for plugin in PLUGINS}


def plugin(kind: str, binding: PluginBinding | None = None, /, **configuration: Any) -> Any:
    """A plugin of a kind with this configuration."""
    options = KINDS[kind].Options.model_validate(configuration)
    return KINDS[kind](options, binding or PluginBinding(decision="d"))


def request(*messages: Any, **fields: Any) -> ChatRequest:
    """A checked request; a message that is a text is the user's."""
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return ChatRequest.from_body({"model": "auto", "messages": turns, **fields})


def system(text: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": text}
