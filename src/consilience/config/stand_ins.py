"""What stands in for a needed value that is wrong or missing, so that its block is still checked.

Nobody is shown one: what is said of a stand-in is a consequence of the problem before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr

from .paths import Path, dotted, value_at
from .wording import Expected, blocks_at, expected_at, keys_of, literals

_MARK = "\ue000"
_NAME = re.compile(rf"{_MARK}[^{_MARK}]*{_MARK}")


def stand_in_at(model: type[BaseModel], path: Path, data: Any) -> Any:
    """Gives what the model probably takes at the path of a key; None when that cannot be told.

    A text is a name that nothing else has.
    """
    found = value_at(data, path[:-1])
    given = {*found, path[-1]} if isinstance(found, Mapping) else {path[-1]}
    blocks = [keys_of(b) for b in blocks_at(model, path[:-1], data) if path[-1] in keys_of(b)]
    fitting = [keys for keys in blocks if given <= set(keys)]
    if len(fitting or blocks) != 1:
        return None  # of blocks that differ by this key, any choice would make others wrong
    expected = expected_at(model, path, data)
    return None if expected is None else _stand_in(expected, path)


def _stand_in(expected: Expected, path: Path) -> Any:
    kind, words = expected.annotation, literals(expected)
    origin = get_origin(kind) or kind
    if words:
        return words[0]
    if kind in (str, SecretStr):
        return f"{_MARK}{dotted(path)}{_MARK}"
    if kind in (int, float):
        least = [c.ge for c in expected.constraints if isinstance(c, annotated_types.Ge)]
        return kind(*least) if least else kind(1)
    if origin is tuple:
        return []
    is_block = isinstance(origin, type) and issubclass(origin, BaseModel | Mapping)
    return {} if is_block else None


def without_stand_ins(text: str) -> str:
    """Gives a text with a question mark for each name that stands in."""
    return _NAME.sub("?", text) if _MARK in text else text


def names_stand_in(text: str | None) -> bool:
    """Whether a text has a name that stands in."""
    return text is not None and _MARK in text
