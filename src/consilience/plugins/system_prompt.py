"""Plugin `system_prompt`: puts a text of the operator's into the system message.

The text is used as it stands: it is no template, and nothing of the request is filled in.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ..chat.request import ChatRequest, append_text
from .base import Editor, PluginOptions, Text

_SYSTEM = ("system", "developer")


class SystemPromptOptions(PluginOptions):
    """`configuration` of a `system_prompt`."""

    system_prompt: Text
    """The text, as it stands: no template."""
    mode: Literal["insert", "replace", "append"] = "insert"
    """`insert` puts it before the client's system prompt, `append` after it, `replace` in place of
    every system and developer message."""


class SystemPrompt(Editor[SystemPromptOptions]):
    """The operator's system prompt."""

    kind: ClassVar[str] = "system_prompt"
    Options: ClassVar[type[PluginOptions]] = SystemPromptOptions

    def edit(self, request: ChatRequest) -> ChatRequest:
        mode, text = self.options.mode, self.options.system_prompt
        if mode == "insert":
            return request.with_instruction(text)
        messages = list(request.messages)
        own = [i for i, message in enumerate(messages) if message["role"] in _SYSTEM]
        if not own:
            return request.with_instruction(text)
        if mode == "append":
            messages[own[-1]] = append_text(messages[own[-1]], text)
            return request.replace(messages=messages)
        first = {"role": messages[own[0]]["role"], "content": text}  # some models want `developer`
        rest = [message for message in messages if message["role"] not in _SYSTEM]
        return request.replace(messages=[first, *rest])

    def effect(self, request: ChatRequest) -> str:
        length = f"{len(self.options.system_prompt):,} characters"
        if not any(message["role"] in _SYSTEM for message in request.messages):
            return f"adds a system prompt of {length}"
        place = {"insert": "before", "append": "after", "replace": "in place of"}[self.options.mode]
        return f"puts {length} {place} the request's system prompt"
