"""What a judge writes for a label, read back. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_LABEL = re.compile(
    r"(?:(?:the\s+)?(?:answer|response|model|label|candidate|panel(?:ist)?|option)s?)?"
    r"[\s:_#*-]*([A-Za-z]{1,2})"
    r"[\s.:)]*",
    re.IGNORECASE,
)
_BETWEEN_LABELS = re.compile(r"[,;/&+]|\band\b")


def bare_label(text: str) -> str:
    """`Answer B`, `response b`, `"B"` -> `B`; what is no label, a name say, is empty."""
    match = _LABEL.fullmatch(text.strip().strip("\"'`()[]*"))
    return match[1].upper() if match else ""


def several(texts: Sequence[object], named: Callable[[str], str]) -> list[str]:
    """The names in a list of labels, of which one entry may hold several: `A and B`."""
    each = (label for text in texts for label in _BETWEEN_LABELS.split(str(text)))
    return list(filter(None, map(named, each)))
