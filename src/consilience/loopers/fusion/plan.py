"""The calls that a Fusion request would lead to, and about how long each would be. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...chat.request import ChatRequest
from ..base import PlannedCall, expected_tokens, request_limit
from .judge import LEAST_TOKENS, NOT_FOR_THE_JUDGE
from .options import FusionOptions, Seat
from .seats import seated, shared_request

INSTRUCTION_TOKENS = 900
"""What the built-in prompts take of a context window."""
FENCE_TOKENS = 40
"""What the fence around one answer takes."""


def planned_calls(
    request: ChatRequest,
    seats: Sequence[Seat],
    options: FusionOptions,
    *,
    judge: str,
    writer: str,
    answer_tokens: int,
) -> Sequence[PlannedCall]:
    """Gives panel, judge and synthesis as they are if nothing fails.

    Seats of one model with answers of one length are one entry. The judge's analysis counts as an
    answer like any other.
    """
    limit = request_limit(request)
    shared = shared_request(request)
    lengths = [
        (seat.model, expected_tokens(answer_tokens, seat.max_completion_tokens, limit))
        for seat in seated(seats, options)
    ]
    panel = [
        PlannedCall("panel", model, shared, count=count, answer_tokens=tokens)
        for (model, tokens), count in Counter(lengths).items()
    ]
    fenced = sum(tokens + FENCE_TOKENS for _, tokens in lengths) + INSTRUCTION_TOKENS
    analysis = expected_tokens(
        answer_tokens,
        options.judge_max_completion_tokens,
        options.max_completion_tokens,
        max(limit, LEAST_TOKENS) if limit else None,
    )
    judging = PlannedCall(
        "judge",
        judge,
        request.without(NOT_FOR_THE_JUDGE),
        answer_tokens=analysis,
        added_tokens=fenced,
    )
    writing = PlannedCall(
        "synthesis",
        writer,
        request,
        answer_tokens=expected_tokens(answer_tokens, limit),
        added_tokens=fenced + analysis,
    )
    return (*panel, judging, writing)
