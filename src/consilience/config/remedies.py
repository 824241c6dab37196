"""What was probably meant by a value of the wrong shape, or by a key in the wrong place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from .paths import Path, dotted, tells_secret
from .wording import Expected, describe_found, keys_at

_COLON = re.compile(r"([A-Za-z_]\w*):(\S+)\Z")
_SPOKEN = dict.fromkeys(
    ("knowledge base", "knowledge bases", "knowledge_base", "knowledge_bases", "knowledge-base"),
    "kb",
)
"""What people call a section that is spelled quite differently."""
_TYPOGRAPHIC = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"


def remedy_of_shape(value: Any, expected: Expected) -> str | None:
    """Says how a value of another shape is written as what the place takes."""
    kind = expected.annotation
    if isinstance(value, str) and tells_secret(value):
        return None
    if get_origin(kind) is tuple:
        if isinstance(value, Mapping):
            return "begin each entry with `- `"
        written = _entry(value, get_args(kind)[0])
        return None if written is None else f"write [{written}]"
    if not _is_model(kind):
        return None
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return "write its keys without `- ` before them"
    if not isinstance(value, str):
        return None
    if (found := _COLON.match(value)) is not None:
        return f"put a space after the colon: {found[1]}: {found[2]}"
    written = _entry(value, kind)
    return None if written is None else f"write {written}"


def _entry(value: Any, kind: Any) -> str | None:
    """Writes a text or number as an entry of this kind: as it is, or under its one needed key."""
    if isinstance(value, list | None):
        return None
    if not _is_model(kind):
        return describe_found(value)
    needed = [f.alias or name for name, f in kind.model_fields.items() if f.is_required()]
    if len(needed) != 1 or not isinstance(value, str):
        return None
    return f"{{{needed[0]}: {describe_found(value)}}}"


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def remedy_of_quotes(value: Any) -> str | None:
    """Tells of quotes that YAML takes for letters."""
    if isinstance(value, str) and value[:1] in _TYPOGRAPHIC and value:
        return "these are typographic quotes, which mean nothing to YAML: write straight ones"
    return None


def remedy_of_rule(kind: str, value: Any) -> str | None:
    """Says how what stands in the place of a rule tree is written as one.

    Args:
        kind: the type of the error, as `rules.grammar` has it.
        value: what was found.
    """
    if kind != "rule_node":
        return None
    if isinstance(value, list):
        return "wrap the list: {operator: AND, conditions: [...]}"
    if isinstance(value, Mapping) and "condition" in value:
        return "did you mean `conditions`? It needs an `operator` beside it: AND, OR or NOT"
    return None


def remedy_of_place(model: type[BaseModel], path: Path) -> str | None:
    """Says where a key belongs that is unknown at `path`, when it is known close by."""
    key = path[-1]
    if not isinstance(key, str):
        return None
    if any(not c.isprintable() or (c.isspace() and c != " ") for c in key):
        return "the key has a character that cannot be seen, such as a no-break space: type it anew"
    section = path[:-1]
    if key.casefold() in _SPOKEN and _SPOKEN[key.casefold()] in keys_at(model, section, {}):
        return f"did you mean `{_SPOKEN[key.casefold()]}`?"
    for length in range(len(section) - 1, -1, -1):
        above = section[:length]
        if key in keys_at(model, above, {}):
            return f"`{key}` belongs in {f'`{dotted(above)}`' if above else 'the top level'}"
    below = {name for name, keys in _sections_below(model, section) if key in keys}
    return f"`{key}` belongs in `{below.pop()}`" if len(below) == 1 else None


def _sections_below(model: type[BaseModel], path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in keys_at(model, path, {}):
        yield name, (*keys_at(model, (*path, name), {}), *keys_at(model, (*path, name, 0), {}))
