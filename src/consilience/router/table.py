"""The decisions that one slug lets compete, compiled: signals in use, rule trees, bound loopers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from ..config.routing import Decision
from ..decisions.evaluation import Results, Rules, Verdict, compile_rules
from ..decisions.needs import Needs
from ..decisions.projections import KIND as PROJECTION
from ..decisions.projections import Projections
from ..decisions.selection import Candidate, Strategy, select, why_lost
from ..decisions.stages import ProjectionTrace, Stages
from ..decisions.trace import RuleTrace, why_not
from ..loopers.base import Looper
from ..plugins.chain import NO_PLUGINS, PluginChain
from ..rules.grammar import conditions_of
from ..signals.base import RequestFacts, SignalKey, SignalResult, SignalRule
from ..signals.evaluation import SignalSet
from ..signals.models import SignalModels


@dataclass(frozen=True, slots=True)
class DecisionTrace:
    """How one decision fared."""

    name: str
    matched: bool
    confidence: float
    """0 to 1; 0 when not matched."""
    rules: Rules
    signals: Results
    priority: int = 0
    tier: int = 0

    @property
    def trace(self) -> RuleTrace:
        """Its evaluated rules, whole; made when asked for."""
        return self.rules.trace(self.signals)

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
    algorithm: str = "static"
    """The looper's kind."""
    considered: Consideration | None = None
    """What signals and rules said; None when the request named a model."""
    why: str = ""
    """One short sentence for people."""
    warnings: Sequence[str] = ()
    """What of the request was accepted but has no effect on this route."""
    plugins: PluginChain = NO_PLUGINS
    """What the decision does to its requests beside choosing models."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What is added to the response's headers, or put in their place, by who answers."""

    @property
    def confidence(self) -> float:
        """Of the decision's rules."""
        return self.considered.confidence if self.considered else 0.0

    @property
    def recipe(self) -> str | None:
        """The recipe whose decisions competed; None when the request named a model."""
        return self.considered.recipe if self.considered else None

    @property
    def decisions(self) -> Sequence[DecisionTrace]:
        """Every decision that was considered, in the order of the configuration."""
        return self.considered.decisions if self.considered else ()

    @property
    def signals(self) -> Mapping[SignalKey, SignalResult] | None:
        """What the signals in use said, and projections; None when none was asked."""
        return self.considered.signals if self.considered else None


@dataclass(frozen=True, slots=True)
class BoundDecision:
    """A decision and what it comes to."""

    decision: Decision
    looper: Looper[Any] | None
    """None when it names an algorithm that we do not have, or has no model to run."""
    plugins: PluginChain = NO_PLUGINS


@dataclass(frozen=True, slots=True)
class Competitor:
    """A decision and its rules, compiled."""

    decision: Decision
    rules: Rules


@dataclass(frozen=True)
class Consideration:
    """What signals and rules say of a request, before anything follows from it."""

    recipe: str
    competitors: Sequence[Competitor]
    """The decisions that competed, in the order of the configuration."""
    verdicts: Sequence[Verdict]
    """What the rules of each came to."""
    signals: Results
    """Of the signals in use, and outputs of projections."""
    winner: BoundDecision | None
    confidence: float = 0.0
    """Of the winner."""
    strategy: Strategy = "priority"
    """How the winner was chosen among those that matched."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each signal kind took."""
    stages: Stages | None = None
    """What made outputs of projections out of signals."""

    @cached_property
    def decisions(self) -> Sequence[DecisionTrace]:
        """How every decision that competed fared, in the order of the configuration."""
        return tuple(
            DecisionTrace(
                competitor.decision.name,
                matched is True,
                confidence,
                competitor.rules,
                self.signals,
                priority=competitor.decision.priority,
                tier=competitor.decision.tier,
            )
            for competitor, (matched, confidence) in zip(
                self.competitors, self.verdicts, strict=True
            )
        )

    @property
    def projections(self) -> Sequence[ProjectionTrace]:
        """What every partition, score and mapping in use came to."""
        return self.stages.trace(self.signals) if self.stages is not None else ()

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
        settings: Mapping[str, BaseModel] | None = None,
        projections: Projections | None = None,
    ) -> None:
        self.recipe = recipe
        self.decisions = tuple(decisions)
        self._rules = rules
        self._settings = settings
        self._projections = projections or Projections()
        self._strategy = strategy
        self._competitors = tuple(
            Competitor(bound.decision, compile_rules(bound.decision.rules))
            for bound in self.decisions
        )
        asked = (
            SignalKey(condition.type, condition.result)
            for bound in self.decisions
            for condition in conditions_of(bound.decision.rules)
        )
        needs = Needs(self._projections, rules, asked)
        self._signals = SignalSet.build(rules, needs.signals, settings=settings)
        self._stages = Stages(needs, self._signals.signals)

    def only(self, keep: Callable[[BoundDecision], bool]) -> DecisionTable:
        """Gives the table of just these decisions, which asks only for their signals."""
        return DecisionTable(
            self.recipe,
            [bound for bound in self.decisions if keep(bound)],
            self._rules,
            self._strategy,
            settings=self._settings,
            projections=self._projections,
        )

    @property
    def needs_models(self) -> bool:
        """Whether any signal in use compares meanings or asks a model."""
        return self._signals.needs_embedding or self._signals.needs_helper

    @property
    def needs_helper(self) -> bool:
        """Whether any signal in use asks a model."""
        return self._signals.needs_helper

    @property
    def most_calls(self) -> int:
        """The most upstream calls that one of its decisions plans, as configured; at least 1."""
        return max((b.looper.calls for b in self.decisions if b.looper is not None), default=1)

    @property
    def needs_embedding(self) -> bool:
        """Whether any signal in use compares meanings."""
        return self._signals.needs_embedding

    async def prepare(self, models: SignalModels) -> None:
        """Gives the signals their models."""
        await self._signals.prepare(models)

    async def consider(self, facts: RequestFacts) -> Consideration:
        """Evaluates signals, projections and every rule tree, and picks the winner."""
        seconds: dict[str, float] = {}
        signals = self._staged(await self._signals.evaluate(facts, seconds), seconds)
        verdicts = [competitor.rules.verdict(signals) for competitor in self._competitors]
        matched = {
            bound.decision.name: (_candidate(bound.decision, confidence), bound)
            for bound, (matches, confidence) in zip(self.decisions, verdicts, strict=True)
            if matches
        }
        best = select((candidate for candidate, _ in matched.values()), self._strategy)
        return Consideration(
            self.recipe,
            self._competitors,
            verdicts,
            signals,
            matched[best.name][1] if best else None,
            confidence=best.confidence if best else 0.0,
            strategy=self._strategy,
            seconds=seconds,
            stages=self._stages,
        )

    def _staged(self, found: Results, seconds: dict[str, float]) -> Results:
        begun = time.perf_counter()
        results = self._stages.apply(found)
        if self._stages.projects:
            seconds[PROJECTION] = time.perf_counter() - begun
        return results


def _candidate(decision: Decision, confidence: float) -> Candidate:
    return Candidate(decision.name, confidence, decision.priority, decision.tier)
