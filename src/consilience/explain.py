"""A dry run: where a request would go, why, and about what it would cost. No model is called.

`POST /api/v1/eval` sends an `Explanation` as JSON, `consilience explain` draws it. Field names are
the reference's where it has them (vllm-sr-routing.md 6.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from .backends import price_in
from .chat.completion import Usage
from .chat.request import ChatRequest
from .config.root import Config
from .decisions.trace import matched_rules
from .errors import ConsilienceError, NoMatchingDecisionError, UnsupportedAlgorithmError
from .loopers.base import PlannedCall
from .router import Consideration, DecisionTrace, Route, Router
from .rules.grammar import conditions_of
from .signals.base import SignalKey, SignalResult
from .signals.estimate import estimate_tokens
from .upstream.price import Price

ANSWER_TOKENS = 500
"""How long an answer is taken to be that nothing limits further."""

SelectionStatus = Literal[
    "selected", "planned_final", "fallback", "execution_required", "unavailable", "failed"
]
"""`selected`: one model answers, or a plugin does. `planned_final`: a looper runs, and this model
writes the answer. `fallback`: nothing matched, the default model answers. `execution_required`: a
looper runs, and who answers shows only then (no looper here is of that kind yet). `unavailable`: the
decision that matched cannot be carried out. `failed`: nothing matched."""

_PLURAL = {
    "keyword": "keywords",
    "embedding": "embeddings",
    "domain": "domains",
    "preference": "preferences",
    "projection": "projections",
}
"""Kinds whose results the reference groups under another name than the kind's."""


