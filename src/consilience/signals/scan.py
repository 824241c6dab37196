"""Many patterns, one pass over the text: which of them are found in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import re2  # type: ignore[import-untyped]  # publishes no types

from .patterns import compile_pattern, options


class Scan:
    """Patterns that are searched for together.

    For words and phrases: of expressions with counted repetitions, RE2 would have to tell apart
    too many states at once.
    """

    def __init__(self, patterns: Sequence[str], *, case_sensitive: bool = False) -> None:
        """Compiles the patterns.

        Raises:
            ValueError: RE2 refuses one.
        """
        self._each = tuple(compile_pattern(p, case_sensitive=case_sensitive) for p in patterns)
        self._together = _together(patterns, case_sensitive) if len(patterns) > 1 else None

    def found(self, text: bytes) -> Collection[int]:
        """Gives the places in the list of the patterns that are found in a text in UTF-8."""
        if self._together is not None:
            found = self._together.Match(text) or ()
            always = len(self._each)
            if always in found:
                return [i for i in found if i != always]
        return [i for i, pattern in enumerate(self._each) if pattern.search(text) is not None]


def _together(patterns: Sequence[str], case_sensitive: bool) -> Any:
    """The patterns as one set; None when that is too big."""
    together = re2.Set.SearchSet(options(case_sensitive))
    for pattern in patterns:
        together.Add(pattern.encode("utf-8", "replace"))
    # Found in every text: where it is not, the set ran out of memory, which it does not say.
    together.Add(b"")
    try:
        together.Compile()
    except re2.error:
        return None
    return together
