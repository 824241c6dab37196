"""What a client says about the response cache: `no-cache`, or `max-age=60, ttl=600`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Directive = Literal["no-cache", "no-store", "bypass", "max-age", "ttl"]
DIRECTIVES: tuple[Directive, ...] = get_args(Directive)

_TIMED = ("max-age", "ttl")
_MOST = 8
"""Directives that are read of one header."""


@dataclass(frozen=True, slots=True)
class CacheControl:
    """What one request may do with the cache."""

    reads: bool = True
    """Whether it may be answered from the cache."""
    writes: bool = True
    """Whether its answer may be kept."""
    max_age_s: int | None = None
    """The oldest answer that it takes."""
    ttl_s: int | None = None
    """How long its answer is to be kept."""
    ignored: Sequence[str] = ()
    """Words of it that are not allowed or not understood."""


def read_control(said: str, allowed: Collection[str]) -> CacheControl:
    """Reads a header value.

    Args:
        said: directives with commas between them.
        allowed: the directives that count.
    """
    found: dict[str, int | None] = {}
    ignored: list[str] = []
    for word in said.lower().split(",", _MOST)[:_MOST]:
        name, _, number = (part.strip() for part in word.partition("="))
        seconds = (
            int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else None
        )
        timed = name in _TIMED
        if name in allowed and timed == (seconds is not None) and timed == ("=" in word):
            found[name] = seconds
        elif name:
            ignored.append(name[:32])
    bypass = "bypass" in found
    return CacheControl(
        reads=not bypass and "no-cache" not in found,
        writes=not bypass and "no-store" not in found and found.get("ttl") != 0,
        max_age_s=found.get("max-age"),
        ttl_s=found.get("ttl"),
        ignored=ignored,
    )