@dataclass(frozen=True, slots=True)
class EstimatedCall:
    """Equal calls that would be made, and about what they come to together."""

    call: PlannedCall
    usage: Usage
    cost_usd: Decimal | None
    """None when the model's price is not known."""

    def as_body(self) -> dict[str, Any]:
        """Gives the entry of `calls`."""
        return {
            "stage": self.call.stage,
            "model": self.call.model,
            "count": self.call.count,
            **_tokens(self.usage),
            "cost_usd": _money(self.cost_usd),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a request before any model was asked."""

    request: ChatRequest
    considered: Consideration | None
    """None when the request names a model, so that no signal was asked."""
    route: Route | None
    """None when it would be refused."""
    refusal: ConsilienceError | None
    """What the client would get in place of an answer."""
    calls: Sequence[EstimatedCall]
    effects: Sequence[tuple[str, str]] = ()
    """What each plugin of the decision does to the request, by its type, in order."""

    @property
    def status(self) -> SelectionStatus:
        """Whether a model is chosen, and how."""
        if self.route is None:
            chosen = self.considered is not None and self.considered.winner is not None
            return "unavailable" if chosen else "failed"
        if any(estimated.call.stage != "single" for estimated in self.calls):
            return "planned_final"
        by_default = self.considered is not None and self.route.decision is None
        return "fallback" if by_default else "selected"

    @property
    def selected_model(self) -> str | None:
        """Who writes the answer; None when no model does."""
        return self.calls[-1].call.model if self.calls else None

    @property
    def reason(self) -> str:
        """Why it is so, in one sentence."""
        if self.refusal is not None:
            return self.refusal.sentence
        return self.route.why if self.route else ""

    @property
    def usage(self) -> Usage:
        """About how many tokens all calls take together."""
        return sum((estimated.usage for estimated in self.calls), Usage())

    @property
    def cost_usd(self) -> Decimal | None:
        """About what all calls cost together; None when the price of any is not known, and where
        there would be no answer.
        """
        costs = [e.cost_usd for e in self.calls]
        known = [cost for cost in costs if cost is not None]
        if self.route is None or len(known) < len(costs):
            return None
        return sum(known, Decimal(0))

    @property
    def unpriced(self) -> Sequence[str]:
        """Models whose price is not known."""
        return tuple(dict.fromkeys(e.call.model for e in self.calls if e.cost_usd is None))

    def as_body(self, *, trace: bool = False) -> dict[str, Any]:
        """Gives the answer of `POST /api/v1/eval`.

        Args:
            trace: adds `eval_trace`, the whole rule tree of every decision.
        """
        route, considered = self.route, self.considered
        body = {
            "original_text": self.request.user_text,
            "requested_model": self.request.model,
            "recipe": considered.recipe if considered else None,
            "routing_decision": self._decision_name,
            "decision_result": self._decision_result(),
            "decisions": [self._decision(d) for d in considered.decisions] if considered else [],
            "algorithm": self._algorithm,
            "recommended_models": list(route.looper.models_used) if route and self.calls else [],
            "selected_model": self.selected_model,
            "selection_status": self.status,
            "selection_reason": self.reason,
            **(_signals_body(considered) if considered else _NO_SIGNALS),
            "projections": [p.as_body() for p in considered.projections] if considered else [],
            "plugins": [{"type": kind, "effect": effect} for kind, effect in self.effects],
            "calls": [estimated.as_body() for estimated in self.calls],
            "estimate": self._estimate(),
            "warnings": list(route.warnings) if route else [],
        }
        if self.refusal is not None:
            exc = self.refusal
            body["error"] = {"message": exc.sentence, "type": exc.type, "code": exc.code}
        if trace and considered is not None:
            body["eval_trace"] = [_trace_body(d) for d in considered.decisions]
        return body

    @property
    def _decision_name(self) -> str | None:
        if self.route is not None:
            return self.route.decision
        winner = self.considered.winner if self.considered else None
        return winner.decision.name if winner else None

    @property
    def _algorithm(self) -> str | None:
        if self.route is not None:
            return self.route.algorithm
        winner = self.considered.winner if self.considered else None
        algorithm = winner.decision.algorithm if winner else None
        return algorithm.type if algorithm else None

    def _decision_result(self) -> dict[str, Any] | None:
        """What is told of the decision that won; None when none did."""
        considered = self.considered
        if considered is None or considered.winner is None or considered.chosen is None:
            return None
        decision, signals = considered.winner.decision, considered.signals
        used = (SignalKey(c.type, c.result) for c in conditions_of(decision.rules))
        return {
            "decision_name": decision.name,
            "algorithm": self._algorithm,
            "confidence": considered.confidence,
            "matched_rules": list(matched_rules(considered.chosen.trace)),
            "plugins": [plugin.type for plugin in decision.plugins],
            "used_signals": _by_family(used),
            "matched_signals": _by_family(key for key, r in signals.items() if r.matched),
            "unmatched_signals": _by_family(key for key, r in signals.items() if not r.matched),
        }

    def _decision(self, decision: DecisionTrace) -> dict[str, Any]:
        considered = self.considered
        return {
            "decision_name": decision.name,
            "matched": decision.matched,
            "selected": considered is not None and considered.chosen is decision,
            "confidence": decision.confidence,
            "priority": decision.priority,
            "tier": decision.tier,
            "reason": considered.why_not(decision) if considered else "",
        }

    def _estimate(self) -> dict[str, Any]:
        return {
            "calls": sum(estimated.call.count for estimated in self.calls),
            **_tokens(self.usage),
            "cost_usd": _money(self.cost_usd),
            "unpriced_models": list(self.unpriced),
            "answer_tokens_assumed": ANSWER_TOKENS,
        }


async def explain(
    router: Router, config: Config, request: ChatRequest, headers: Mapping[str, str]
) -> Explanation:
    """Routes a request and says what would follow; calls no model.

    Args:
        router: of the configuration.
        config: for prices.
        request: what a client would send.
        headers: its headers, names in lower case.

    Raises:
        UnknownModelError: nothing has the name that the request puts into `model`.
        InvalidRequestError: the request's plugin is wrong, not allowed, or has no place here.
    """
    considered = await router.consider(request, headers, dry_run=True)
    try:
        route = router.decide(request, considered)
    except (NoMatchingDecisionError, UnsupportedAlgorithmError) as exc:
        return Explanation(request, considered, None, exc, ())
    effects = route.plugins.effects(request)
    if route.plugins.answers:
        return Explanation(request, considered, route, None, (), effects)
    edited = route.plugins.edited(request).request
    planned = route.looper.plan(edited, answer_tokens=ANSWER_TOKENS)
    calls = tuple(_estimated(call, price_in(config, call.model)) for call in planned)
    return Explanation(request, considered, route, None, calls, effects)


def _estimated(call: PlannedCall, price: Price | None) -> EstimatedCall:
    conversation = call.conversation.without(("max_tokens", "max_completion_tokens"))
    prompt = (estimate_tokens(conversation) + call.added_tokens) * call.count
    answer = call.answer_tokens * call.count
    usage = Usage(prompt, answer, prompt + answer)
    return EstimatedCall(call, usage, price.cost(usage) if price is not None else None)


_NO_SIGNALS: Mapping[str, Any] = {
    "signals": [],
    "signal_confidences": {},
    "signal_values": {},
    "signal_errors": {},
    "metrics": {},
}


def _signals_body(considered: Consideration) -> dict[str, Any]:
    found = considered.signals

    def each(of: Callable[[SignalResult], Any]) -> Iterator[tuple[str, Any]]:
        for key, result in found.items():
            if (value := of(result)) is not None:
                yield f"{key.kind}:{key.name}", value

    return {
        "signals": [_signal_body(key, result) for key, result in found.items()],
        "signal_confidences": dict(each(lambda r: r.confidence if r.matched else None)),
        "signal_values": dict(each(lambda r: _finite(r.value))),
        "signal_errors": dict(each(lambda r: r.error)),
        "metrics": {
            kind: {"execution_time_ms": round(seconds * 1000, 4)}
            for kind, seconds in considered.seconds.items()
        },
    }


def _signal_body(key: SignalKey, result: SignalResult) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": key.kind,
        "name": key.name,
        "matched": result.matched,
        "confidence": _finite(result.confidence) if result.matched else None,
        "value": _finite(result.value),
        "error": result.error,
    }
    if result.detail:
        body["detail"] = dict(result.detail)
    return body


def _trace_body(decision: DecisionTrace) -> dict[str, Any]:
    return {
        "decision_name": decision.name,
        "matched": decision.matched,
        "confidence": decision.confidence,
        "root_trace": decision.trace.as_body(),
    }


def _by_family(keys: Iterable[SignalKey]) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for kind, name in dict.fromkeys(keys):
        families.setdefault(_PLURAL.get(kind, kind), []).append(name)
    return families


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _money(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
