"""Plugin `fast_response`: answers with a fixed message, without calling a model.

Whoever routes what must not reach a model (a signal for secrets, say) to a decision with this
plugin has it refused in words of their own. The answer names the requested model, uses no tokens,
and is the same whole and streamed.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from .base import Answer, Answerer, Call, PluginBinding, PluginOptions, Text

HEADERS = {"x-vsr-response-path": "fast_response", "x-vsr-fast-response": "true"}


class FastResponseOptions(PluginOptions):
    """`configuration` of a `fast_response`."""

    message: Text
    """What is answered, as it stands."""


class FastResponse(Answerer[FastResponseOptions]):
    """A fixed answer."""

    kind: ClassVar[str] = "fast_response"
    Options: ClassVar[type[PluginOptions]] = FastResponseOptions
    always: ClassVar[bool] = True

    def __init__(self, options: FastResponseOptions, binding: PluginBinding) -> None:
        super().__init__(options, binding)
        message = {"role": "assistant", "content": options.message, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        self._body: dict[str, Any] = {"choices": [choice]}

    def answer(self, call: Call) -> Answer:
        return Answer(Completion(self._body, call.request.model, Usage()), HEADERS)

    def effect(self, request: ChatRequest) -> str:
        return "answers with its message; no model is called"
