"""What the YAML parser refuses, in plain words. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from .nodes import Mark

_CANNOT_START = re.compile(r"found character (?:'(.)'|\"(.)\") that cannot start any token")
_ESCAPE = re.compile(r"found unknown escape character '(.)'")
_CONFLICT = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{\w{1,60}(?::?-[^\s{}\"']{0,60})?\}")
_QUOTE = "put the text in quotes"


class Refused(NamedTuple):
    """Why the parser stopped."""

    message: str
    mark: Mark | None
    suggestion: str | None = None


def refused(error: MarkedYAMLError, text: str) -> Refused:
    """Says what the parser stumbled over in a text, and where."""
    at, began = error.problem_mark or error.context_mark, error.context_mark
    mark = Mark(at.line + 1, at.column + 1) if at is not None else None
    what, context = str(error.problem or ""), str(error.context or "")
    opened = f"opened on line {began.line + 1}" if began is not None else "opened before"
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        message = "a merge conflict was left in this file"
        return Refused(message, _mark(text, conflict.start()), "keep one of the two sides")
    if "'\\t'" in what:
        return Refused(
            "a tab stands where YAML allows only spaces", mark, "indent with spaces, not with tabs"
        )
    if "mapping values are not allowed" in what:
        message = "a `key: value` is not allowed here"
        advice = "check the indentation, put a space after each colon, and quote texts that"
        return Refused(message, mark, f"{advice} contain `: `")
    if "quoted scalar" in context and "end of stream" in what:
        where = Mark(began.line + 1, began.column + 1) if began is not None else mark
        return Refused("the quote that opens here is never closed", where)
    special = _special_character(what, context, mark) or _missing_sign(error, text)
    if special is not None:
        return special
    if "flow" in context:
        return Refused(f"the [ or {{ {opened} is not closed properly", mark)
    if "block collection" in context or "block mapping" in context:
        message = f"this line does not fit the block {opened}"
        return Refused(
            message, mark, "check the indentation, and quote texts with special characters"
        )
    return Refused(f"this is not valid YAML: {what or 'the text is malformed'}", mark)


def _missing_sign(error: MarkedYAMLError, text: str) -> Refused | None:
    """A line without its colon, or a variable without its quotes."""
    at, began = error.problem_mark, error.context_mark
    if "could not find expected ':'" in str(error.problem) and began is not None:
        where = Mark(began.line + 1, began.column + 1)
        return Refused("a colon is missing on this line", where, "write it as `key: value`")
    if at is not None and "flow" in str(error.context) and text[: at.index].endswith("$"):
        message = "between brackets a `${` opens a block of keys"
        advice = f"put it in quotes: {_quoted_variable(text, at.index - 1)}"
        return Refused(message, Mark(at.line + 1, at.column), advice)
    return None


def _quoted_variable(text: str, start: int) -> str:
    found = _VARIABLE.match(text, start)
    return f'"{found[0]}"' if found is not None else '"${NAME}"'


def unreadable(error: ReaderError, text: str) -> Refused:
    """Says where a character stands that YAML does not allow."""
    return Refused(
        "this character is not allowed in YAML; is this a text file in UTF-8?",
        _mark(text, error.position),
    )


def _special_character(what: str, context: str, mark: Mark | None) -> Refused | None:
    """A text without quotes, or with the wrong ones, in which a character has a meaning."""
    if (found := _CANNOT_START.match(what)) is not None:
        return Refused(f"a text cannot begin with {found[1] or found[2]}", mark, _QUOTE)
    if context in ("while scanning an alias", "while scanning an anchor"):
        sign = "*" if "alias" in context else "&"
        meaning = "uses" if sign == "*" else "gives"
        return Refused(f"a text that begins with {sign} {meaning} an anchor's name", mark, _QUOTE)
    if (found := _ESCAPE.match(what)) is not None:
        message = f"`\\{found[1]}` has no meaning between double quotes"
        return Refused(message, mark, "use single quotes, where a backslash is just that")
    return None


def _mark(text: str, position: int) -> Mark:
    before = text[:position]
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
