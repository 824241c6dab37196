"""Cards, IBANs, identity numbers, vehicle numbers: by their forms, check digits and cues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..patterns import Deferred
from .cues import OTHER, said
from .finding import Hit, Text
from .identity import IBAN_FORM, SCHEMES, Scheme, is_iban

MOST_STRETCHES = 200
"""Stretches of digits that one text is searched in."""
MOST_BYTES = 4 * 1024
"""What all stretches have together."""
_FEWEST_DIGITS = 4
_LONGEST = 512

_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_FORMAT = r"[A-Z0-9+(][A-Z0-9 ./()+_x-]{6,}"


class Stretch(NamedTuple):
    """A part of the text that is mostly digits, capitals and what stands between digits."""

    start: int
    end: int
    digits: int


def stretches(text: Text) -> Iterator[Stretch]:
    """Gives the stretches with enough digits for a number of a person, in order, within bounds."""
    left = MOST_BYTES
    for found in text.places(_STRETCH, MOST_STRETCHES):
        start, end = found.span(0)
        digits = len(text.utf8[start:end].translate(None, _NO_DIGITS))
        if digits < _FEWEST_DIGITS:
            continue
        for begin in range(start, end, _LONGEST):
            finish = min(begin + _LONGEST, end, begin + left)
            if finish <= begin:
                return
            left -= finish - begin
            yield Stretch(begin, finish, digits)


def find_numbers(text: Text, stretch: Stretch) -> Iterator[Hit]:
    """Gives the numbers in a stretch that are somebody's."""
    start, end = stretch.start, min(len(text.utf8), stretch.end + 2)
    yield from _ibans(text, start, end)
    for scheme in SCHEMES:
        for found in scheme.form.finditer(text.utf8, start, end):
            if scheme.is_valid(found.group().decode("ascii", "replace").replace(" ", "")):
                score = _score(scheme, text, found.start())
                if score > 0:
                    yield Hit(scheme.type, score, *found.span(), scheme.specific)


def _score(scheme: Scheme, text: Text, at: int) -> float:
    before = text.before(at)
    if said(scheme.cue, before):
        return scheme.cued
    if scheme.bare and said(OTHER, before):
        return min(scheme.bare, 0.5)
    return scheme.bare


def _ibans(text: Text, start: int, end: int) -> Iterator[Hit]:
    for found in IBAN_FORM.finditer(text.utf8, start, end):
        words = found.group().decode("ascii").split(" ")
        for count in range(len(words), max(0, len(words) - 3), -1):
            candidate = " ".join(words[:count])  # what follows an IBAN may look like its next group
            if is_iban(candidate):
                yield Hit("IBAN_CODE", 0.98, found.start(), found.start() + len(candidate))
                break


_STRETCH = Deferred(_FORMAT, case_sensitive=True)
