"""The trace: what the client sees under `fusion`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ...chat.codec import Body
from ..base import Stage, StageRecord
from .judge import Verdict
from .options import FusionOptions
from .panel import Panel, PanelResponse, distinct, failures_body
from .prompts import Labelled


@dataclass(frozen=True, slots=True)
class FusionTrace:
    """Everything the trace is drawn from; `render` draws it."""

    decision: str
    options: FusionOptions
    panel_models: Sequence[str]
    """As configured, in seat order."""
    panel: Panel
    labelled: Labelled
    verdict: Verdict
    writers: Sequence[str]
    """Who is asked to write, in order; at least one."""
    stand_in: str | None = None
    """The panel model whose own answer is given when every writer fails."""
    notes: Sequence[tuple[Stage, str]] = ()
    """What else did not go as configured: (stage, reason)."""
    before: Sequence[StageRecord] = ()
    """Calls that signals made while the request was routed."""

    @property
    def records(self) -> Sequence[StageRecord]:
        """The calls of panel and judge."""
        return (*self.panel.records, *self.verdict.records)

    def after(self, before: Sequence[StageRecord]) -> FusionTrace:
        """Gives the same with calls that signals made."""
        return replace(self, before=before)

    def degraded(self, delivery: Sequence[StageRecord] | None) -> Sequence[tuple[Stage, str]]:
        """What did not go as configured, in the order of the stages."""
        noted: list[tuple[Stage, str]] = []
        lost = [f for f in self.panel.failures if f.reason != "cancelled"]
        noted.extend(("panel", f"{f.model}: {f.reason}") for f in lost)
        noted.extend((stage, reason) for stage, reason in self.notes)
        noted.extend(("judge", reason) for reason in self.verdict.trouble)
        noted.extend(
            ("synthesis", r.reason or r.status) for r in delivery or () if r.status != "ok"
        )
        if self._unwritten(delivery):
            noted.append(("synthesis", "answered_by_panel"))
        return noted

    def render(self, delivery: Sequence[StageRecord] | None) -> Body | None:
        """Draws the `fusion` object; None when both parts are hidden and nothing went wrong."""
        options, degraded = self.options, self.degraded(delivery)
        if not (options.include_analysis or options.include_intermediate_responses or degraded):
            return None
        records = (*self.records, *(delivery or ()))
        body: dict[str, Any] = {}
        analysis = self.verdict.analysis
        if options.include_analysis and analysis is not None:
            body["analysis"] = analysis.with_models(self.labelled.models).as_body()
        if options.include_intermediate_responses:
            body["responses"] = [self._response(r) for r in self.panel.responses]
        if self.panel.failures:
            body["failed_models"] = failures_body(self.panel.failures)
        body["judge_model"] = self.verdict.model
        body["synthesis_model"] = self._writer(delivery)
        body["analysis_models"] = list(self.panel_models)
        body["prompt_version"] = options.judge_prompt_version
        body["decision"] = self.decision
        body["labels"] = dict(self.labelled.models)
        body["seed"] = self.labelled.seed
        if degraded:
            body["degraded"] = [{"stage": s, "reason": r} for s, r in degraded]
        body["stages"] = [stage_body(r) for r in (*self.before, *records)]
        body["cost_usd"] = money(total_cost((*self.before, *records)))
        body["models_used"] = list(distinct([r.model for r in records if r.called]))
        body["iterations"] = sum(r.called for r in records)
        return body

    def _response(self, response: PanelResponse) -> Mapping[str, Any]:
        body: dict[str, Any] = {
            "model": response.model,
            "label": self.labelled.labels[response.seat],
            "content": response.text,
        }
        if response.reasoning and self.options.include_reasoning:
            body["reasoning"] = response.reasoning
        if response.truncated:
            body["truncated"] = True
        return body

    def _unwritten(self, delivery: Sequence[StageRecord] | None) -> bool:
        """Whether every writer has failed. While one is still to be heard, they have not."""
        failed = sum(r.status != "ok" for r in delivery or ())
        return self.stand_in is not None and failed >= len(self.writers)

    def _writer(self, delivery: Sequence[StageRecord] | None) -> str:
        """Who wrote the answer, or is writing it now."""
        answered = [r.model for r in delivery or () if r.status == "ok"]
        if answered:
            return answered[-1]
        if self.stand_in is not None and self._unwritten(delivery):
            return self.stand_in
        return self.writers[min(len(delivery or ()), len(self.writers) - 1)]


def stage_body(record: StageRecord) -> dict[str, Any]:
    """One entry of `stages`. Unknown figures are null, never 0."""
    body: dict[str, Any] = {
        "stage": record.stage,
        "model": record.model,
        "status": record.status,
        "latency_ms": record.latency_ms,
        "ttft_ms": record.ttft_ms,
        "usage": record.usage.as_body() if record.usage else None,
        "cost_usd": money(record.cost_usd),
    }
    if record.seat is not None:
        body["seat"] = record.seat
    if record.reason:
        body["reason"] = record.reason
    if record.attempts > 1:
        body["attempts"] = record.attempts
    return body


def total_cost(records: Sequence[StageRecord]) -> Decimal | None:
    """The sum of all calls' costs; None when that of a call that answered is unknown."""
    costs = [r.cost_usd for r in records if r.status == "ok"]
    if not costs or any(c is None for c in costs):
        return None
    return sum((r.cost_usd for r in records if r.cost_usd is not None), Decimal(0))


def money(amount: Decimal | None) -> float | None:
    """Dollars as a JSON number, to a millionth of a cent."""
    return None if amount is None else float(round(amount, 8))
