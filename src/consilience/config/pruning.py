"""Leaves out what is wrong, so that the rest is still checked. Pure.

Paths stay those of the document as it was written: taking out an entry of a list moves the later
ones up, and `original` undoes that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .paths import ROOT, Finding, Path, is_within, value_at

_NAMES = ("name", "role")
"""Keys that say what an entry gives."""
_HOLD_NAMES = ("outputs", "loras", "labels")
"""Lists within an entry that do."""


def prune(
    data: Any, removed: Collection[Path], standing: Mapping[Path, Any] = MappingProxyType({})
) -> Any:
    """Copies a document without the values at these paths, and with what stands in for some."""
    stand_ins: dict[Path, dict[str | int, Any]] = {}
    for place, value in standing.items():
        stand_ins.setdefault(place[:-1], {})[place[-1]] = value
    return _prune(data, ROOT, frozenset(removed), stand_ins)


def _prune(
    value: Any,
    path: Path,
    removed: frozenset[Path],
    standing: Mapping[Path, Mapping[str | int, Any]],
) -> Any:
    if isinstance(value, dict):
        kept = {
            key: _prune(item, (*path, key), removed, standing)
            for key, item in value.items()
            if (*path, key) not in removed
        }
        stand_ins = {
            key: _prune(item, (*path, key), removed, standing)
            for key, item in standing.get(path, {}).items()
        }
        return {**kept, **stand_ins}
    if isinstance(value, list):
        return [
            _prune(item, (*path, i), removed, standing)
            for i, item in enumerate(value)
            if (*path, i) not in removed
        ]
    return value


def original(path: Path, removed: Collection[Path]) -> Path:
    """Gives the path that a path of the pruned document had before."""
    gone: dict[Path, list[int]] = {}
    for place in removed:
        if place and isinstance(place[-1], int):
            gone.setdefault(place[:-1], []).append(place[-1])
    result: Path = ()
    for step in path:
        before = step
        if isinstance(before, int):
            for index in sorted(gone.get(result, ())):
                before += index <= before
        result = (*result, before)
    return result


def is_consequence(finding: Finding, data: Any, removed: Collection[Path]) -> bool:
    """Whether a finding may be due only to what was left out, and would go with its cause."""
    name, places = finding.absent, finding.looked_in or (finding.path,)
    if any(is_within(finding.path, r) for r in removed):
        return True
    if name is None:
        return any(
            is_within(r, place) or is_within(place, r) or _may_be(place, r, data)
            for r in removed
            for place in places
        )
    return any(
        is_within(place, r)
        or (_may_be(place, r, data) and _declares(name, value_at(data, r)))
        or _may_declare(name, place, r, data)
        for r in removed
        for place in places
    )


def _may_be(place: Path, removed: Path, data: Any) -> bool:
    """Whether what was left out beside a list may be that list under a misspelt key."""
    return removed[:-1] == place[:-1] and isinstance(value_at(data, removed), list)


def _may_declare(name: str, collection: Path, removed: Path, data: Any) -> bool:
    """Whether what was left out of a collection may have declared this name."""
    if not is_within(removed, collection):
        return False
    value, step = value_at(data, removed), removed[-1]
    if isinstance(value, Mapping | list):
        return "labels" in removed or _declares(name, value)
    if isinstance(step, int):
        return removed[:-1] == collection or removed[-2] in _HOLD_NAMES
    return step in (name, *_HOLD_NAMES) or (step in _NAMES and _is_called(name, value))


def _declares(name: str, value: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Whether an entry, or one within it, has this name or none that can be read."""
    if isinstance(value, Mapping):
        called = [value[key] for key in _NAMES if key in value]
        inner = [each for key, each in value.items() if key in _HOLD_NAMES]
        return (
            "name" not in value
            or any(_is_called(name, each) for each in called)
            or any(_declares(name, each) for each in inner if isinstance(each, Mapping | list))
        )
    return any(
        _declares(name, each) if isinstance(each, Mapping) else _is_called(name, each)
        for each in value
    )


def _is_called(name: str, found: Any) -> bool:
    """Whether what was found may be this name, or that of the rule whose result has it."""
    return not isinstance(found, str) or name == found or name.startswith(f"{found}:")
