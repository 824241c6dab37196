"""Checks of one routing profile: its signals, its rule trees, its models and algorithms. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import get_args

from ..loopers.fusion.options import Effort, FusionOptions, panel_size
from ..loopers.single import Single
from ..rules.misfit import MisfitError
from ..signals import SIGNALS
from ..signals.kb import Kb
from .algorithm import OPTIONS, REMOVED, UNSUPPORTED, Algorithm
from .condition_checks import check_rules
from .known_keys import also_in
from .paths import Finding, Path
from .plugin_checks import check_plugins
from .projection_checks import check_composers, check_metrics, check_projections
from .root import Config
from .routing import Decision, ModelRef, RecipeRouting
from .vain_rules import check_vain_rules
from .validation import near

_MODELS: Path = ("providers", "models")
_CARDS: Path = ("routing", "modelCards")
_MAX_ANNOTATIONS = 32
_MAX_ANNOTATION_BYTES = 4096


def check_profile(config: Config, profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Gives everything that is wrong or doubtful in one profile, which stands at `path`."""
    yield from _check_signals(config, profile, (*path, "signals"))
    yield from check_composers(profile, path)
    yield from check_projections(profile, path)
    metrics = Kb.standing_names(config.global_.signal_settings[Kb.kind])
    yield from check_metrics(profile, metrics, path)
    decisions: Path = (*path, "decisions")
    first: set[str] = set()
    unswitched: dict[str, list[Path]] = {}
    for i, decision in enumerate(profile.decisions):
        here: Path = (*decisions, i)
        if decision.name in first:
            yield Finding(
                (*here, "name"),
                f'the decision "{decision.name}" is declared twice',
                "give each its own name",
            )
        first.add(decision.name)
        for j, ref in enumerate(decision.model_refs):
            if ref.reasons and _has_no_family(config, ref):
                unswitched.setdefault(ref.model, []).append((*here, "modelRefs", j))
        yield from check_rules(profile, decision.rules, (*here, "rules"), path)
        yield from _check_model_refs(config, decision, here)
        yield from _check_weights(decision, here)
        yield from _check_annotations(decision, here)
        answered = any(plugin.answers for plugin in decision.plugins)
        if decision.algorithm is not None and not answered:
            yield from _check_algorithm(config, decision, decision.algorithm, here)
    yield from check_vain_rules(profile, decisions)
    yield from check_plugins(config, profile, path)
    for model, places in unswitched.items():
        yield Finding(
            places[0],
            f'"{model}" is not told to reason: it has no `reasoning_family`{also_in(places)}',
            "name its family in providers.models",
            warning=True,
            looked_in=(places[0], _MODELS),
        )


def _has_no_family(config: Config, ref: ModelRef) -> bool:
    """Whether nobody has said how this model is told to reason; an unknown family is told apart."""
    model = config.model(config.lora_base(ref.model) or ref.model)
    return model is not None and model.reasoning_family is None


