"""Which looper answers a request, and why. Contract section 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..chat.request import ChatRequest
from ..config.root import DEFAULT_RECIPE, Config
from ..decisions.trace import why_not
from ..errors import (
    ConsilienceError,
    InvalidRequestError,
    NoMatchingDecisionError,
    UnknownModelError,
    UnsupportedAlgorithmError,
)
from ..loopers import LOOPERS
from ..loopers.base import Looper
from ..loopers.fusion.looper import Fusion
from ..loopers.fusion.override import check_entries, read_plugin
from ..plugins.chain import NO_PLUGINS, PluginChain
from ..signals.base import RequestFacts
from ..signals.models import SignalModels
from .binding import Binder
from .listing import Listing, ModelEntry
from .near import near_names
from .table import BoundDecision, Consideration, DecisionTable, DecisionTrace, Route

_NAMED_DECISIONS = 8
"""How many decisions a refusal explains."""
_REASON_CHARS = 200


class _Slug(NamedTuple):
    table: DecisionTable
    needs_fusion: bool
    """Whether falling back to a single model would be something else than was asked for."""


class Router:
    """Routes requests by one configuration. Holds no state of a request."""

    def __init__(self, config: Config) -> None:
        """Compiles recipes and binds loopers.

        Raises:
            ValueError: a signal rule that cannot work; `config` finds those first.
        """
        self._binder = Binder(config)
        names = (*config.model_names, *config.lora_names)
        self._models = {name: self._binder.single(name) for name in names}
        self._direct = self._binder.fusion_direct()
        self._default = config.providers.defaults.default_model
        tables = self._binder.tables()
        fusion = tables[DEFAULT_RECIPE].only(_is_fusion)
        self._slugs = _slugs(config, tables, fusion)
        self._tables = tuple(dict.fromkeys(slug.table for slug in self._slugs.values()))
        self._fusion_slug = config.global_.integrations.looper.fusion.model_names[0]
        self._listing = Listing(config, tables, fusion)

    @property
    def needs_models(self) -> bool:
        """Whether any signal in use compares meanings or asks a model."""
        return any(table.needs_models for table in self._tables)

    @property
    def needs_embedding(self) -> bool:
        """Whether any signal in use compares meanings."""
        return any(table.needs_embedding for table in self._tables)

    def asks_helpers(self, request: ChatRequest) -> bool:
        """Whether a model may be asked before the request's route is known."""
        slug = self._slugs.get(request.model)
        return slug is not None and slug.table.needs_helper

    def most_calls(self, request: ChatRequest) -> int:
        """The most upstream calls that a route of the request may plan, as configured."""
        slug = self._slugs.get(request.model)
        return slug.table.most_calls if slug is not None else 1

    async def prepare(self, models: SignalModels) -> None:
        """Gives the signals their models; see `SignalSet.prepare`, which raises nothing here."""
        for table in self._tables:
            await table.prepare(models)

    async def route(self, request: ChatRequest, headers: Mapping[str, str]) -> Route:
        """Finds the route of a request.

        Args:
            request: the client's request.
            headers: its headers, names in lower case.

        Raises:
            UnknownModelError: nothing has the name that the request puts into `model`.
            NoMatchingDecisionError: no decision that the slug lets compete matched.
            UnsupportedAlgorithmError: the decision that matched cannot be carried out.
            InvalidRequestError: the request's plugin is wrong, not allowed, or has no place here.
        """
        return self.decide(request, await self.consider(request, headers))

    def decide(self, request: ChatRequest, considered: Consideration | None) -> Route:
        """Gives the route that follows from what `consider` gave; raises like `route`."""
        if considered is None:
            return self._to_model(request)
        if considered.winner is None:
            return self._without_decision(request, considered)
        return self._decided(request, considered, considered.winner)

    async def consider(
        self, request: ChatRequest, headers: Mapping[str, str], *, dry_run: bool = False
    ) -> Consideration | None:
        """Gives what signals and rules say; None when the request names a model, so none is asked.

        Args:
            request: the client's request.
            headers: its headers, names in lower case.
            dry_run: nothing will follow, so no helper model is asked.

        Raises:
            UnknownModelError: nothing has the name that the request puts into `model`.
            InvalidRequestError: a plugin entry for Fusion is wrong, or there are two.
        """
        slug = self._slugs.get(request.model)
        if slug is None and request.model not in self._models:
            raise self._unknown(request.model)
        check_entries(request, Fusion.plugin_ids)  # before a signal's helper model is paid
        if slug is not None:
            return await slug.table.consider(RequestFacts(request, headers, dry_run=dry_run))
        return None

    def models(self, *, everything: bool = False) -> tuple[ModelEntry, ...]:
        """Gives the names that a request may use.

        Args:
            everything: lists models and LoRAs too, whatever
                `global.router.include_config_models_in_list` says.
        """
        return self._listing.entries(everything=everything)

    def _to_model(self, request: ChatRequest) -> Route:
        plugin = _ignored_plugin(request, None)
        if plugin is not None:
            raise InvalidRequestError(
                f"the plugin {plugin!r} has no effect on the model {request.model!r}: ask"
                f" {self._fusion_slug!r} instead, or leave the plugin out",
                param="plugins",
            )
        looper = self._models[request.model].prepare(request)
        return _Found(looper, "the request names this model").route(request)

    def _decided(
        self, request: ChatRequest, considered: Consideration, winner: BoundDecision
    ) -> Route:
        decision = winner.decision
        if winner.looper is None:
            raise _cannot_run(winner)
        found = _Found(
            winner.looper.prepare(request),
            f"decision {decision.name!r} matched",
            considered,
            decision=decision.name,
            plugins=winner.plugins,
        )
        return found.route(request)

    def _without_decision(self, request: ChatRequest, considered: Consideration) -> Route:
        if self._slugs[request.model].needs_fusion:
            if not _brings_panel(request):
                raise _no_match(request, considered, "Fusion", _OWN_PANEL)
            looper: Looper[Any] = self._direct.prepare(request)
            why = "no Fusion decision matched; the request brings its own panel"
            return _Found(looper, why, considered, decision=looper.binding.decision).route(request)
        if self._default is None:
            raise _no_match(request, considered, "", _NO_DEFAULT)
        looper = self._binder.single(self._default).prepare(request)
        return _Found(looper, "no decision matched; the default model", considered).route(request)

    def _unknown(self, name: str) -> UnknownModelError:
        near = near_names(name, (*self._slugs, *self._models))
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return UnknownModelError(
            f"there is no model {name[:100]!r} here.{meant} GET /v1/models lists the names",
            param="model",
        )


