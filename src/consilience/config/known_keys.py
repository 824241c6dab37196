"""Keys that the reference knows and we do not act on, each with what is lost by it.

They are taken out before the rest is checked, so that their files load, their `${...}` is not
expanded, and nothing below them can be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..loopers import LOOPERS
from ..signals import SIGNALS, UNAVAILABLE
from .algorithm import REMOVED, UNSUPPORTED
from .paths import ROOT, Finding, Path, dotted

_ITEM = "[]"
"""Stands for any index in a pattern."""

_MODULES = (
    "prompt_compression",
    "prompt_guard",
    "classifier",
    "complexity",
    "hallucination_mitigation",
    "feedback_detector",
)

_GLOBAL: Mapping[str, str] = {
    "setup": "the dashboard's first-run marker",
    "global.services.api": "batches are not classified here",
    "global.services.response_api": "there is no Responses API",
    "global.services.observability": "nothing is traced or measured",
    "global.services.ratelimit": "requests are not rate limited",
    "global.services.management_api": "there is no management API",
    "global.services.startup_status": "`/ready` tells when requests are taken",
    "global.services.router_replay": "requests are not kept for replay",
    "global.stores": "no response cache, memory or vector store",
    "global.model_catalog.embeddings": "no embedding models are loaded",
    "global.model_catalog.system": "no classifiers are loaded",
    "global.model_catalog.external": "no helper models are asked",
    "global.model_catalog.kbs": "no knowledge bases are loaded",
    **{f"global.model_catalog.modules.{name}": "no classifiers are loaded" for name in _MODULES},
    "global.integrations.tools": "no tools are added to requests",
    "global.integrations.looper.remom": "the ReMoM names do not answer",
    "global.integrations.looper.flow": "the workflow names do not answer",
    "global.integrations.looper.retry_count": "calls are retried by this gateway's own rules",
    "global.integrations.looper.grpc_max_msg_size_mb": "there is no gRPC here",
    "global.router.config_source": "the configuration is always a file",
    "global.router.clear_route_cache": "there is no proxy whose route cache could be cleared",
    "global.router.streamed_body": "request bodies are always read whole",
    "global.router.skip_processing": "a request cannot ask to skip routing",
    "global.router.model_selection": "the first of a decision's models answers",
    "global.router.learning": "routing does not adapt to past requests",
    "providers.models[].external_model_ids": "backends are sent `provider_model_id`",
}

_PROFILE: Mapping[str, str] = {
    "projections": "conditions on projections never match",
    "decisions[].adaptations": "routing does not adapt to past requests",
    "decisions[].candidateIterations": "the decision's models are those of `modelRefs`",
    "decisions[].emits": "no session state is kept",
    "decisions[].algorithm.on_error": "failures are handled as the algorithm's own block says",
    "decisions[].output_contract_spec.normalize": "the answer is compared as it is",
    "decisions[].output_contract_spec.on_violation": "an answer that breaks it is passed on",
}


def _ignored() -> dict[tuple[str, ...], str]:
    patterns = dict(_GLOBAL)
    for signal in SIGNALS:
        if signal.Settings is not None:
            for key, lost in signal.Settings.ignored_keys.items():
                patterns[f"global.{signal.settings_key}.{key}"] = lost
    for profile in ("routing", f"recipes{_ITEM}.routing"):
        patterns |= {f"{profile}.{key}": lost for key, lost in _PROFILE.items()}
        for kind, key in UNAVAILABLE.items():
            if kind != "projection":
                lost = f"conditions on {kind} never match"
                patterns[f"{profile}.signals.{key}"] = lost
        for signal in SIGNALS:
            for key, lost in signal.Rule.ignored_keys.items():
                patterns[f"{profile}.signals.{signal.config_key}{_ITEM}.{key}"] = lost
        for looper in LOOPERS:
            for key, lost in looper.Options.ignored_keys.items():
                patterns[f"{profile}.decisions{_ITEM}.algorithm.{looper.kind}.{key}"] = lost
    return {_steps(pattern): lost for pattern, lost in patterns.items()}


def _steps(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.replace(_ITEM, f".{_ITEM}").split("."))


IGNORED: Mapping[tuple[str, ...], str] = _ignored()
"""Pattern of a path to what is lost when its key is ignored."""

# Blocks that are kept as a key, because their name is checked, but whose content does not matter.
_HOLLOW = frozenset(
    _steps(f"{profile}.decisions[].algorithm.{kind}")
    for profile in ("routing", "recipes[].routing")
    for kind in (*UNSUPPORTED, *REMOVED)
)
_PLUGIN_CONFIGURATION = frozenset(
    _steps(f"{profile}.decisions[].plugins[].configuration")
    for profile in ("routing", "recipes[].routing")
)


@dataclass(slots=True)
class Stripped:
    """A document without its ignored keys."""

    data: Any = None
    found: dict[tuple[str, ...], list[Path]] = field(default_factory=dict)
    """Where each ignored pattern was met."""

    def warnings(self) -> list[Finding]:
        """Gives one warning for each ignored key, at the first place where it stands."""
        return [
            Finding(
                places[0],
                f"`{places[0][-1]}` is not acted on: {IGNORED[pattern]}{also_in(places)}",
                warning=True,
                at_key=True,
            )
            for pattern, places in self.found.items()
        ]


def also_in(places: list[Path]) -> str:
    """Says where else the same holds."""
    if len(places) == 1:
        return ""
    if len(places) == 2:
        return f" (also {dotted(places[1])})"
    return f" (also {dotted(places[1])} and {len(places) - 2} more)"


def strip_ignored(data: Any) -> Stripped:
    """Copies a document without the keys of `IGNORED`, and without keys that have no value.

    `key:` with nothing after it means the same as no key, as in the reference.
    """
    result = Stripped()
    result.data = _copy(data, ROOT, (), result)
    return result


def _copy(value: Any, path: Path, pattern: tuple[str, ...], result: Stripped) -> Any:
    if isinstance(value, list):
        below = (*pattern, _ITEM)
        return [_copy(item, (*path, i), below, result) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    copy: dict[str, Any] = {}
    for key, item in value.items():
        below = (*pattern, key)
        if below in IGNORED:
            result.found.setdefault(below, []).append((*path, key))
        elif below in _HOLLOW:
            copy[key] = {}
        elif item is not None and below not in _PLUGIN_CONFIGURATION:
            copy[key] = _copy(item, (*path, key), below, result)
    return copy
