"""Regular expressions for signals: RE2, so that no pattern and no prompt can take long.

RE2 works in time linear in the text. It has no look-around and no back-references, which are
what makes other engines take exponential time; patterns that use them are refused at load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial
from typing import Any, Protocol

import re2  # type: ignore[import-untyped]  # publishes no types

MAX_PATTERN_LENGTH = 2000
"""Characters in one keyword or pattern."""
MAX_PATTERNS = 2000
"""Keywords or patterns in one rule."""
MAX_CHARACTERS = 50_000
"""Characters of all keywords or patterns in one rule."""
_MAX_MEMORY = 8 << 20

# Scripts written without spaces, where a word's edge cannot be seen, and Hangul, where particles
# stick to the word. U+30FC prolongs Japanese vowels and belongs to no script.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
)
# RE2's own \b knows ASCII only. A character of the text is spent on each side instead, which
# makes no difference when only presence is asked for.
_EDGE = rf"[^\p{{L}}\p{{M}}\p{{N}}_]|[{_UNSPACED}]"
_BEFORE, _AFTER = rf"(?:\A|{_EDGE})", rf"(?:\z|{_EDGE})"


class Match(Protocol):
    """One place where a pattern was found."""

    def group(self) -> bytes:
        """The text that was found, with what bounds it."""
        ...

    def span(self, group: int, /) -> tuple[int, int]:
        """Where a group begins and ends, in bytes."""
        ...

    @property
    def lastindex(self) -> int | None:
        """The number of the group that matched."""
        ...


class Pattern(Protocol):
    """A compiled pattern, matched against UTF-8."""

    def search(self, text: bytes, start: int = 0, /) -> Match | None:
        """Gives the first match from an offset in bytes, None when there is none."""
        ...

    def finditer(self, text: bytes, /) -> Iterator[Match]:
        """Gives the matches that do not overlap, in order."""
        ...


def literal(*words: str, capture: bool = False) -> str:
    """Gives one pattern that is found when any of the words or phrases occurs as it is written.

    An end that is a letter, a digit or `_` must be the end of a word in the text too, so `secret`
    is not in `secretary`. In scripts without spaces there is no such demand.

    Args:
        words: words and phrases.
        capture: whether the word, without what bounds it, is a group.
    """
    open_ = "(" if capture else "(?:"
    groups: dict[tuple[str, str], list[str]] = {}
    for word in words:
        before = _BEFORE if _is_word_edge(word[0]) else ""
        after = _AFTER if _is_word_edge(word[-1]) else ""
        groups.setdefault((before, after), []).append(re2.escape(word))
    return "|".join(
        f"{before}{open_}{'|'.join(quoted)}){after}" for (before, after), quoted in groups.items()
    )


class Places:
    """The places where any of some words or phrases stands, as `literal` means it."""

    def __init__(self, words: Sequence[str], *, case_sensitive: bool = False) -> None:
        # where one word begins another, the longer one is meant
        longest_first = sorted(words, key=len, reverse=True)
        pattern = literal(*longest_first, capture=True).encode("utf-8", "replace")
        self._pattern = _compiled(pattern, case_sensitive, capture=True)

    def first_end(self, text: bytes, start: int = 0) -> int | None:
        """Gives the end of the first place, as an offset in bytes."""
        match = self._pattern.search(text, start)
        return None if match is None else match.span(match.lastindex or 0)[1]

    def ends(self, text: bytes) -> Iterator[int]:
        """Gives the end of each place, in order, as offsets in bytes; places do not overlap."""
        end = begin = 0
        while (match := self._pattern.search(text, begin)) is not None:
            first, last = match.span(match.lastindex or 0)
            if first < end:
                begin = end
                continue
            yield last
            end, begin = last, _start_of_character(text, last - 1)


def _start_of_character(text: bytes, at: int) -> int:
    """Where the character that holds this byte begins: it may bound the next word."""
    while at > 0 and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


def compile_pattern(
    pattern: str, *, case_sensitive: bool = False, capture: bool = False
) -> Pattern:
    """Compiles one pattern.

    Args:
        pattern: in RE2's syntax.
        case_sensitive: whether letter case counts.
        capture: whether matches tell where groups are, which costs time when there are any.

    Raises:
        ValueError: RE2 refuses it; says why in words for its author.
    """
    try:
        return _compiled(pattern.encode("utf-8", "replace"), case_sensitive, capture=capture)
    except re2.error as exc:
        raise ValueError(_refusal(pattern, exc)) from None


class Deferred:
    """A pattern that is compiled when it is first used, for those that few configurations need.

    Many large patterns take long enough to compile that no import should wait for them.
    """

    def __init__(
        self, pattern: str, *, case_sensitive: bool = False, capture: bool = False
    ) -> None:
        self._make = partial(
            compile_pattern, pattern, case_sensitive=case_sensitive, capture=capture
        )

    @cached_property
    def _pattern(self) -> Pattern:
        return self._make()

    def search(self, text: bytes, start: int = 0, /) -> Match | None:
        """Gives the first match from an offset in bytes, None when there is none."""
        return self._pattern.search(text, start)

    def finditer(self, text: bytes, /) -> Iterator[Match]:
        """Gives the matches that do not overlap, in order."""
        return self._pattern.finditer(text)


def any_of(patterns: Sequence[str], *, case_sensitive: bool = False) -> Pattern | None:
    """Compiles patterns into one that is found when any of them is.

    None when together they are too big for one program, or cannot stand in one: each must then
    be searched for by itself.
    """
    if any(r"\Q" in pattern for pattern in patterns):
        return None  # an open quotation would swallow what follows
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    try:
        return _compiled(joined.encode("utf-8", "replace"), case_sensitive)
    except re2.error:
        return None


def options(case_sensitive: bool, *, capture: bool = False) -> Any:
    """Gives RE2's options for patterns of people."""
    chosen = re2.Options()
    chosen.case_sensitive = case_sensitive
    chosen.log_errors = False
    chosen.never_capture = not capture
    chosen.max_mem = _MAX_MEMORY
    return chosen


def _compiled(pattern: bytes, case_sensitive: bool, *, capture: bool = False) -> Pattern:
    compiled: Pattern = re2.compile(pattern, options(case_sensitive, capture=capture))
    return compiled


@cache
def _unspaced() -> Pattern:
    return _compiled(rf"[{_UNSPACED}]".encode(), True)


def _is_word_edge(character: str) -> bool:
    if not (character.isalnum() or character == "_"):
        return False
    return _unspaced().search(character.encode("utf-8", "replace")) is None


def _refusal(pattern: str, exc: Exception) -> str:
    reason = b"".join(exc.args).decode("utf-8", "replace")
    shown = pattern if len(pattern) <= 60 else f"{pattern[:57]}..."
    message = f"the regular expression {shown!r} does not compile: {reason}"
    if any(mark in pattern for mark in ("(?=", "(?!", "(?<=", "(?<!")):
        return (
            f"{message}. Look-ahead and look-behind are not available (RE2 syntax); use NOR or NOT"
        )
    if any(f"\\{digit}" in pattern for digit in "123456789") or "(?P=" in pattern:
        return f"{message}. Back-references are not available (RE2 syntax)"
    return f"{message} (RE2 syntax: https://github.com/google/re2/wiki/Syntax)"
