"""Names that may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LONGEST = 200


def near_names(name: str, known: Sequence[str], *, count: int = 3) -> list[str]:
    """Gives known names that differ little, best first.

    Letter case, spaces and a vendor prefix (`vendor/name`) do not count.
    """
    asked = _spelling(name[:_LONGEST])
    by_spelling: dict[str, str] = {}
    for spell in (_spelling, _tail):
        for other in known:
            by_spelling.setdefault(spell(other), other)
    close = [by_spelling[s] for s in (asked, _tail(asked)) if s in by_spelling]
    for wanted in (asked, _tail(asked)):
        matches = difflib.get_close_matches(wanted, by_spelling, n=count, cutoff=0.6)
        close += [by_spelling[spelling] for spelling in matches]
    return list(dict.fromkeys(close))[:count]


def _spelling(name: str) -> str:
    return "".join(name.casefold().split())


def _tail(name: str) -> str:
    return _spelling(name).rsplit("/", 1)[-1]
