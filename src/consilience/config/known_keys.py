"""Keys that the reference knows and we do not act on, each with what is lost by it.

They are taken out before the rest is checked, so that their files load, their `${...}` is not
expanded, and nothing below them can be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..loopers import LOOPERS
from ..plugins import PLUGINS
from ..plugins import UNAVAILABLE as UNAVAILABLE_PLUGINS
from ..plugins.base import Plugin
from ..signals import SIGNALS
from ..signals.base import Signal
from .algorithm import REMOVED, UNSUPPORTED
from .paths import ROOT, Finding, Path, dotted

_ITEM = "[]"
"""Stands for any index in a pattern."""

_HALLUCINATION = ("enabled", "on_hallucination_detected", "detector", "explainer")

_GLOBAL: Mapping[str, str] = {
    "setup": "the dashboard's first-run marker",
    "global.services.api": "batches are not classified here",
    "global.services.response_api": "there is no Responses API",
    "global.services.observability": "nothing is traced; `global.metrics` is what /metrics has",
    "global.services.ratelimit": "requests are not rate limited",
    "global.services.management_api": "there is no management API",
    "global.services.startup_status": "`/ready` tells when requests are taken",
    "global.services.router_replay": "requests are not kept for replay",
    "global.stores.memory": "nothing is remembered of users",
    "global.stores.vector_store": "no documents are stored",
    "global.model_catalog.system": "no classifiers are loaded",
    "global.model_catalog.external[].llm_provider": "helpers are asked in OpenAI's format",
    "global.model_catalog.external[].parser_type": "helpers answer with JSON",
    "global.model_catalog.external[].threshold": "a helper's choice counts as it is",
    "global.model_catalog.external[].llm_endpoint.name": "an endpoint needs no name",
    "global.model_catalog.external[].llm_endpoint.use_chat_template": "helpers are sent messages",
    "global.model_catalog.external[].llm_endpoint.prompt_template": "helpers are sent messages",
    "global.model_catalog.modules.prompt_compression": "signals read bounded parts of a prompt",
    "global.model_catalog.modules.classifier.mcp": "classifiers run in this process",
    **{
        f"global.model_catalog.modules.hallucination_mitigation.{name}": "answers are not checked"
        for name in _HALLUCINATION
    },
    "global.integrations.tools": "no tools are added to requests",
    "global.integrations.looper.remom": "the ReMoM names do not answer",
    "global.integrations.looper.flow": "the workflow names do not answer",
    "global.integrations.looper.retry_count": "calls are retried by this gateway's own rules",
    "global.integrations.looper.grpc_max_msg_size_mb": "there is no gRPC here",
    "global.router.config_source": "the configuration is always a file",
    "global.router.clear_route_cache": "there is no proxy whose route cache could be cleared",
    "global.router.streamed_body": "request bodies are always read whole",
    "global.router.skip_processing": "a request cannot ask to skip routing",
    "global.router.model_selection": "a decision's models are taken by `weight`, or in order",
    "global.router.learning": "routing does not adapt to past requests",
    "providers.models[].external_model_ids": "backends are sent `provider_model_id`",
}

_PROFILE: Mapping[str, str] = {
    "decisions[].adaptations": "routing does not adapt to past requests",
    "decisions[].candidateIterations": "the decision's models are those of `modelRefs`",
    "decisions[].emits": "no session state is kept",
    "decisions[].algorithm.on_error": "failures are handled as the algorithm's own block says",
    "decisions[].output_contract_spec.normalize": "the answer is compared as it is",
    "decisions[].output_contract_spec.on_violation": "an answer that breaks it is passed on",
}


_PROFILES = ("routing", f"recipes{_ITEM}.routing")


def _ignored() -> dict[tuple[str, ...], str]:
    patterns = dict(_GLOBAL)
    sharing: list[type[Signal[Any] | Plugin[Any]]] = [*SIGNALS, *PLUGINS]
    for member in sharing:
        if member.Settings is not None:
            for key, lost in getattr(member.Settings, "ignored_keys", {}).items():
                patterns[f"global.{member.settings_key}.{key}"] = lost
    for profile in _PROFILES:
        patterns |= _of_profile(profile)
    return {_steps(pattern): lost for pattern, lost in patterns.items()}


def _of_profile(profile: str) -> dict[str, str]:
    patterns = {f"{profile}.{key}": lost for key, lost in _PROFILE.items()}
    blocks: list[tuple[str, Mapping[str, str]]] = [
        *((f"signals.{s.config_key}{_ITEM}", s.Rule.ignored_keys) for s in SIGNALS),
        *((f"decisions{_ITEM}.algorithm.{x.kind}", x.Options.ignored_keys) for x in LOOPERS),
        *((f"{_plugin(x.kind)}.configuration", x.Options.ignored_keys) for x in PLUGINS),
    ]
    for block, ignored in blocks:
        patterns |= {f"{profile}.{block}.{key}": lost for key, lost in ignored.items()}
    return patterns


def _plugin(kind: str) -> str:
    """The pattern of a plugin of a kind, within a profile."""
    return f"decisions{_ITEM}.plugins[{kind}]"


def _steps(pattern: str) -> tuple[str, ...]:
    return tuple(filter(None, pattern.replace("[", ".[").split(".")))


IGNORED: Mapping[tuple[str, ...], str] = _ignored()
"""Pattern of a path to what is lost when its key is ignored."""

HOLLOW: Mapping[tuple[str, ...], str] = {
    _steps(f"{profile}.{block}"): lost
    for profile in _PROFILES
    for kinds, pattern, lost in (
        (UNSUPPORTED, f"decisions{_ITEM}.algorithm.{{}}", "such a decision is answered with 501"),
        (REMOVED, f"decisions{_ITEM}.algorithm.{{}}", "this algorithm no longer exists"),
        (UNAVAILABLE_PLUGINS, f"{_plugin('{}')}.configuration", "this plugin does nothing"),
    )
    for block in map(pattern.format, kinds)
}
"""Blocks that are kept as a key, because their name is checked, but whose content does not matter."""

_PLUGIN_LISTS = frozenset(_steps(f"{profile}.decisions[].plugins") for profile in _PROFILES)


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
        return [
            _copy(item, (*path, i), (*pattern, _item(item, pattern)), result)
            for i, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    copy: dict[str, Any] = {}
    for key, item in value.items():
        below = (*pattern, key)
        if below in IGNORED:
            result.found.setdefault(below, []).append((*path, key))
        elif below in HOLLOW:
            copy[key] = {}
        elif item is not None:
            copy[key] = _copy(item, (*path, key), below, result)
    return copy


def _item(item: Any, pattern: tuple[str, ...]) -> str:
    """What stands for an index in a pattern: of a plugin its type, which says what its keys mean."""
    kind = item.get("type") if pattern in _PLUGIN_LISTS and isinstance(item, dict) else None
    return f"[{kind}]" if isinstance(kind, str) else _ITEM