_OWN_PANEL = "To use a panel of your own, send plugins: [{id: 'fusion', analysis_models: [...]}]"
_NO_DEFAULT = "There is no default model either (providers.defaults.default_model)"


@dataclass(frozen=True, slots=True)
class _Found:
    """What a route is made of, before it is one."""

    looper: Looper[Any]
    why: str
    considered: Consideration | None = None
    decision: str | None = None
    plugins: PluginChain = NO_PLUGINS

    def route(self, request: ChatRequest) -> Route:
        ignored = _ignored_plugin(request, type(self.looper))
        warnings = [*self.looper.warnings]
        if ignored is not None:
            warnings.append(f"plugin {ignored} is not acted on: the route is not a Fusion route")
        return Route(
            self.looper,
            request.model,
            decision=self.decision,
            algorithm=self.looper.kind,
            considered=self.considered,
            why=self.why,
            warnings=tuple(warnings),
            plugins=self.plugins,
        )


def _slugs(
    config: Config, tables: Mapping[str, DecisionTable], fusion: DecisionTable
) -> dict[str, _Slug]:
    """What each slug stands for. A name that is two things is the more special one."""
    default = _Slug(tables[DEFAULT_RECIPE], needs_fusion=False)
    slugs = dict.fromkeys(config.global_.router.auto_names, default)
    for entrypoint in config.entrypoints:
        named = _Slug(tables[entrypoint.recipe], needs_fusion=False)
        slugs |= dict.fromkeys(entrypoint.model_names, named)
    only_fusion = _Slug(fusion, needs_fusion=True)
    return slugs | dict.fromkeys(config.global_.integrations.looper.fusion.model_names, only_fusion)


def _is_fusion(bound: BoundDecision) -> bool:
    return isinstance(bound.looper, Fusion)


def _ignored_plugin(request: ChatRequest, used: type[Looper[Any]] | None) -> str | None:
    """The id of a plugin entry that speaks to a looper other than the one used."""
    for looper in LOOPERS:
        entry = request.plugin(looper.plugin_ids) if looper is not used else None
        if entry is not None and entry.get("enabled") is not False:
            return str(entry["id"]).strip()
    return None


def _brings_panel(request: ChatRequest) -> bool:
    """Whether the request's plugin names a panel.

    Raises:
        InvalidRequestError: the plugin is wrong; a misspelt panel is not a missing one.
    """
    entry = request.plugin(Fusion.plugin_ids)
    if entry is None:
        return False
    plugin = read_plugin(entry, request)
    return plugin.enabled and bool(plugin.analysis_models)


def _cannot_run(bound: BoundDecision) -> ConsilienceError:
    decision = bound.decision
    if decision.algorithm is not None and not decision.algorithm.supported:
        return UnsupportedAlgorithmError(
            f"decision {decision.name!r} matched, but its algorithm {decision.algorithm.type!r}"
            " is not available in this version"
        )
    return NoMatchingDecisionError(
        f"decision {decision.name!r} matched, but names no model. {_NO_DEFAULT}", param="model"
    )


def _no_match(
    request: ChatRequest, considered: Consideration, kind: str, advice: str
) -> NoMatchingDecisionError:
    what = f"{kind} decision".strip()
    if not considered.decisions:
        text = f"{request.model!r} found no {what}: none is configured"
    else:
        text = f"{request.model!r} found no {what} that matches: {_reasons(considered.decisions)}"
    return NoMatchingDecisionError(f"{text}. {advice}", param="model")


def _reasons(decisions: Sequence[DecisionTrace]) -> str:
    reasons = [f"{d.name!r}: {_short(why_not(d.trace))}" for d in decisions[:_NAMED_DECISIONS]]
    if len(decisions) > _NAMED_DECISIONS:
        reasons.append(f"and {len(decisions) - _NAMED_DECISIONS} more")
    return "; ".join(reasons)


def _short(text: str) -> str:
    return text if len(text) <= _REASON_CHARS else f"{text[: _REASON_CHARS - 3]}..."
