"""What each seat of a panel is asked: the client's request, and the seat's own settings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...chat.request import ChatRequest
from ..reasoning import ReasoningSwitch
from .options import FusionOptions, Seat

HELD_BACK = frozenset(
    (
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "parallel_tool_calls",
        "response_format",
        "n",
        "logprobs",
        "top_logprobs",
        "store",
        "metadata",  # OpenAI refuses it where `store` is not set
        "prediction",
        "modalities",
        "audio",
        "web_search_options",
        "plugins",
    )
)
"""What only the synthesis call carries (contract 5.1, and `metadata`). Everything else reaches every
seat."""


def panel_request(
    shared: ChatRequest, seat: Seat, switch: ReasoningSwitch | None = None
) -> ChatRequest:
    """Gives the request for one seat.

    Args:
        shared: the part that all seats share, from `shared_request`.
        seat: the seat, with Fusion's own settings already filled in (`seated`).
        switch: what the decision says of the model's reasoning, when nobody closer says it.
    """
    changes: dict[str, Any] = {"model": seat.model}
    if seat.temperature is not None:
        changes["temperature"] = seat.temperature
    if seat.seed is not None:
        changes["seed"] = seat.seed
    if seat.reasoning_effort is not None:
        changes["reasoning_effort"] = seat.reasoning_effort
    if seat.max_completion_tokens is not None:
        changes["max_completion_tokens"] = seat.max_completion_tokens
        shared = shared.without(("max_tokens",))
    asked = shared.replace(**changes)
    asked = switch.applied(asked) if switch else asked
    return asked.with_instruction(seat.system_prompt) if seat.system_prompt else asked


def shared_request(request: ChatRequest) -> ChatRequest:
    """The client's request without what only the synthesis call carries. Made once a round."""
    return request.without(HELD_BACK)


def seated(seats: Sequence[Seat], options: FusionOptions) -> Sequence[Seat]:
    """Fills in each seat: its own setting, else its model's override, else Fusion's."""
    overrides = {o.model: o for o in options.analysis_overrides}
    effort = options.reasoning.effort if options.reasoning else None
    filled = []
    for seat in seats:
        override = overrides.get(seat.model)
        filled.append(
            seat.model_copy(
                update={
                    "temperature": _first(
                        seat.temperature, override and override.temperature, options.temperature
                    ),
                    "max_completion_tokens": _first(
                        seat.max_completion_tokens,
                        override and override.max_completion_tokens,
                        options.max_completion_tokens,
                    ),
                    "reasoning_effort": _first(seat.reasoning_effort, effort),
                }
            )
        )
    return filled


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)
