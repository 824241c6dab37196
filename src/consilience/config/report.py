"""Problems as text for people: place, message, the line in question, and what was probably meant.

A line of the file may hold a secret. Where the file can be parsed, exactly the secret scalars are
masked; where it cannot, in doubt the whole line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import Problem
from ..telemetry.redaction import KEY_LIKE
from .nodes import Span
from .paths import MASK, mentions_secret
from .positions import Document, read_yaml

_LONGEST_LINE = 160
_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_COMMENT = re.compile(r"(?:\A|\s)#.*")
_USER_INFO = re.compile(r"(://)[^/\s@]+@")


def render_problems(problems: Sequence[Problem], *, text: str, source: str) -> str:
    """Writes problems one under the other, in the order given.

    Args:
        problems: problems or warnings.
        text: the file's own text, for the lines shown.
        source: what the user called the file.
    """
    frames = _Frames(text)
    return "\n\n".join(_render(problem, frames, source) for problem in problems)


def _render(problem: Problem, frames: _Frames, source: str) -> str:
    place = source
    if problem.line is not None:
        place += f":{problem.line}:{problem.column or 1}"
    parts = [f"{place}: {problem.path}" if problem.path else place, f"  {problem.message}"]
    if problem.line is not None:
        parts += frames.frame(problem.line, problem.column or 1)
    if problem.suggestion:
        parts.append(f"  = {problem.suggestion}")
    return "\n".join(parts)


class _Frames:
    """The lines of one file, as they may be shown."""

    def __init__(self, text: str) -> None:
        # As YAML counts them; `str.splitlines` also splits at form feeds and the like.
        self._lines = _LINE_END.split(text)
        self._document: Document = read_yaml(text)

    def frame(self, number: int, column: int) -> list[str]:
        """Gives the line with its number, and a caret under the column."""
        if not 0 < number <= len(self._lines):
            return []
        line = self._masked(number)
        if not line.strip():
            return []
        start = 0
        if len(line) > _LONGEST_LINE:
            start = max(0, min(column - 1 - _LONGEST_LINE // 2, len(line) - _LONGEST_LINE))
            line = line[start : start + _LONGEST_LINE]
        line = "".join(c if c.isprintable() else " " for c in line)
        gutter = f"{number:>5} | "
        caret = min(column - 1 - start, len(line))
        return [f"{gutter}{line}".rstrip(), " " * (len(gutter) - 2) + "| " + " " * caret + "^"]

    def _masked(self, number: int) -> str:
        line = self._lines[number - 1]
        if self._document.broken and self._is_doubtful(number):
            return line[: _indent(line)] + MASK
        # From the right, so that what is still to be masked does not move.
        spans = (s for s in self._document.secrets if s.start.line <= number <= s.end.line)
        for span in sorted(spans, key=lambda s: s.start, reverse=True):
            line = _mask(line, number, span)
        return _USER_INFO.sub(rf"\1{MASK}@", KEY_LIKE.sub(MASK, _COMMENT.sub("", line)))

    def _is_doubtful(self, number: int) -> bool:
        """Whether a line of a file that cannot be parsed may hold a secret.

        True when it, the line before it, or a line that it is indented below names one.
        """
        line = self._lines[number - 1]
        if mentions_secret(line):
            return True
        indent, nearest = _indent(line), True
        for other in reversed(self._lines[: number - 1]):
            if not other.strip() or other.lstrip().startswith("#"):
                continue
            item_of = _indent(other) == indent and line.lstrip().startswith("-")
            if (nearest or item_of or _indent(other) < indent) and mentions_secret(other):
                return True
            indent = min(indent, _indent(other))
            nearest = False
        return False


def _mask(line: str, number: int, span: Span) -> str:
    start = span.start.column - 1 if span.start.line == number else _indent(line)
    end = span.end.column - 1 if span.end.line == number else len(line)
    return line[:start] + MASK + line[end:] if end > start else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
