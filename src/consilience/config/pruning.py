"""Leaves out what is wrong, so that the rest is still checked. Pure.

Paths stay those of the document as it was written: taking out an entry of a list moves the later
ones up, and `original` undoes that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .paths import ROOT, Finding, Path, is_within, value_at


def prune(data: Any, removed: Collection[Path]) -> Any:
    """Copies a document without the values at these paths."""
    return _prune(data, ROOT, frozenset(removed))


def _prune(value: Any, path: Path, removed: frozenset[Path]) -> Any:
    if isinstance(value, dict):
        return {
            key: _prune(item, (*path, key), removed)
            for key, item in value.items()
            if (*path, key) not in removed
        }
    if isinstance(value, list):
        return [
            _prune(item, (*path, i), removed)
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
    if name is None:
        return any(
            is_within(r, place) or is_within(place, r) or _may_be(place, r, data)
            for r in removed
            for place in places
        )
    return any(
        is_within(place, r) or _may_be(place, r, data) or _may_declare(name, place, r, data)
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
    value = value_at(data, removed)
    if removed[-1] == "name":
        return not isinstance(value, str) or value == name
    if isinstance(value, Mapping):
        declared = value.get("name")
        return not isinstance(declared, str) or declared == name
    return isinstance(value, list) or isinstance(removed[-1], int)