def _check_signals(config: Config, profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    settings = config.global_.signal_settings
    for signal in SIGNALS:
        rules = profile.signals.rules_of(signal.kind)
        here: Path = (*path, signal.config_key)
        first: set[str] = set()
        for i, rule in enumerate(rules):
            if rule.name in first:
                yield Finding(
                    (*here, i, "name"),
                    f'the {signal.kind} signal "{rule.name}" is declared twice',
                    "give each its own name",
                )
            first.add(rule.name)
            for text in rule.warnings():
                yield Finding((*here, i, *rule.doubtful), text, warning=True)
            try:
                signal((rule,), settings.get(signal.kind))
            except ValueError as error:
                shared: Path = ("global", *signal.settings_key.split("."))
                fields = error.fields if isinstance(error, MisfitError) else ()
                depends = [(*here, i, *name.split(".")) for name in fields] or [(*here, i)]
                yield Finding(depends[0], str(error), looked_in=(*depends, shared))


def _check_model_refs(config: Config, decision: Decision, path: Path) -> Iterator[Finding]:
    for i, ref in enumerate(decision.model_refs):
        here: Path = (*path, "modelRefs", i)
        yield from check_model_name(config, ref.model, (*here, "model"))
        if ref.lora_name is not None:
            yield from _check_lora(config, ref, (*here, "lora_name"))
        yield from check_effort(ref.reasoning_effort, (*here, "reasoning_effort"))


def _check_weights(decision: Decision, path: Path) -> Iterator[Finding]:
    """Checks the weights where they count: in a route to one of several models."""
    refs, algorithm = decision.model_refs, decision.algorithm
    weights = [ref.weight for ref in refs if ref.weight is not None]
    if not weights or (algorithm is not None and algorithm.type != Single.kind):
        return
    here: Path = (*path, "modelRefs")
    if not any(weights):
        yield Finding(
            here,
            "no weight is above 0, so no model is ever drawn",
            "give one a weight above 0, or leave out all weights: then the first is asked",
        )
        return
    for i, ref in enumerate(refs):
        if ref.weight is None:
            yield Finding(
                (*here, i),
                f'"{ref.target}" has no `weight` beside others that have one: it is never drawn',
                "give it a weight; 0 if it shall only stand in when another fails",
                warning=True,
            )


def _check_lora(config: Config, ref: ModelRef, path: Path) -> Iterator[Finding]:
    card = config.card(ref.model)
    names = [lora.name for lora in card.loras] if card is not None else []
    if ref.lora_name is not None and ref.lora_name not in names:
        yield Finding(
            path,
            f'the card of "{ref.model}" declares no LoRA "{ref.lora_name}"',
            near(ref.lora_name, names, write='"{}"'),
            absent=ref.lora_name,
            looked_in=(_CARDS, (*path[:-1], "model")),
        )


def check_effort(effort: str | None, path: Path) -> Iterator[Finding]:
    """Warns of a reasoning effort that providers do not know; it is sent as it stands."""
    known = get_args(Effort)
    if effort is not None and effort not in known:
        yield Finding(
            path,
            f'"{effort}" is no reasoning effort that providers know: {", ".join(known)}',
            near(effort, known, write='"{}"'),
            warning=True,
        )


def check_model_name(config: Config, name: str, path: Path) -> Iterator[Finding]:
    """Checks a name that a decision would ask."""
    if name in config.slugs:
        yield Finding(
            path,
            f'"{name}" stands for a choice of models, so the request would come back here;'
            " name a model",
        )
    elif name not in config.askable:
        yield Finding(
            path,
            f'there is no model "{name}" in providers.models',
            near(name, sorted(config.askable), write='"{}"'),
            absent=name,
            looked_in=(_MODELS, _CARDS),
        )


def _check_annotations(decision: Decision, path: Path) -> Iterator[Finding]:
    here: Path = (*path, "annotations")
    notes = decision.annotations
    if len(notes) > _MAX_ANNOTATIONS:
        yield Finding(here, f"annotations has {len(notes)} keys; {_MAX_ANNOTATIONS} are allowed")
    elif len(json.dumps(notes, default=str).encode()) > _MAX_ANNOTATION_BYTES:
        yield Finding(here, f"annotations has more than {_MAX_ANNOTATION_BYTES} bytes as JSON")


def _check_algorithm(
    config: Config, decision: Decision, algorithm: Algorithm, path: Path
) -> Iterator[Finding]:
    here: Path = (*path, "algorithm")
    yield from _check_type(decision, algorithm, here)
    blocks, kind = sorted(algorithm.blocks), algorithm.type.lower()
    if len(blocks) > 1:
        yield Finding(
            (*here, blocks[1]),
            f"an algorithm has one options block; found {' and '.join(f'`{b}`' for b in blocks)}",
            at_key=True,
        )
    elif blocks and blocks[0] != kind and _is_known(kind):
        yield Finding(
            (*here, blocks[0]),
            f"the options of type {kind} belong in a block `{kind}`, not `{blocks[0]}`",
            at_key=True,
        )
    options = algorithm.options
    if options is None and not _is_known(algorithm.type):
        # Whatever its type was to be, what stands in its block can be looked at.
        options = next((getattr(algorithm, name) for name in blocks if name in OPTIONS), None)
    if isinstance(options, FusionOptions):
        yield from _check_fusion(config, decision, options, path)
    elif algorithm.supported and not decision.model_refs:
        yield Finding(
            path,
            f'the decision "{decision.name}" has no models: fill `modelRefs`',
            looked_in=((*path, "modelRefs"),),
        )


def _is_known(kind: str) -> bool:
    return kind in OPTIONS or kind in UNSUPPORTED


def _check_type(decision: Decision, algorithm: Algorithm, path: Path) -> Iterator[Finding]:
    kind, here = algorithm.type, (*path, "type")
    if kind in OPTIONS:
        return
    if kind in UNSUPPORTED:
        yield Finding(
            here,
            f'the algorithm "{kind}" is not available in this version: a request that reaches the'
            f' decision "{decision.name}" is answered with 501',
            warning=True,
        )
    elif kind in REMOVED:
        yield Finding(here, f'the algorithm "{kind}" no longer exists; use static or fusion')
    elif _is_known(kind.lower()):
        yield Finding(
            here, f'must be in lower case, not "{kind}"', f"use lower case: {kind.lower()}"
        )
    else:
        known = [*OPTIONS, *UNSUPPORTED]
        yield Finding(
            here,
            f'there is no algorithm "{kind}"; known: {", ".join(known)}',
            near(kind, known, write='"{}"'),
        )


def _check_fusion(
    config: Config, decision: Decision, options: FusionOptions, path: Path
) -> Iterator[Finding]:
    here: Path = (*path, "algorithm", "fusion")
    for name, place in _fusion_names(options, here):
        yield from check_model_name(config, name, place)
    yield from _check_panel(config, decision, options, path)
    seats = {seat.model for seat in options.analysis_models} or {
        ref.target for ref in decision.model_refs
    }
    for i, override in enumerate(options.analysis_overrides):
        if override.model in config.askable and override.model not in seats:
            yield Finding(
                (*here, "analysis_overrides", i, "model"),
                f'"{override.model}" has no seat in the panel: this override does nothing unless'
                " a request seats it",
                warning=True,
                looked_in=(
                    (*here, "analysis_overrides", i, "model"),
                    (*here, "analysis_models"),
                    (*path, "modelRefs"),
                ),
            )
    if options.grounding.enabled:
        yield Finding(
            (*here, "grounding", "enabled"),
            "`grounding` is not acted on in this version: no scores are computed",
            warning=True,
        )


def _fusion_names(options: FusionOptions, path: Path) -> Iterator[tuple[str, Path]]:
    for field in ("model", "synthesis_model"):
        name = getattr(options, field)
        if name is not None:
            yield name, (*path, field)
    for i, name in enumerate(options.fallback_models):
        yield name, (*path, "fallback_models", i)
    for i, seat in enumerate(options.analysis_models):
        yield seat.model, (*path, "analysis_models", i, "model")
    for i, override in enumerate(options.analysis_overrides):
        yield override.model, (*path, "analysis_overrides", i, "model")


def _check_panel(
    config: Config, decision: Decision, options: FusionOptions, path: Path
) -> Iterator[Finding]:
    fusion: Path = (*path, "algorithm", "fusion")
    by_name: Path = (*fusion, "analysis_models")
    by_refs: Path = (*path, "modelRefs")
    named = bool(options.analysis_models)
    size = panel_size(options.analysis_models) if named else len(decision.model_refs)
    most = config.global_.integrations.looper.fusion.max_panel_size
    depends: Sequence[Path] = (by_name, by_refs)
    if size == 0:
        yield Finding(
            path,
            f'the panel of "{decision.name}" is empty: fill `algorithm.fusion.analysis_models`'
            " or `modelRefs`",
            looked_in=depends,
        )
        return
    if size > most:
        yield Finding(
            by_name if named else by_refs,
            f"the panel has {size} seats; at most {most} allowed",
            "raise global.integrations.looper.fusion.max_panel_size, at most 64",
        )
    quorum = options.min_successful_responses
    if not named and quorum is not None and quorum > size:
        yield Finding(
            (*fusion, "min_successful_responses"),
            f"min_successful_responses is {quorum}, but the panel has {size}"
            f" seat{'s' if size != 1 else ''}; use 1 to {size}",
            looked_in=depends,
        )
