"""Plugin `tools`: which of the tools that a request offers reach the models.

`passthrough` leaves them, `none` takes all of them out, `filtered` goes by name: what is blocked
goes, and with `allow_tools` so does everything that is not in it. What a tool choice says of tools
that went, goes with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from ..chat.request import ChatRequest, Message
from ..errors import InvalidRequestError
from .base import Editor, Flag, PluginOptions

_LISTS = ("tools", "functions")
_CHOICES = {"tools": ("tool_choice", "parallel_tool_calls"), "functions": ("function_call",)}
"""What makes no sense without the list."""


class ToolsOptions(PluginOptions):
    """`configuration` of a `tools` plugin."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "semantic_selection": "tools are not chosen by meaning",
    }

    mode: Literal["passthrough", "filtered", "none"] = "passthrough"
    """`passthrough` leaves the request's tools, `none` takes all out, `filtered` goes by name."""
    allow_tools: tuple[str, ...] = ()
    """Under `filtered`: names of functions that stay; empty: all that are not blocked."""
    block_tools: tuple[str, ...] = ()
    """Under `filtered`: names of functions that go, allowed or not."""
    strip_tool_history: Flag = False
    """Takes earlier tool calls and their results out of the conversation."""

    def warnings(self) -> Sequence[str]:
        if self.mode == "filtered" or not (self.allow_tools or self.block_tools):
            return ()
        return (f"`allow_tools` and `block_tools` have no effect under mode {self.mode}",)


class Tools(Editor[ToolsOptions]):
    """The route's policy on tools."""

    kind: ClassVar[str] = "tools"
    Options: ClassVar[type[PluginOptions]] = ToolsOptions

    def edit(self, request: ChatRequest) -> ChatRequest:
        if self.options.mode != "passthrough":
            for name in _LISTS:
                request = self._filtered(request, name)
        return _without_history(request) if self.options.strip_tool_history else request

    def effect(self, request: ChatRequest) -> str:
        offered = [tool for name in _LISTS for tool in _listed(request, name)]
        kept = sum(map(self._stays, offered))
        told = f"keeps {kept} of {len(offered)} tools" if offered else "the request offers no tools"
        history = "; takes earlier tool calls out" if self.options.strip_tool_history else ""
        return told + history

    def _filtered(self, request: ChatRequest, name: str) -> ChatRequest:
        """The request with only the tools of one list that may stay, and a choice that fits."""
        choices = _CHOICES[name]
        if name not in request.body and not any(c in request.body for c in choices):
            return request
        offered = _listed(request, name)
        kept = [tool for tool in offered if self._stays(tool)]
        if not kept:
            return request.without((name, *choices))
        if len(kept) == len(offered):
            return request
        request = request.replace(**{name: kept})
        choice = choices[0]
        if choice not in request.body:
            return request
        fitting = _fitting(request.body[choice], {tool_name(tool) for tool in kept})
        if fitting is None:
            return request.without((choice,))
        return request.replace(**{choice: fitting})

    def _stays(self, tool: object) -> bool:
        if self.options.mode != "filtered":
            return self.options.mode == "passthrough"
        name, allowed = tool_name(tool), self.options.allow_tools
        return name not in self.options.block_tools and (not allowed or name in allowed)


def _listed(request: ChatRequest, name: str) -> Sequence[Any]:
    value = request.body.get(name)
    return value if isinstance(value, list | tuple) else ()


def tool_name(tool: object) -> str:
    """The name of a tool, of a legacy function or of what a choice names; else its type."""
    if not isinstance(tool, Mapping):
        return ""
    for key in ("function", "custom"):
        named = tool.get(key)
        if isinstance(named, Mapping) and isinstance(named.get("name"), str):
            return str(named["name"])
    name = tool.get("name", tool.get("type"))
    return name if isinstance(name, str) else ""


def _fitting(choice: Any, names: set[str]) -> Any:
    """A tool choice that speaks only of these tools; None when nothing is left of it."""
    if not isinstance(choice, Mapping):
        return choice
    listed = choice.get("allowed_tools")
    if not isinstance(listed, Mapping):
        return choice if tool_name(choice) in names else None
    given = listed.get("tools")
    kept = [tool for tool in given if tool_name(tool) in names] if isinstance(given, list) else []
    return {**choice, "allowed_tools": {**listed, "tools": kept}} if kept else None


def _without_history(request: ChatRequest) -> ChatRequest:
    messages = list(_without_calls(request.messages))
    if not messages:
        raise InvalidRequestError(
            "this route takes no tool calls and results, and the conversation has nothing else",
            param="messages",
        )
    return request.replace(messages=messages)


def _without_calls(messages: Iterable[Message]) -> Iterator[Message]:
    for message in messages:
        if message["role"] in ("tool", "function"):
            continue
        if not (message.get("tool_calls") or message.get("function_call")):
            yield message
        elif message.get("content"):
            yield {k: v for k, v in message.items() if k not in ("tool_calls", "function_call")}
