"""Where something stands in a configuration document, and what is said about that place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Keys and list indices from the top of the document."""

ROOT: Path = ()

MASK = "********"
"""Stands where a secret would."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")

# Whole words between `_` and `-`: `auth_token` is a secret, `max_completion_tokens` is none.
_SENSITIVE = (
    r"(?:api[_-]?keys?|access[_-]?keys?|private[_-]?keys?|secrets?|password|passwd|pwd|passphrase"
    r"|token|auth|authorization|bearer|credentials?|cookies?)"
)
_SECRET_KEY = re.compile(rf"(?i)(?:.*[_.-])?{_SENSITIVE}(?:[_.-].*)?\Z")
_NAMES_A_PLACE = re.compile(r"(?i).*[_-](?:env|file|header|prefix)\Z")
_SECRET_WORD = re.compile(rf"(?i)(?<![A-Za-z0-9]){_SENSITIVE}(?![A-Za-z0-9])")
_SECRET_TOLD = re.compile(rf"(?i)(?<![A-Za-z0-9]){_SENSITIVE}[\"']?(?:\s*[:=]\s*|\s+)\S")
# `?` stands for a key that is no text: what it is called cannot be told.
_SECRET_BLOCKS = frozenset({"extra_headers", "headers", "?"})
_HEADERS_OF_A_PLUGIN = frozenset({"add", "update"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a warning before it has a line: what is said of which place."""

    path: Path
    message: str
    suggestion: str | None = None
    warning: bool = False
    at_key: bool = False
    """Whether the key itself is meant (an unknown key), not its value."""
    absent: str | None = None
    """The name that was looked for and not found, if that is the problem."""
    looked_in: Sequence[Path] = ()
    """The collections that were searched for `absent`."""


def dotted(path: Path) -> str:
    """Writes a path for people: `routing.decisions[2].algorithm.fusion.on_error`."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.match(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(parts)


def is_within(path: Path, ancestor: Path) -> bool:
    """Whether `path` is `ancestor` itself or lies below it."""
    return path[: len(ancestor)] == ancestor


def has(data: Any, step: str | int) -> bool:
    """Whether a block has this key, or a list this index."""
    if isinstance(data, list):
        return isinstance(step, int) and 0 <= step < len(data)
    return isinstance(data, Mapping) and step in data


def value_at(data: Any, path: Path) -> Any:
    """Gives the value at a path, or None when there is none."""
    for step in path:
        if not has(data, step):
            return None
        data = data[step]
    return data


def existing(data: Any, path: Path) -> Path:
    """Gives the longest beginning of `path` that the document has."""
    for length, step in enumerate(path):
        if not has(data, step):
            return path[:length]
        data = data[step]
    return path


def is_secret_key(key: str) -> bool:
    """Whether a key of this name probably holds a secret. `api_key_env` only names a place."""
    return bool(_SECRET_KEY.match(key)) and not _NAMES_A_PLACE.match(key)


def mentions_secret(text: str) -> bool:
    """Whether a text names something secret, `api_key: …` among others."""
    return any(
        _SECRET_WORD.search(word) and not _NAMES_A_PLACE.match(word)
        for word in re.findall(r"[\w.-]+", text)
    )


def tells_secret(text: str) -> bool:
    """Whether a text looks like a secret written after its name, as when a colon was forgotten."""
    return _SECRET_TOLD.search(text) is not None


def is_below_secret(path: Path) -> bool:
    """Whether even the keys at this path must not be shown."""
    return any(isinstance(step, str) and (step == "?" or is_secret_key(step)) for step in path)


def is_secret_path(path: Path) -> bool:
    """Whether the value at this path must not be shown."""
    if "plugins" in path and _HEADERS_OF_A_PLUGIN.intersection(path) and path[-1] != "name":
        return True
    return any(
        isinstance(step, str) and (step in _SECRET_BLOCKS or is_secret_key(step)) for step in path
    )
