"""The corpus of hostile panel answers, `panel_attacks.jsonl`, and what its shorthand stands for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("panel_attacks.jsonl")


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile answer. `$NONCE` in the file is the code that the seed would give."""

    name: str
    text: str
    times: int = 1

    def against(self, nonce: str) -> str:
        """The text as an attacker would write it who guessed this code."""
        halves = {"$NONCE_HEAD": nonce[:-2], "$NONCE_UPPER": nonce.upper(), "$NONCE": nonce}
        halves = {"$NONCE_WIDE": nonce.translate(_WIDE), "$NONCE_SPLIT": split(nonce), **halves}
        text = self.text
        for shorthand, meant in halves.items():
            text = text.replace(shorthand, meant)
        return text * self.times


_WIDE = {ord(c): ord(c) + 0xFEE0 for c in "0123456789abcdef"}


def split(word: str) -> str:
    """The word with something invisible in its middle."""
    return f"{word[:6]}\u200b{word[6:]}"


@cache
def attacks() -> Sequence[Attack]:
    """All of them, in the order of the file."""
    lines = _FILE.read_text(encoding="utf-8").split("\n")
    return tuple(Attack(**json.loads(line)) for line in lines if line)
