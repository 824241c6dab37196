"""Knowledge bases: their labels are read from files and put where the configuration may have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path as FilePath
from typing import Any

from ..chat.codec import decode
from ..signals.kb import Kb, KnowledgeBases
from .duplicates import duplicates
from .knowledge_defaults import DEFAULT_BASES
from .paths import Finding, Path
from .root import Config
from .validation import near

BASES: Path = ("global", "model_catalog", "kbs")
_LARGEST = 16 << 20
_ABOVE = 3
"""Folders above the configuration's own in which a base is looked for: recipes share them."""


def read_knowledge(data: dict[str, Any], base_dir: FilePath | None) -> Iterator[Finding]:
    """Puts the labels of every knowledge base that a rule names into a document.

    The bases that the reference ships are known by name; their files are not part of this package.

    Args:
        data: the document, changed in place.
        base_dir: the configuration's folder; the working directory when None.
    """
    used = _used(data)
    entries = _entries(data)
    if entries is None:
        return
    declared = {_name(entry) for entry in entries if isinstance(entry, dict)}
    for name in used:
        if name in DEFAULT_BASES and name not in declared:
            entries.append({"name": name, **DEFAULT_BASES[name]})
    for i, entry in enumerate(entries):
        if isinstance(entry, dict) and isinstance(entry.get("source"), dict):
            message = _take(entry, base_dir or FilePath())
            if message is not None:
                name = _name(entry)
                place = (*BASES, i, "source", "path") if name in declared else used.get(name, BASES)
                yield Finding(place, message, warning=name not in used)


def _entries(data: dict[str, Any]) -> list[Any] | None:
    """The list of bases, made when it is missing; None when something else stands there."""
    section: Any = data
    for key in BASES[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            return None
    entries = section.setdefault(BASES[-1], [])
    return entries if isinstance(entries, list) else None


def _take(entry: dict[str, Any], folder: FilePath) -> str | None:
    """Reads the manifest; gives what is wrong with it."""
    source = entry["source"]
    path, manifest = source.get("path"), source.get("manifest", "labels.json")
    if not (isinstance(path, str) and isinstance(manifest, str)):
        return None  # validation says so
    wanted = FilePath(path) / manifest
    places = [folder, *list(folder.absolute().parents)[:_ABOVE]]
    try:
        found = next((each / wanted for each in places if (each / wanted).is_file()), None)
        if found is None:
            return f'the knowledge base "{_name(entry)}" is not there: no {wanted} here or above'
        if found.stat().st_size > _LARGEST:
            return f"{wanted} has more than {_LARGEST >> 20} MiB"
        labels = decode(found.read_bytes())["labels"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{wanted} is not a JSON object with `labels`"
    if not isinstance(labels, dict):
        return f"{wanted}: `labels` must be an object: a name, and its exemplars"
    own = entry.get("labels") or {}
    if isinstance(own, dict):  # else validation says so
        entry["labels"] = {**labels, **own}
    return None


def _name(entry: Mapping[str, Any]) -> str:
    """What an entry is called; empty when that is no text."""
    name = entry.get("name")
    return name if isinstance(name, str) else ""


def _used(data: Mapping[str, Any]) -> dict[str, Path]:
    """The bases that rules and projections name, each with its first place."""
    found: dict[str, Path] = {}
    profiles: list[tuple[Path, Any]] = [(("routing",), data.get("routing"))]
    recipes = data.get("recipes")
    for i, recipe in enumerate(recipes if isinstance(recipes, list) else ()):
        if isinstance(recipe, dict):
            profiles.append((("recipes", i, "routing"), recipe.get("routing")))
    for path, profile in profiles:
        for place, name in _named(profile, path):
            found.setdefault(name, place)
    return found


def _named(profile: Any, path: Path) -> Iterator[tuple[Path, str]]:
    for i, rule in enumerate(_list_at(profile, "signals", "kb")):
        if isinstance(rule, dict) and isinstance(rule.get("kb"), str):
            yield (*path, "signals", "kb", i, "kb"), rule["kb"]
    for i, score in enumerate(_list_at(profile, "projections", "scores")):
        for j, each in enumerate(_list_at(score, "inputs")):
            if isinstance(each, dict) and isinstance(each.get("kb"), str):
                place = (*path, "projections", "scores", i, "inputs", j, "kb")
                yield place, each["kb"]


def _list_at(value: Any, *keys: str) -> list[Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def check_knowledge(config: Config) -> Iterator[Finding]:
    """Gives what does not fit together in the knowledge bases of a configuration."""
    kbs = config.global_.signal_settings[Kb.kind]
    bases = kbs.root if isinstance(kbs, KnowledgeBases) else ()
    names = (((*BASES, i, "name"), base.name) for i, base in enumerate(bases))
    yield from duplicates(names, "the knowledge base")
    for i, base in enumerate(bases):
        named = {"groups": chain.from_iterable(base.groups.values())}
        for key, labels in (*named.items(), ("label_thresholds", base.label_thresholds)):
            strange = [label for label in dict.fromkeys(labels) if label not in base.labels]
            if base.labels and strange:
                yield Finding(
                    (*BASES, i, key),
                    f'the knowledge base "{base.name}" has no label "{strange[0]}"',
                    near(strange[0], base.labels, write='"{}"'),
                    warning=True,
                    absent=strange[0],
                    looked_in=((*BASES, i, "labels"),),
                )
