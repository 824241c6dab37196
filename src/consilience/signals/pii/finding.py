"""What is found, and the text that it is found in."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..patterns import Match, Pattern

MOST_MATCHES = 200
"""Places that one pattern is looked for in one text."""

CERTAIN = 0.9
"""From here on the form of a datum, its check digits or its label leave little doubt."""


class Finding(NamedTuple):
    """One personal datum."""

    type: str
    """One of `labels.TYPES`."""
    score: float
    """0 to 1: how sure it is. A rank made by hand, no probability."""
    start: int
    """Where it begins, in characters."""
    end: int
    specific: str = ""
    """Which `NATIONAL_ID` it is: one of `labels.SPECIFIC`."""


# Digits of other scripts and the spaces and hyphens of typography, one character each.
_PLAIN = str.maketrans(
    {
        **{
            chr(zero + digit): str(digit)
            for zero in (0xFF10, 0x660, 0x6F0, 0x966)
            for digit in range(10)
        },
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000\u200e\u200f", " "),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\uff0d", "-"),
        "\uff0b": "+",
        "\uff08": "(",
        "\uff09": ")",
        "\uff20": "@",
    }
)
_DIGIT = re.compile(rb"[0-9]")


@dataclass(frozen=True)
class Text:
    """A text in the form that detectors read: UTF-8, digits and hyphens of ASCII."""

    utf8: bytes

    @classmethod
    def of(cls, text: str) -> Text:
        """Reads a text; every character of it stays one character."""
        plain = text if text.isascii() else text.translate(_PLAIN)
        return cls(plain.encode("utf-8", "replace"))

    @cached_property
    def has_digits(self) -> bool:
        """Whether there is any digit: most kinds of data have one."""
        return _DIGIT.search(self.utf8) is not None

    def before(self, at: int, characters: int = 48) -> str:
        """Gives what stands in front of a place on its line, in lower case."""
        raw = self.utf8[max(0, at - 3 * characters) : at]
        return raw.decode("utf-8", "ignore").rsplit("\n", 1)[-1][-characters:].lower()

    def after(self, at: int, characters: int = 24) -> str:
        """Gives what follows a place, in lower case."""
        return self.utf8[at : at + 3 * characters].decode("utf-8", "ignore")[:characters].lower()

    def part(self, start: int, end: int) -> str:
        """Gives a part of the text."""
        return self.utf8[start:end].decode("utf-8", "replace")

    def places(self, pattern: Pattern, most: int = MOST_MATCHES) -> Iterator[Match]:
        """Gives the first matches of a pattern."""
        for found, _ in zip(pattern.finditer(self.utf8), range(most), strict=False):
            yield found


class Hit(NamedTuple):
    """A finding whose place is told in bytes."""

    type: str
    score: float
    start: int
    end: int
    specific: str = ""


def to_findings(text: Text, hits: Sequence[Hit]) -> Sequence[Finding]:
    """Gives hits in order of place, told in characters; each overlaps none that is surer."""
    kept: list[tuple[int, int, Hit]] = []
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.start - hit.end, hit.start)):
        place = bisect(kept, (hit.start, hit.end, hit))
        clear_before = place == 0 or kept[place - 1][1] <= hit.start
        if clear_before and (place == len(kept) or kept[place][0] >= hit.end):
            kept.insert(place, (hit.start, hit.end, hit))
    findings = []
    at = character = 0
    for _, _, hit in kept:
        character += _characters(text.utf8[at : hit.start])
        length = _characters(text.utf8[hit.start : hit.end])
        findings.append(Finding(hit.type, hit.score, character, character + length, hit.specific))
        at, character = hit.end, character + length
    return findings


def _characters(utf8: bytes) -> int:
    return len(utf8) if utf8.isascii() else len(utf8.decode("utf-8", "replace"))
