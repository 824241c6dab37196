"""The judge's call: one model compares the answers and replies as JSON. Never fatal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from ...chat.completion import Completion
from ...chat.request import ChatRequest
from ...errors import ConsilienceError, UpstreamError, UpstreamStatusError
from ..base import Ask, Observer, Progress, StageRecord, ms_since
from .analysis import JudgeAnalysis, parse_analysis
from .options import FusionOptions
from .prompts import analysis_schema
from .seats import HELD_BACK

NOT_FOR_THE_JUDGE = HELD_BACK | {
    "stop",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "max_completion_tokens",
}
"""Of the client's request: what would bend or cut the judge's JSON."""

JUDGE_SHARE = 0.5
"""The part of the time left that the judge may use, so that the synthesis always has its own."""

LEAST_TOKENS = 1024
"""A client's short `max_tokens` is meant for its answer, not for the analysis."""

_SCHEMAS: Sequence[Mapping[str, object] | None] = (
    analysis_schema(bounded=True),
    analysis_schema(bounded=False),
    None,
)
_REFUSALS = frozenset((400, 415, 422, 501))


@dataclass(slots=True)
class Dialects:
    """What each judge model turned out not to take; shared by all requests of a looper.

    Grows with the models that refused something, not with the names that requests bring.
    """

    schema_level: dict[str, int] = field(default_factory=dict)
    """Model -> index into the schemas to begin with."""
    no_temperature: set[str] = field(default_factory=set)
    """Models that refuse a temperature which nobody asked for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the judge's stage."""

    analysis: JudgeAnalysis | None
    """None when every call failed."""
    model: str
    """Who judged, or should have."""
    records: Sequence[StageRecord]

    def without(self, nonce: str) -> Verdict:
        """Gives it without the code of the fences, which is nobody's to repeat."""
        analysis = None if self.analysis is None else self.analysis.without(nonce)
        return self if analysis is self.analysis else replace(self, analysis=analysis)

    @property
    def trouble(self) -> Sequence[str]:
        """Why it is not as it should be, one reason per failed call; empty when all went well."""
        reasons = [r.reason or r.status for r in self.records if r.status != "ok"]
        if self.analysis is not None and self.analysis.parse_failed:
            reasons.append("analysis_unparsed")
        return reasons


def judge_request(conversation: ChatRequest, model: str, options: FusionOptions) -> ChatRequest:
    """The judge's request without its schema: the conversation, nothing that is the answer's own."""
    body = conversation.body
    limit = options.judge_max_completion_tokens or options.max_completion_tokens
    if limit is None:
        own = body.get("max_completion_tokens") or body.get("max_tokens")
        limit = max(own, LEAST_TOKENS) if own else None
    changes: dict[str, Any] = {
        "model": model,
        "temperature": 0 if options.temperature is None else options.temperature,
    }
    if limit is not None:
        changes["max_completion_tokens"] = limit
    if options.reasoning and options.reasoning.effort:
        changes["reasoning_effort"] = options.reasoning.effort
    return conversation.without(NOT_FOR_THE_JUDGE).replace(**changes)


async def run_judge(
    conversation: ChatRequest,
    models: Sequence[str],
    options: FusionOptions,
    dialects: Dialects,
    ask: Ask,
    observe: Observer,
) -> Verdict:
    """Asks the judge, then the fallback models in order, until one replies.

    Args:
        conversation: the client's request with the judge's prompt in its messages.
        models: the judge and its fallbacks.
        options: the merged options.
        dialects: what is known of the models; updated.
        ask: asks a model.
        observe: told when judging begins and ends.
    """
    records: list[StageRecord] = []
    for model in models:
        await observe(Progress("judge_started", {"model": model}))
        begun = anyio.current_time()
        asked = judge_request(conversation, model, options)
        own_temperature = options.temperature is not None
        try:
            with anyio.fail_after(_seconds()):
                reply = await _ask_in_its_dialect(asked, dialects, ask, own=own_temperature)
        except (ConsilienceError, TimeoutError) as exc:
            records.append(_failed(exc, model, begun))
            continue
        records.append(
            StageRecord(
                stage="judge",
                model=model,
                status="ok",
                latency_ms=ms_since(begun),
                usage=reply.usage,
                cost_usd=reply.cost_usd,
                attempts=reply.attempts,
            )
        )
        analysis = parse_analysis(reply)
        await observe(_finished(analysis, model, shown=options.include_analysis))
        return Verdict(analysis, model, records)
    await observe(Progress("judge_finished", {"model": models[0], "parsed": False}))
    return Verdict(None, models[0], records)


async def _ask_in_its_dialect(
    asked: ChatRequest, dialects: Dialects, ask: Ask, *, own: bool
) -> Completion:
    """Asks with the richest schema the model takes; a refusal is remembered once asking without helped."""
    model = asked.model
    level = dialects.schema_level.get(model, 0)
    plain = model in dialects.no_temperature and not own
    refused = False
    while True:
        request = asked.without(("temperature",)) if plain else asked
        schema = _SCHEMAS[level]
        if schema:
            request = request.replace(response_format=schema)
        try:
            reply = await ask(request.in_other_words() if refused else request)
        except UpstreamStatusError as exc:
            if exc.status_code not in _REFUSALS:
                raise
            refused = True
            if exc.rejected_param == "temperature":
                if plain or own:
                    raise
                plain = True
            elif schema is not None:
                level += 1
                if exc.rejected_param == "response_format":
                    # it says so itself; there may be no call left to find out whether it is so
                    dialects.schema_level[model] = level
            else:
                raise
            continue
        if level:
            dialects.schema_level[model] = level
        if plain and not own:
            dialects.no_temperature.add(model)
        return reply


def _seconds() -> float:
    left = anyio.current_effective_deadline() - anyio.current_time()
    return left * JUDGE_SHARE


def _failed(exc: Exception, model: str, begun: float) -> StageRecord:
    reason = exc.reason if isinstance(exc, UpstreamError) else "timeout"
    if isinstance(exc, ConsilienceError) and not isinstance(exc, UpstreamError):
        reason = exc.code
    return StageRecord(
        stage="judge",
        model=model,
        status="timeout" if reason == "timeout" else "failed",
        latency_ms=ms_since(begun),
        reason=reason,
        attempts=exc.attempts if isinstance(exc, UpstreamError) else 1,
    )


def _finished(analysis: JudgeAnalysis, model: str, *, shown: bool) -> Progress:
    fields: dict[str, Any] = {"model": model, "parsed": not analysis.parse_failed}
    if shown and not analysis.parse_failed:
        fields["found"] = {key: len(items) for key, items in analysis.as_body().items()}
    return Progress("judge_finished", fields)
