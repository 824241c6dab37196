"""How a decision tells one of its models to reason, or not to: one change to a request. Pure.

Models differ in the field that switches their reasoning; `providers.defaults.reasoning_families`
names the field. Who wrote the request goes first: one that says itself how to reason stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..chat.codec import Body
from ..chat.request import ChatRequest

ReasoningDialect = Literal["chat_template_kwargs", "reasoning_effort", "top_level_reasoning_effort"]
DEFAULT_EFFORT = "high"
"""When neither the decision nor `providers.defaults.default_reasoning_effort` names one."""

_TEMPLATE = "chat_template_kwargs"
_OWN_WORDS = ("reasoning_effort", "reasoning")
"""Fields by which a request says how to reason, whatever the model's family."""


@dataclass(frozen=True, slots=True)
class ReasoningSwitch:
    """What a decision says of one model's reasoning."""

    dialect: ReasoningDialect
    """How the model's family is told."""
    parameter: str
    """The field that switches it; not looked at for `reasoning_effort`."""
    on: bool
    """Families that are told an effort have no word for off: they are left to themselves then."""
    effort: str = DEFAULT_EFFORT

    def applied(self, request: ChatRequest) -> ChatRequest:
        """Gives the request with the switch set; unchanged when it says itself how to reason."""
        if self._is_said(request.body):
            return request
        if self.dialect == _TEMPLATE:
            given = request.body.get(_TEMPLATE) or {}
            return request.replace(chat_template_kwargs={**given, self.parameter: self.on})
        if not self.on:
            return request
        field = self.parameter if self.dialect == "top_level_reasoning_effort" else _OWN_WORDS[0]
        changes: dict[str, Any] = {field: self.effort}
        return request.replace(**changes)

    def _is_said(self, body: Body) -> bool:
        if any(body.get(name) is not None for name in (*_OWN_WORDS, self.parameter)):
            return True
        given = body.get(_TEMPLATE)
        if not isinstance(given, Mapping):  # what is no object is the client's own business
            return given is not None
        return given.get(self.parameter) is not None
