"""Decisions of a configuration become loopers and plugins, once, at load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..config.plugin_checks import plugin_binding
from ..config.root import DEFAULT_RECIPE, Config
from ..config.routing import KINDS, Decision, ModelRef, RecipeRouting
from ..loopers import LOOPERS
from ..loopers.base import Binding, Looper, LooperOptions, ModelFacts, RequestOverrides
from ..loopers.fusion.looper import Fusion
from ..loopers.fusion.options import FusionOptions
from ..loopers.reasoning import DEFAULT_EFFORT, ReasoningSwitch
from ..loopers.single import Single, SingleOptions
from ..plugins import PLUGINS
from ..plugins.base import Plugin
from ..plugins.chain import NO_PLUGINS, PluginChain
from .table import BoundDecision, DecisionTable

FUSION_DIRECT = "fusion_direct"
"""The decision that a request brings along by naming its own panel."""


class Binder:
    """Binds decisions to loopers and plugins with what the configuration knows of models and limits."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._default = config.providers.defaults.default_model
        self._loopers = {looper.kind: looper for looper in LOOPERS}
        self._facts = model_facts(config)
        self._overrides = _overrides(config)
        self._plugin_bindings = {
            plugin.kind: replace(binding, shared=plugin.share(binding.settings))
            for plugin in PLUGINS
            for binding in (plugin_binding(config, plugin.kind),)
        }

    def tables(self) -> dict[str, DecisionTable]:
        """Gives the decisions of every recipe, by the recipe's name.

        Raises:
            ValueError: a signal rule that cannot work.
        """
        recipes = self._config.recipes
        tables = {recipe.name: self._table(recipe.name, recipe.routing) for recipe in recipes}
        tables[DEFAULT_RECIPE] = self._table(DEFAULT_RECIPE, self._config.routing)
        return tables

    def single(self, model: str) -> Single:
        """Gives the looper that sends the request to one model."""
        return Single(SingleOptions(), self._binding("", (model,)))

    def fusion_direct(self) -> Fusion:
        """Gives a Fusion without settings of its own, for a request that brings its panel."""
        return Fusion(FusionOptions(), self._binding(FUSION_DIRECT, ()))

    def _table(self, name: str, routing: RecipeRouting) -> DecisionTable:
        bound = [self._bound(name, decision) for decision in routing.decisions]
        rules = {kind: routing.signals.rules_of(kind) for kind in KINDS}
        settings = self._config.global_.signal_settings
        return DecisionTable(
            name,
            bound,
            rules,
            routing.strategy,
            settings=settings,
            projections=routing.projections,
        )

    def _bound(self, recipe: str, decision: Decision) -> BoundDecision:
        looper = self._looper(decision)
        plugins = self._plugins(recipe, decision, looper)
        if looper is None and plugins.answers:  # it is never asked to deliberate
            looper = Single(SingleOptions(), self._binding(decision.name, ()))
        return BoundDecision(decision, looper, plugins)

    def _plugins(self, recipe: str, decision: Decision, looper: Looper[Any] | None) -> PluginChain:
        """The plugins of a decision that are enabled, in the order of the registry."""
        options = {p.type: p.options for p in decision.plugins if p.options and p.options.enabled}
        if not options:
            return NO_PLUGINS
        named = (self._facts[m] for m in (looper.models_used if looper else ()) if m in self._facts)
        window = min((f.context_window for f in named if f.context_window), default=None)
        chain: list[Plugin[Any]] = []
        for plugin in PLUGINS:
            if plugin.kind in options:
                shared = self._plugin_bindings[plugin.kind]
                own = replace(shared, recipe=recipe, decision=decision.name, context_window=window)
                chain.append(plugin(options[plugin.kind], own))
        return PluginChain(tuple(chain))

    def _looper(self, decision: Decision) -> Looper[Any] | None:
        algorithm = decision.algorithm
        kind = Single.kind if algorithm is None else algorithm.type
        looper = self._loopers.get(kind)
        if looper is None or (algorithm is not None and not algorithm.supported):
            return None
        models = tuple(ref.target for ref in decision.model_refs)
        if looper.kind == Single.kind:
            models = models or ((self._default,) if self._default else ())
            if not models:
                return None
        options: LooperOptions | None = None if algorithm is None else algorithm.options
        binding = self._binding(
            decision.name,
            models,
            reasoning=tuple(self._switch(ref) for ref in decision.model_refs),
            weights=_weights(decision.model_refs),
            output_contract=decision.output_contract,
            output_contract_spec=decision.output_contract_spec,
        )
        return looper(looper.Options() if options is None else options, binding)

    def _switch(self, ref: ModelRef) -> ReasoningSwitch | None:
        family = self._config.reasoning_family(ref.model)
        if family is None or ref.reasons is None:
            return None
        default = self._config.providers.defaults.default_reasoning_effort or DEFAULT_EFFORT
        effort = ref.reasoning_effort or default
        return ReasoningSwitch(family.type, family.parameter, ref.reasons, effort)

    def _binding(self, decision: str, models: Sequence[str], **own: Any) -> Binding:
        return Binding(decision, models, facts=self._facts, overrides=self._overrides, **own)


def _weights(refs: Sequence[ModelRef]) -> tuple[float, ...]:
    """The models' shares; empty when none is drawn. One without a weight has none."""
    weights = tuple(ref.weight or 0.0 for ref in refs)
    return weights if any(weights) else ()


def model_facts(config: Config) -> Mapping[str, ModelFacts]:
    """Gives what is declared of every model; a LoRA has its base model's window."""
    facts: dict[str, ModelFacts] = {}
    for name in (*config.model_names, *config.lora_names):
        card = config.card(name)
        facts[name] = ModelFacts(context_window=card.context_window_size if card else None)
    return facts


def _overrides(config: Config) -> RequestOverrides:
    looper = config.global_.integrations.looper
    known = config.askable
    return RequestOverrides(
        models=looper.fusion.request_overrides,
        max_panel_size=looper.fusion.max_panel_size,
        configured=known,
        forbidden=config.slugs,
        reachable=lambda model: model in known or looper.endpoint is not None,
    )
