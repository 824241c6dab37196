"""Substitution of environment variables in the texts of a configuration. Pure.

`${NAME}`, `$NAME`, `${NAME:-default}` (unset or empty), `${NAME-default}` (unset only) and `$$`
for a dollar. Any other `$` stands for itself, so regular expressions need no escaping. A variable
that is unset and has no default is a finding, never an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .paths import ROOT, Finding, Path, value_at

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<bare>{_NAME})"
    rf"|\{{(?P<name>{_NAME})(?:(?P<operator>:?-)(?P<default>[^}}]*))?\}}|(?P<open>\{{))"
)

_TAKES_A_NAME = "api_key_env"
_SHORTEST_HIDDEN = 4
_QUOTED = 40
"""Characters of a long value that messages quote."""


class Expansion(NamedTuple):
    """A text with its variables filled in."""

    text: str
    unset: tuple[str, ...]
    """Variables that are needed and not set."""
    malformed: bool
    """Whether a `${` could not be understood."""


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Fills the variables of one text, in one pass: what a variable holds is not expanded again."""
    unset: list[str] = []
    malformed = False

    def fill(match: re.Match[str]) -> str:
        nonlocal malformed
        if match["dollar"]:
            return "$"
        default = match["default"]
        if match["open"] or (default is not None and "${" in default):
            malformed = True
            return match[0]
        name = match["bare"] or match["name"]
        value = environ.get(name)
        if match["operator"] == ":-" and not value:
            return str(default)
        if value is None and default is None:
            unset.append(name)
            return ""
        return str(default) if value is None else value

    return Expansion(_REFERENCE.sub(fill, text), tuple(dict.fromkeys(unset)), malformed)


@dataclass(slots=True)
class Substitution:
    """A document with its variables filled in."""

    data: Any = None
    written: dict[Path, str] = field(default_factory=dict)
    """The texts that changed, as the file has them: what may be shown in place of the value."""
    findings: list[Finding] = field(default_factory=list)
    unusable: set[Path] = field(default_factory=set)
    """Paths whose value could not be determined."""

    def as_written(self, text: str) -> str:
        """Puts the file's own words back into a message: what a variable holds may be a secret."""
        for path, written in self.written.items():
            value = value_at(self.data, path)
            # Shorter values say nothing, and would be found inside other words.
            if isinstance(value, str) and len(value) >= _SHORTEST_HIDDEN:
                for shown in (value, value[:_QUOTED]):
                    text = text.replace(shown, written)
        return text


def substitute(data: Any, environ: Mapping[str, str]) -> Substitution:
    """Fills the variables of every text value (not of keys). The input stays as it is."""
    result = Substitution()
    result.data = _walk(data, ROOT, environ, result)
    return result


def _walk(value: Any, path: Path, environ: Mapping[str, str], result: Substitution) -> Any:
    if isinstance(value, dict):
        return {k: _walk(v, (*path, k), environ, result) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(v, (*path, i), environ, result) for i, v in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    text, unset, malformed = expand(value, environ)
    for name in unset:
        result.findings.append(
            Finding(
                path,
                f"the environment variable {name} is needed here and is not set",
                f"write {name} alone: this key takes the variable's name"
                if path and path[-1] == _TAKES_A_NAME
                else f"set {name}, or write ${{{name}:-default}}; a dollar sign itself is written $$",
            )
        )
    if malformed:
        result.findings.append(
            Finding(
                path,
                "this `${` is no variable: allowed are ${NAME}, ${NAME:-default}, ${NAME-default}",
                "a dollar sign itself is written $$",
            )
        )
    if unset or malformed:
        result.unusable.add(path)
    if text != value:
        result.written[path] = value
    return text
