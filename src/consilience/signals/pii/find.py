"""All personal data of a text: each detector in turn, then what agrees and what overlaps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..excerpt import excerpt
from . import phones
from .births import find_births
from .credentials import find_credentials
from .finding import CERTAIN, Finding, Hit, Text, to_findings
from .names import find_names
from .network import find_network
from .numbers import find_numbers, stretches
from .phones import Phones
from .postal import find_addresses
from .records import find_records

MOST_CHARACTERS = 128 * 1024
"""What is read of one text: three quarters from its beginning, one from its end."""

_EVERYTHING = (
    "我 My name is Ann Lee, a.lee@mail.invalid, https://a:b@c, a at b dot com, 1.2.3.4, ::1, call"
    " +1 415 555 0132, 1-2-3-4-5, 4111 1111 1111 1111, DE89370400440532013000, 11010519491231002X"
)
"""A text that every detector looks at."""
_NEAR = 200
_OWNED = frozenset(
    {
        *("EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "CREDIT_CARD", "IBAN_CODE", "NATIONAL_ID"),
        *("PASSPORT", "BANK_ACCOUNT", "US_DRIVER_LICENSE", "MEDICAL_RECORD"),
    }
)
_REACHED = frozenset({*_OWNED, "STREET_ADDRESS", "DATE_OF_BIRTH"})
_PERSONAL = frozenset({*_OWNED, "STREET_ADDRESS", "DATE_OF_BIRTH", "AGE"})
_VAGUE = frozenset({"PERSON", "DATE_OF_BIRTH"})


def find_pii(text: str) -> Sequence[Finding]:
    """Gives the personal data in a text, weak findings included, in order; none overlap.

    Of a text longer than `MOST_CHARACTERS` beginning and end are read. Never raises.
    """
    short = excerpt(text, MOST_CHARACTERS)
    read = Text.of(short)
    hits = [*find_network(read), *find_credentials(read)]
    if read.has_digits:
        numbers = Phones(read)
        for stretch in stretches(read):
            hits += find_numbers(read, stretch)
            hits += numbers.find(stretch)
        hits += find_records(read)
        hits += find_addresses(read)
        hits += find_births(read)
    contacts = [hit for hit in hits if hit.type in _REACHED and hit.score >= CERTAIN]
    hits += find_names(read, contacts)
    findings = to_findings(read, _in_company(hits)) if hits else ()
    return _in_whole(findings, len(text), len(short))


def load() -> None:
    """Reads tables and compiles what is used, so that no request waits for it."""
    phones.load()
    find_pii(_EVERYTHING)


def _in_company(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Makes a name or a date of birth certain that other data of a person stand near."""
    places = sorted(h.start for h in hits if h.type in _PERSONAL and h.score >= CERTAIN)
    if not places:
        return hits
    return [
        hit._replace(score=CERTAIN)
        if hit.type in _VAGUE and 0.5 < hit.score < CERTAIN and _any_near(places, hit)
        else hit
        for hit in hits
    ]


def _any_near(places: Sequence[int], hit: Hit) -> bool:
    at = bisect_left(places, hit.start - _NEAR)
    return at < len(places) and places[at] <= hit.end + _NEAR


def _in_whole(findings: Sequence[Finding], whole: int, read: int) -> Sequence[Finding]:
    """Tells the places in the whole text, of which the middle may have been left out."""
    if whole <= MOST_CHARACTERS:
        return findings
    tail = MOST_CHARACTERS // 4
    head = MOST_CHARACTERS - tail
    moved = []
    for finding in findings:
        if finding.start > head:
            by = whole - read
            finding = finding._replace(start=finding.start + by, end=finding.end + by)  # noqa: PLW2901
        moved.append(finding)
    return [finding for finding in moved if finding.start > head or finding.end <= head]
