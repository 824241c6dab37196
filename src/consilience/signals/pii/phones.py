"""Telephone numbers: written internationally, as one country writes them, or after a cue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import phonenumbers

from .cues import OTHER, PHONE, PHONE_NOUN, said
from .finding import Hit, Text
from .numbers import Stretch

MOST_PARSED = 24
"""Candidates of one text that `phonenumbers` looks at, 50 to 100 microseconds each."""

# Of countries whose numbers begin with 0 or have no mark of their own.
REGIONS = (
    "US",
    "GB",
    "DE",
    "FR",
    "IT",
    "ES",
    "CN",
    "IN",
    "BR",
    "JP",
    "KR",
    "AU",
    "NL",
    "PL",
    "RU",
    "TR",
    "MX",
    "PT",
)

_LEFT = r"(?<![0-9A-Za-z_+])(?<![0-9A-Za-z][-.])(?<![0-9] )(?<![/#$*^=])"
_LOOSE_LEFT = r"(?<![0-9A-Za-z_+])(?<![0-9A-Fa-f][-.])(?<![#$*^])(?<![A-Za-z_]\()"
_RIGHT = r"(?![0-9A-Za-z_])(?!-[0-9A-Za-z])(?!\.[0-9])"

INTERNATIONAL = re.compile(
    rb"(?<![0-9A-Za-z_+.])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ ./-]?\d){5,13}"
    + _RIGHT.encode()
)
_FORMS = (
    ("US", r"(?:1[ .-])?\([2-9]\d{2}\) ?[2-9]\d{2}[-. ]\d{4}", 0.92),
    ("US", r"(?:1[ .-])?[2-9]\d{2}([-.])[2-9]\d{2}\1\d{4}", 0.9),
    ("CN", r"1[3-9]\d[- ]?\d{4}[- ]?\d{4}", 0.9),
    ("CN", r"0\d{2,3}-\d{7,8}", 0.9),
    ("KR", r"01[016-9]-\d{3,4}-\d{4}", 0.92),
    ("JP", r"0\d{1,3}-\d{2,4}-\d{4}", 0.9),
    ("FR", r"0[1-9](?:([ .-])\d\d)(?:\1\d\d){3}(?!\1\d)", 0.92),
    ("GB", r"0\d{2} \d{4} \d{4}|0\d{3} \d{3} \d{4}|0\d{4} \d{6}|07\d{3} \d{3} ?\d{3}", 0.9),
    ("DE", r"01[5-7]\d[ /-]\d{3,4} ?\d{3,5}", 0.9),
    ("DE", r"0\d{2,4} ?/ ?\d{3,8}|0\d{2,4}-\d{5,8}|0\d{2,4} \d{5,8}", 0.86),
    ("BR", r"\(\d{2}\) ?9?\d{4}-\d{4}", 0.92),
    ("RU", r"8 ?\(\d{3}\) ?\d{3}-\d{2}-\d{2}|8[ -]\d{3}[ -]\d{3}[ -]\d{2}[ -]\d{2}", 0.92),
    ("ES", r"[67]\d{2} \d{3} \d{3}|[67]\d{2} \d{2} \d{2} \d{2}", 0.9),
    ("IN", r"[6-9]\d{4}[ -]\d{5}", 0.88),
    ("IT", r"3\d{2} \d{3} ?\d{4}|3\d{2} \d{2} \d{2} \d{3}", 0.9),
    ("AU", r"04\d{2} \d{3} \d{3}|\(0\d\) \d{4} \d{4}", 0.9),
    ("TR", r"05\d{2} \d{3} \d{2} ?\d{2}", 0.92),
)
NATIONAL = tuple(
    (region, re.compile(f"{_LEFT}(?:{form}){_RIGHT}".encode()), score)
    for region, form, score in _FORMS
)
ANY = re.compile(
    rf"{_LOOSE_LEFT}(?:\(\d{{1,5}}\)|\d)(?:[ ./()-]{{0,2}}\d){{6,14}}{_RIGHT}".encode()
)
_DECIMAL = re.compile(r"\+\d+\.\d+")
_DATE = re.compile(
    r"(?:19|20)\d\d[-./]?(?:0?[1-9]|1[0-2])[-./]?(?:0?[1-9]|[12]\d|3[01])\b"
    r"|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b"
)


class Phones:
    """What looks for telephone numbers in one text: it counts what it parses."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._left = MOST_PARSED

    def find(self, stretch: Stretch) -> Iterator[Hit]:
        """Gives the telephone numbers of a stretch."""
        text, start = self._text.utf8, stretch.start
        end = min(len(text), stretch.end + 2)
        for found in INTERNATIONAL.finditer(text, start, end):
            number = found.group().decode("ascii")
            if _DECIMAL.fullmatch(number):
                continue
            valid = self._is_valid(number, None)
            if valid or self._is_possible(number, None):
                yield Hit("PHONE_NUMBER", 0.95 if valid else 0.85, *found.span())
        for region, form, score in NATIONAL:
            for found in form.finditer(text, start, end):
                number = found.group().decode("ascii")
                if self._is_valid(number, region) or region == "US":
                    yield Hit(
                        "PHONE_NUMBER", self._sure(found.start(), number, score), *found.span()
                    )
        for found in ANY.finditer(text, start, end):
            number = found.group().decode("ascii")
            before = self._text.before(found.start())
            short = number.isdigit() and len(number) < 9
            if said(PHONE, before) and (not short or said(PHONE_NOUN, before)):
                if not self._is_somewhere(number):
                    continue
                yield Hit("PHONE_NUMBER", 0.93, *found.span())

    def _sure(self, at: int, number: str, score: float) -> float:
        before = self._text.before(at)
        if said(PHONE, before):
            return 0.95
        if said(OTHER, before) or _counts_up(number):
            return 0.5
        if number.isdigit() and before[-16:].isascii():
            return 0.6  # nothing but its digits speaks for it
        return score

    def _is_somewhere(self, number: str) -> bool:
        if _DATE.fullmatch(number) is not None:
            return False
        digits = sum(map(str.isdigit, number))
        return 7 <= digits <= 8 or any(self._is_possible(number, region) for region in REGIONS[:4])

    def _is_valid(self, number: str, region: str | None) -> bool:
        parsed = self._parsed(number, region)
        return parsed is not None and phonenumbers.is_valid_number(parsed)

    def _is_possible(self, number: str, region: str | None) -> bool:
        parsed = self._parsed(number, region)
        return parsed is not None and phonenumbers.is_possible_number(parsed)

    def _parsed(self, number: str, region: str | None) -> phonenumbers.PhoneNumber | None:
        if self._left <= 0:
            return None
        self._left -= 1
        try:
            return phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            return None


def load() -> None:
    """Reads what is known of each region, so that no request waits for it."""
    for region in REGIONS:
        phonenumbers.PhoneMetadata.metadata_for_region(region)


def _counts_up(number: str) -> bool:
    """Whether it is five pairs of digits at equal distances: a list, most likely."""
    pairs = [int(pair) for pair in re.split(r"[ .-]", number) if pair.isdigit()]
    return len(pairs) == 5 and len({b - a for a, b in pairwise(pairs)}) == 1
