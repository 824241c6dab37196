"""Plugin `request_params`: takes parameters out of the client's request, and caps what it asks for.

A cap lowers what the client wrote and sets nothing that it did not write: who sends no limit gets
the model's own. `strip_unknown` leaves the parameters of OpenAI's chat completions.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, StringConstraints

from ..chat.request import ChatRequest
from .base import Count, Editor, Flag, PluginOptions

REQUIRED = frozenset(("model", "messages", "stream"))
"""What no plugin takes out: without these it would be another request."""

KNOWN = frozenset(
    (
        *REQUIRED,
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    )
)
"""Parameters of OpenAI's `POST /v1/chat/completions`."""


def _may_go(name: str) -> str:
    if name in REQUIRED:
        raise ValueError(f'"{name}" cannot be taken out of a request')
    if name == "plugins":
        raise ValueError(
            '"plugins" is read before: set global.integrations.looper.fusion.request_overrides'
        )
    return name


Parameter = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_may_go)
]


class RequestParamsOptions(PluginOptions):
    """`configuration` of a `request_params`."""

    blocked_params: tuple[Parameter, ...] = ()
    """Taken out."""
    max_tokens_limit: Count | None = None
    """The most that `max_tokens` and `max_completion_tokens` may say."""
    max_n: Count | None = None
    """The most answers that `n` may ask for."""
    strip_unknown: Flag = False
    """Takes out what is not a parameter of OpenAI's chat completions."""


class RequestParams(Editor[RequestParamsOptions]):
    """Limits on what a request may ask for."""

    kind: ClassVar[str] = "request_params"
    Options: ClassVar[type[PluginOptions]] = RequestParamsOptions

    def edit(self, request: ChatRequest) -> ChatRequest:
        gone, capped = self._gone(request), self._capped(request)
        if gone:
            request = request.without(gone)
        kept = {name: value for name, value in capped.items() if name not in gone}
        return request.replace(**kept) if kept else request

    def effect(self, request: ChatRequest) -> str:
        gone = self._gone(request)
        parts = [f"drops {', '.join(sorted(gone))}"] if gone else []
        parts += [
            f"caps {name} to {value}"
            for name, value in self._capped(request).items()
            if name not in gone
        ]
        return "; ".join(parts) or "changes nothing"

    def _gone(self, request: ChatRequest) -> frozenset[str]:
        body = request.body
        gone = {name for name in self.options.blocked_params if name in body}
        if self.options.strip_unknown:
            gone |= body.keys() - KNOWN
        if not gone:
            return frozenset()
        if "logprobs" in gone and "top_logprobs" in body:  # refused upstream without the other
            gone.add("top_logprobs")
        return frozenset(gone)

    def _capped(self, request: ChatRequest) -> dict[str, Any]:
        """The parameters that ask for more than they may, with what they may."""
        tokens = self.options.max_tokens_limit
        most = {"max_tokens": tokens, "max_completion_tokens": tokens, "n": self.options.max_n}
        return {
            name: limit
            for name, limit in most.items()
            if limit is not None and (request.body.get(name) or 0) > limit
        }
