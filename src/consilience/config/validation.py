"""Data to `Config`, and every reason why not, in plain words.

Pydantic stops at the fields: rules over several fields run only when each field is right. So what
is wrong is left out and the rest validated again, until nothing is wrong any more.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails, core_schema

from ..rules.misfit import MisfitError
from .paths import ROOT, Finding, Path, has, is_secret_path, is_within, value_at
from .pruning import original, prune
from .remedies import remedy_of_place, remedy_of_quotes, remedy_of_rule, remedy_of_shape
from .root import Config
from .scalars import resolve_plain
from .stand_ins import stand_in_at
from .wording import (
    describe,
    describe_found,
    expected_at,
    keys_at,
    kind_of,
    literals,
)

MAX_FINDINGS = 200
"""Beyond so many the file is another kind of file, and more of them help nobody."""
_MAX_PASSES = 24
_MAX_COMPARED = 2000
_BUILT_IN = frozenset(get_args(core_schema.ErrorType))
_YES_AND_NO = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Truth values of YAML 1.1; words in YAML 1.2."""
_FIRST_WORD = re.compile(r"`?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(slots=True)
class Validated:
    """What came of validating a document."""

    config: Config | None = None
    """The configuration without what is wrong; None when nothing could be made of it."""
    findings: list[Finding] = field(default_factory=list)
    removed: set[Path] = field(default_factory=set)
    """What was left out."""
    standing: dict[Path, Any] = field(default_factory=dict)
    """What stands in for it where something is needed."""


def validate(
    data: Any,
    *,
    written: Mapping[Path, str],
    plain: frozenset[Path],
    removed: Iterable[Path] = (),
) -> Validated:
    """Validates a document whose variables are filled in.

    Args:
        data: changed in place where a filled-in text turns out to be a number or a truth value.
        written: the texts that had variables, as the file has them.
        plain: the unquoted scalars; only these may become numbers.
        removed: paths that are known to be wrong already.
    """
    result = Validated(removed=set(removed))
    reader = _Reader(data, written, plain, result)
    for _ in range(_MAX_PASSES):
        if ROOT in result.removed:
            break
        pruned = prune(data, result.removed, result.standing)
        try:
            result.config = Config.model_validate(pruned, by_alias=True, by_name=False)
            break
        except ValidationError as error:
            if not reader.take(error.errors(include_url=False, include_input=False), pruned):
                break
    result.findings = _without_misspelt(result.findings)
    return result


@dataclass(slots=True)
class _Reader:
    """Turns pydantic's errors into findings, one pass at a time."""

    data: Any
    written: Mapping[Path, str]
    plain: frozenset[Path]
    result: Validated
    retyped: set[Path] = field(default_factory=set)

    def take(self, errors: Sequence[ErrorDetails], pruned: Any) -> bool:
        """Notes the errors of one pass; False when the next pass would be no different."""
        before, standing = set(self.result.removed), dict(self.result.standing)
        retyped = len(self.retyped)
        for error in errors[:MAX_FINDINGS]:
            missing = error["type"] == "missing"
            path = original(_clean(error["loc"], pruned, missing=missing), before)
            if self._is_consequence(error, path, before) or self._retype(path):
                continue
            if error["type"] == "too_short" and self._is_long_enough(error, path):
                continue  # only for want of the entries that are wrong themselves
            finding, left_out = self._finding(error, path)
            self._leave_out(left_out, missing=missing)
            if finding not in self.result.findings:
                self.result.findings.append(finding)
        if len(errors) > MAX_FINDINGS:
            return False
        changed = self.result.removed != before or self.result.standing != standing
        return changed or len(self.retyped) > retyped

    def _is_consequence(self, error: ErrorDetails, path: Path, before: Collection[Path]) -> bool:
        """Whether an error is due to what was left out: not worth a word, but it must go too."""
        missing = error["type"] == "missing"
        if any(is_within(path, place) for place in self.result.standing):
            refused = next(p for p in self.result.standing if is_within(path, p))
            if missing and path != refused:
                self._leave_out(path, missing=True)
            else:
                self.result.removed.add(refused[:-1])
            return True
        if getattr(error.get("ctx", {}).get("error"), "certain", False):
            return False
        depends = _fields_of(error, self._block(path)) or (path,)
        if not any(is_within(place, each) for place in before for each in depends):
            return False
        wrong = [each for each in depends if each in before and each != path]
        for each in wrong:
            if each not in self.result.standing and self._stand_in(each):
                return True
        free = [each for each in depends if each not in before]
        self._leave_out(path if missing or not free else free[0], missing=missing)
        return True

    def _block(self, path: Path) -> Path:
        """The block that a message about several of its fields speaks of."""
        return path if isinstance(value_at(self.data, path), Mapping) else path[:-1]

    def _leave_out(self, path: Path, *, missing: bool) -> None:
        """Leaves out what is wrong; for what is needed something stands in, if anything can."""
        self.result.removed.add(path)
        if missing and not self._stand_in(path):
            self.result.removed.add(path[:-1])

    def _stand_in(self, path: Path) -> bool:
        """Puts something in the place of what was left out; False when nothing fits."""
        stand_in = stand_in_at(Config, path, self.data)
        if stand_in is not None:
            self.result.standing[path] = stand_in
        return stand_in is not None

    def _is_long_enough(self, error: ErrorDetails, path: Path) -> bool:
        """Whether a list that pydantic finds too short has its entries in the file."""
        found = value_at(self.data, path)
        return isinstance(found, list) and len(found) >= error.get("ctx", {})["min_length"]

    def _retype(self, path: Path) -> bool:
        """Reads a filled-in plain text as the number or truth value that it spells."""
        if path in self.retyped or path not in self.written or path not in self.plain:
            return False
        text = value_at(self.data, path)
        value = resolve_plain(text) if isinstance(text, str) else text
        if value is None or isinstance(value, str):
            return False
        value_at(self.data, path[:-1])[path[-1]] = value
        self.retyped.add(path)
        return True

    def _finding(self, error: ErrorDetails, path: Path) -> tuple[Finding, Path]:
        """Gives the finding, and the path to leave out because of it."""
        kind = error["type"]
        if kind == "missing":
            return self._missing(path), path
        if kind == "extra_forbidden":
            return self._unknown(path), path
        if kind in ("value_error", "assertion_error") or kind not in _BUILT_IN:
            cause = error.get("ctx", {}).get("error")
            message = str(cause) if cause is not None else error["msg"]
            fields = _fields_of(error, self._block(path))
            if fields and self._block(path) != path:
                return Finding(path, message), fields[0]
            path = self._nearer(path, message)
            if fields and path not in fields:
                written = value_at(self.data, fields[0]) is not None
                return Finding(fields[0] if written else path, message), fields[0]
            remedy = self._remedy_of_text(path) or remedy_of_rule(kind, value_at(self.data, path))
            return Finding(path, message, remedy), path
        return Finding(path, self._wrong(error, path), self._remedy(path)), path

    def _missing(self, path: Path) -> Finding:
        expected = expected_at(Config, path, self.data)
        needed = f"; it must be {describe(expected)}" if expected else ""
        return Finding(path, f"`{path[-1]}` is missing{needed}")

    def _unknown(self, path: Path) -> Finding:
        key, block = str(path[-1]), value_at(self.data, path[:-1])
        known = keys_at(Config, path[:-1], self.data)
        free = [name for name in known if name == key or name not in (block or {})]
        shown = key if len(key) <= 60 else key[:59] + "…"
        allowed = f"; known here: {', '.join(known)}" if known else "; no keys are known here"
        return Finding(
            path,
            f"unknown key `{shown}`{allowed}",
            remedy_of_place(Config, path) or near(key, free, write="`{}`"),
            at_key=True,
        )

    def _wrong(self, error: ErrorDetails, path: Path) -> str:
        found, context = self._found(path), error.get("ctx", {})
        special = _SPECIAL.get(error["type"])
        if special is not None:
            return special(context)
        expected = expected_at(Config, path, self.data)
        if expected is None:
            return f"cannot be {found}"
        return f"must be {describe(expected)}, not {found}"

    def _found(self, path: Path) -> str:
        value = value_at(self.data, path)
        if self._is_secret(path):
            return kind_of(value)
        if path in self.written:
            return f"the value of {describe_found(self.written[path])}"
        return describe_found(value)

    def _is_secret(self, path: Path) -> bool:
        expected = expected_at(Config, path, self.data)
        return is_secret_path(path) or (expected is not None and expected.annotation is SecretStr)

    def _remedy(self, path: Path) -> str | None:
        value = value_at(self.data, path)
        expected = expected_at(Config, path, self.data)
        if expected is None or self._is_secret(path) or path in self.written:
            return None
        by_shape = remedy_of_quotes(value) or remedy_of_shape(value, expected)
        if by_shape is not None:
            return by_shape
        if isinstance(value, str):
            words = literals(expected)
            if words:
                return near(value, words, write='"{}"')
            if expected.annotation is bool and value.lower() in _YES_AND_NO:
                return f"write {_YES_AND_NO[value.lower()]}"
            typed = resolve_plain(value)
            wanted = {int: (int,), float: (int, float), bool: (bool,)}.get(expected.annotation, ())
            return f"remove the quotes: {value}" if type(typed) in wanted else None
        if expected.annotation is str and isinstance(value, int | float):
            return f'put it in quotes: "{describe_found(value)}"'
        return None

    def _remedy_of_text(self, path: Path) -> str | None:
        return None if is_secret_path(path) else remedy_of_quotes(value_at(self.data, path))

    def _nearer(self, path: Path, message: str) -> Path:
        """Goes down to the key that a message about a whole block begins with."""
        block, word = value_at(self.data, path), _FIRST_WORD.match(message)
        if isinstance(block, Mapping) and word is not None and word[1] in block:
            return (*path, word[1])
        return path


def _fields_of(error: ErrorDetails, block: Path) -> tuple[Path, ...]:
    """What in a block an error depends on, where its validator says so."""
    cause = error.get("ctx", {}).get("error")
    return (
        tuple((*block, *name.split(".")) for name in cause.fields)
        if isinstance(cause, MisfitError)
        else ()
    )


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "too_short": lambda c: f"must have {_entries(c['min_length'])} or more",
    "too_long": lambda c: f"must have {_entries(c['max_length'])} or fewer",
    "string_too_short": lambda c: (
        "must not be empty"
        if c["min_length"] == 1
        else f"must have at least {c['min_length']} characters"
    ),
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "finite_number": lambda _: "must be a finite number",
}


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def near(word: str, known: Iterable[str], *, write: str = "{}") -> str | None:
    """Gives `did you mean ...?` when a known word is close."""
    folded: dict[str, str] = {}
    for name in itertools.islice(known, _MAX_COMPARED):
        folded.setdefault(_folded(name), name)
    found = difflib.get_close_matches(_folded(word[:200]), folded, n=1, cutoff=0.6)
    return f"did you mean {write.format(folded[found[0]])}?" if found else None


def _folded(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")


def _clean(location: Sequence[str | int], data: Any, *, missing: bool) -> Path:
    """Takes pydantic's own words (union branches, `[key]`) out of a location."""
    path: Path = ()
    for index, step in enumerate(location):
        if has(data, step):
            path, data = (*path, step), data[step]
        elif missing and index == len(location) - 1:
            path = (*path, step)
    return path


def _without_misspelt(findings: Sequence[Finding]) -> list[Finding]:
    """Drops `x is missing` where an unknown key beside it is a misspelt x."""
    meant = {(f.path[:-1], f.suggestion) for f in findings if f.at_key and f.suggestion is not None}
    return [
        f
        for f in findings
        if f.at_key or not f.path or (f.path[:-1], f"did you mean `{f.path[-1]}`?") not in meant
    ]
