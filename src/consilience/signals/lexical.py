"""The words of a text as features: stems and pairs of them; characters where words have no spaces."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import Stemmer  # type: ignore[import-not-found]  # a C module that publishes no types

Terms: TypeAlias = Sequence[str]
"""Distinct features of a text, in no particular order."""

MOST_WORDS = 600
"""Words, or characters of scripts without spaces, that are read of one text."""

_BEGINNING = 5

# Han, kana, Hangul and Thai: there a character or a pair of them says what a word says elsewhere.
_DENSE = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+(?:['’][^\W_{_DENSE}]+)?|[?？!！]|```")
_DENSE_CHARACTER = re.compile(rf"[{_DENSE}]")


def terms_of(text: str) -> Terms:
    """Gives the features of a text: each stem, each pair of neighbours, each long word's beginning.

    Beginnings do for other languages what the English stemmer does not.
    """
    tokens = _TOKEN.findall(text.casefold())[:MOST_WORDS]
    stems = _stemmer().stemWords(tokens)
    pairs = [f"{a} {b}" for a, b in pairwise(stems)]
    beginnings = [f"{token[:_BEGINNING]}~" for token in tokens if len(token) > _BEGINNING]
    return tuple(dict.fromkeys((*stems, *pairs, *beginnings)))


_of_thread = threading.local()
"""A stemmer keeps what it works on, so no two threads may share one."""


def _stemmer() -> Stemmer.Stemmer:
    stemmer = getattr(_of_thread, "stemmer", None)
    if stemmer is None:
        stemmer = _of_thread.stemmer = Stemmer.Stemmer("english")
    return stemmer
