"""The decisions that one slug lets compete, compiled: signals in use, rule trees, bound loopers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config.routing import Decision
from ..decisions.rules import conditions_of
from ..decisions.selection import Candidate, Strategy, select, why_lost
from ..decisions.trace import RuleTrace, evaluate, why_not
from ..loopers.base import Looper
from ..plugins.chain import NO_PLUGINS, PluginChain
from ..signals.base import RequestFacts, SignalKey, SignalResult, SignalRule, SignalSettings
from ..signals.evaluation import SignalSet


@dataclass(frozen=True, slots=True)
class DecisionTrace:
    """How one decision fared."""

    name: str
    matched: bool
    confidence: float
    """0 to 1; 0 when not matched."""
    trace: RuleTrace
    """Its evaluated rules, whole."""
    priority: int = 0
    tier: int = 0

    @property
    def candidate(self) -> Candidate:
        """What the choice among decisions that match goes by."""
        return Candidate(self.name, self.confidence, self.priority, self.tier)


@dataclass(frozen=True, slots=True)
class Route:
    """The decision for one request, and the looper that will carry it out."""

    looper: Looper[Any]
    """Bound to the decision, and with the request's own overrides merged in."""
    requested: str
    """The model that the request named."""
    decision: str | None = None
    """None when no decision was needed, or none matched."""
    confidence: float = 0.0
    """Of the decision's rules."""
    recipe: str | None = None
    """The recipe whose decisions competed; None when the request named a model."""
    algorithm: str = "static"
    """The looper's kind."""
    decisions: Sequence[DecisionTrace] = ()
    """Every decision that was considered, in the order of the configuration."""
    signals: Mapping[SignalKey, SignalResult] | None = None
    """What the signals in use said; None when none was asked."""
    why: str = ""
    """One short sentence for people."""
    warnings: Sequence[str] = ()
    """What of the request was accepted but has no effect on this route."""
    plugins: PluginChain = NO_PLUGINS
    """What the decision does to its requests beside choosing models."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What is added to the response's headers, or put in their place, by who answers."""


@dataclass(frozen=True, slots=True)
class BoundDecision:
    """A decision and what it comes to."""

    decision: Decision
    looper: Looper[Any] | None
    """None when it names an algorithm that we do not have, or has no model to run."""
    plugins: PluginChain = NO_PLUGINS


@dataclass(frozen=True, slots=True)
class Consideration:
    """What signals and rules say of a request, before anything follows from it."""

    recipe: str
    decisions: Sequence[DecisionTrace]
    """Every decision that competed, in the order of the configuration."""
    signals: Mapping[SignalKey, SignalResult]
    winner: BoundDecision | None
    confidence: float = 0.0
    """Of the winner."""
    strategy: Strategy = "priority"
    """How the winner was chosen among those that matched."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each signal kind took."""

    def why_not(self, decision: DecisionTrace) -> str:
        """Says why a decision that competed was not chosen; empty for the one that was."""
        if not decision.matched:
            return why_not(decision.trace)
        chosen = self.chosen
        if chosen is None or chosen is decision:
            return ""
        tiered = any(d.matched and d.tier > 0 for d in self.decisions)
        return why_lost(decision.candidate, chosen.candidate, self.strategy, tiered=tiered)

    @property
    def chosen(self) -> DecisionTrace | None:
        """How the winner fared; None when nothing matched."""
        name = self.winner.decision.name if self.winner else None
        return next((d for d in self.decisions if d.name == name), None)


class DecisionTable:
    """Some decisions of a recipe and the signals that they ask for. Holds no state of a request."""

    def __init__(
        self,
        recipe: str,
        decisions: Sequence[BoundDecision],
        rules: Mapping[str, Sequence[SignalRule]],
        strategy: Strategy,
        *,
        settings: Mapping[str, SignalSettings] | None = None,
    ) -> None:
        self.recipe = recipe
        self.decisions = tuple(decisions)
        self._rules = rules
        self._settings = settings
        self._strategy = strategy
        in_use = {
            SignalKey(condition.type, condition.name)
            for bound in self.decisions
            for condition in conditions_of(bound.decision.rules)
        }
        self._signals = SignalSet.build(rules, in_use, settings=settings)

    def only(self, keep: Callable[[BoundDecision], bool]) -> DecisionTable:
        """Gives the table of just these decisions, which asks only for their signals."""
        kept = [bound for bound in self.decisions if keep(bound)]
        return DecisionTable(
            self.recipe, kept, self._rules, self._strategy, settings=self._settings
        )

    async def consider(self, facts: RequestFacts) -> Consideration:
        """Evaluates signals and every rule tree, and picks the winner."""
        seconds: dict[str, float] = {}
        signals = await self._signals.evaluate(facts, seconds)
        traces = tuple(self._trace(bound.decision, signals) for bound in self.decisions)
        matched = [
            (t.candidate, b) for t, b in zip(traces, self.decisions, strict=True) if t.matched
        ]
        best = select((candidate for candidate, _ in matched), self._strategy)
        winner = next((bound for candidate, bound in matched if candidate is best), None)
        return Consideration(
            self.recipe,
            traces,
            signals,
            winner,
            confidence=best.confidence if best else 0.0,
            strategy=self._strategy,
            seconds=seconds,
        )

    @staticmethod
    def _trace(decision: Decision, signals: Mapping[SignalKey, SignalResult]) -> DecisionTrace:
        trace = evaluate(decision.rules, signals)
        return DecisionTrace(
            decision.name,
            trace.matched,
            trace.confidence,
            trace,
            priority=decision.priority,
            tier=decision.tier,
        )
