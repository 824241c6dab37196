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
BYTES_PER_TOKEN = 2
"""Of templates and standing prompts, and of what the client wrote that is put into them."""


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
        (
            seat.model,
            expected_tokens(answer_tokens, seat.max_completion_tokens, limit),
            _tokens(seat.system_prompt),
        )
        for seat in seated(seats, options)
    ]
    panel = [
        PlannedCall("panel", model, shared, count=count, answer_tokens=tokens, added_tokens=added)
        for (model, tokens, added), count in Counter(lengths).items()
    ]
    fenced = sum(tokens + FENCE_TOKENS for _, tokens, _ in lengths)
    analysis = expected_tokens(
        answer_tokens,
        options.judge_max_completion_tokens,
        options.max_completion_tokens,
        max(limit, LEAST_TOKENS) if limit else None,
    )
    asked = _put_in(options.analysis_template, request, fenced, 0)
    # without a template of its own the writer's prompt begins with the judge's
    told = _put_in(options.synthesis_template, request, fenced, analysis)
    told = told if options.synthesis_template.strip() else asked + analysis
    judging = PlannedCall(
        "judge",
        judge,
        request.without(NOT_FOR_THE_JUDGE),
        answer_tokens=analysis,
        added_tokens=asked,
    )
    writing = PlannedCall(
        "synthesis",
        writer,
        request,
        answer_tokens=expected_tokens(answer_tokens, limit),
        added_tokens=told,
    )
    return (*panel, judging, writing)


def _put_in(template: str, request: ChatRequest, answers: int, analysis: int) -> int:
    """What a prompt has beside the conversation. Templates may name a slot twice, or never."""
    if not template.strip():
        return INSTRUCTION_TOKENS + answers + analysis
    original = template.count("{{original}}")
    filled = original * _tokens(request.user_text) if original else 0
    filled += template.count("{{responses}}") * answers
    filled += template.count("{{analysis}}") * analysis
    return INSTRUCTION_TOKENS + _tokens(template) + filled


def _tokens(text: str | None) -> int:
    return -(-len((text or "").encode("utf-8", "replace")) // BYTES_PER_TOKEN)
