"""Checks of the plugins of decisions: each once, and with options that can work. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..plugins import PLUGINS, UNAVAILABLE
from ..plugins.base import Plugin, PluginBinding
from .known_keys import also_in
from .paths import Finding, Path
from .root import Config
from .routing import RecipeRouting

_KINDS = {plugin.kind: plugin for plugin in PLUGINS}


def plugin_binding(config: Config, kind: str) -> PluginBinding:
    """Gives what plugins of a kind are told of the configuration, whatever the decision."""
    identity: Any = config.global_.signal_settings["authz"]
    refs = [ref for model in config.providers.models for ref in model.backend_refs]
    return PluginBinding(
        settings=config.global_.plugin_settings.get(kind),
        keyed=any(listener.api_keys for listener in config.listeners),
        user_header=identity.identity.user_id_header,
        credential_headers=frozenset(ref.auth_header.lower() for ref in refs),
    )


def check_plugin_settings(config: Config) -> Iterator[Finding]:
    """Gives what is doubtful in what plugins share."""
    for kind, settings in config.global_.plugin_settings.items():
        path: Path = ("global", *_KINDS[kind].settings_key.split("."))
        for text in settings.warnings():
            yield Finding(path, text, warning=True)


def check_plugins(config: Config, profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Gives everything that is wrong or doubtful in the plugins of one profile's decisions."""
    bindings = {kind: plugin_binding(config, kind) for kind in _KINDS}
    unavailable: dict[str, list[Path]] = {}
    doubts: dict[str, list[Path]] = {}
    for i, decision in enumerate(profile.decisions):
        first: set[str] = set()
        for j, entry in enumerate(decision.plugins):
            here: Path = (*path, "decisions", i, "plugins", j)
            if entry.type in first:
                yield Finding(
                    (*here, "type"),
                    f'the decision has a plugin "{entry.type}" already; keep one of the two',
                )
            first.add(entry.type)
            if entry.options is None:
                unavailable.setdefault(entry.type, []).append(here)
                continue
            try:
                plugin: Plugin[Any] = _KINDS[entry.type](entry.options, bindings[entry.type])
            except ValueError as error:
                yield Finding((*here, "configuration"), str(error))
                continue
            for text in plugin.warnings() if entry.options.enabled else ():
                doubts.setdefault(f"`{entry.type}`: {text}", []).append((*here, "configuration"))
    for kind, places in unavailable.items():
        more = f" (in {len(places)} decisions)" if len(places) > 1 else ""
        yield Finding(
            places[0],
            f"the decision plugin `{kind}` is not acted on{more}: {UNAVAILABLE[kind]}",
            warning=True,
        )
    for text, places in doubts.items():
        yield Finding(places[0], f"{text}{also_in(places)}", warning=True)
