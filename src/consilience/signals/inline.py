"""Up to how much text rules are evaluated in place, and what goes to a thread."""

from __future__ import annotations

INLINE_BYTES = 256 * 1024
"""At most. Longer texts go to a thread, so that one request does not hold up the others."""
INLINE_S = 0.01
"""What an evaluation in place may take."""
_SLOW = 3
"""After so many in a row that took longer, the rules are taken to be heavy: the first ones of a process
build what later ones find built."""


class Inline:
    """What is learnt of a set of rules by evaluating it in place."""

    def __init__(self) -> None:
        self._most = INLINE_BYTES
        self._slow = 0
        self._size = 0
        """Of the text that was the latest slow one."""

    def fits(self, size: int) -> bool:
        """Whether a text of so many characters is evaluated in place."""
        return size <= self._most

    def took(self, size: int, seconds: float) -> None:
        """Takes in what a text cost; when that is too much again and again, half of it will do.

        Args:
            size: its characters.
            seconds: that it took.
        """
        if seconds > INLINE_S:
            self._slow, self._size = self._slow + 1, size
            if self._slow >= _SLOW:
                self._slow, self._most = 0, min(self._most, size // 2)
        elif self._slow and size >= self._size // 2:
            self._slow = 0
