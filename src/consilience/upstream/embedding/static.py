"""A static embedding model: a text's vector is the mean of its tokens' vectors. No inference.

Two things are done for what is not English, which the model was made for. Token vectors of another
script all point the same way, so that any two Chinese texts seem alike: each script's mean is taken
out of its tokens. And a character that the vocabulary has only as bytes would be made of three
tokens that say nothing: it gets a fixed vector of its own, so that it is like itself and like
nothing else.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from kitoken import Kitoken
from safetensors.numpy import load_file

from .base import EmbeddingError, Matrix, as_text, unit

MAX_TOKENS = 1024
"""Of one text; what comes after is not read."""
_QUICK_CHARACTERS = 8 * 1024
_QUICK_NEW = 64
"""Characters whose vectors must be drawn first, at 10 microseconds each."""
_LEAST_OF_SCRIPT = 20
"""Tokens that a script must have to have a mean."""
_MOST_CHARACTERS = 4096
"""Characters whose vectors are kept."""
_BYTE = re.compile(r"<0x([0-9A-F]{2})>\Z")
_ONE_SCRIPT = dict.fromkeys(("HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH"), "CJK")


class StaticEncoder:
    """Token vectors from a safetensors file with one matrix, tokens from a tokenizer.json."""

    def __init__(self, weights: Path, tokenizer: Path, *, identity: str) -> None:
        """Loads both, about 0.1 s and 60 MB for a vocabulary of 32 000.

        Raises:
            EmbeddingError: a file is missing or not what it should be.
        """
        self.identity = f"{identity}/centred"
        try:
            (rows,) = load_file(weights).values()
            vocabulary = _vocabulary(tokenizer)
            self._tokens = Kitoken.from_tokenizers_file(str(tokenizer))
        except Exception as exc:  # of two libraries with error classes of their own
            raise EmbeddingError(f"{weights.name} cannot be loaded: {type(exc).__name__}") from exc
        self._rows = _centred(rows.astype(np.float32), vocabulary)
        self._bytes = {
            token: int(match.group(1), 16)
            for piece, token in vocabulary.items()
            if (match := _BYTE.match(piece))
        }
        self._single = frozenset(piece for piece in vocabulary if len(piece) == 1)
        self._length = float(np.median(np.linalg.norm(self._rows, axis=1)))
        self._characters: dict[str, Matrix] = {}

    def is_quick(self, texts: Sequence[str]) -> bool:
        if sum(map(len, texts)) > _QUICK_CHARACTERS:
            return False
        used: set[str] = set().union(*(text for text in texts if not text.isascii()))
        new = used - self._single
        return len(new) <= _QUICK_NEW or len(new.difference(self._characters)) <= _QUICK_NEW

    def encode(self, texts: Sequence[str]) -> Matrix:
        rows = np.zeros((len(texts), self._rows.shape[1]), np.float32)
        for i, text in enumerate(texts):
            tokens = self._tokens.encode(as_text(text), False)[:MAX_TOKENS]
            known = [t for t in tokens if t < len(self._rows) and t not in self._bytes]
            if known:
                rows[i] = self._rows[known].sum(axis=0)
            if len(known) < len(tokens):
                for character, count in Counter(self._spelled(tokens)).items():
                    rows[i] += count * self._of_character(character)
        return unit(rows)

    def _spelled(self, tokens: Sequence[int]) -> str:
        """The characters that a text's byte tokens spell."""
        # what lies between two of them ends a character
        spelled = bytes(self._bytes.get(token, 0xFF) for token in tokens)
        return spelled.decode("utf-8", "ignore")

    def _of_character(self, character: str) -> Matrix:
        kept = self._characters.get(character)
        if kept is not None:
            return kept
        seed = int.from_bytes(sha256(character.encode()).digest()[:8], "big")
        drawn = np.random.default_rng(seed).standard_normal(self._rows.shape[1])
        row: Matrix = np.asarray(drawn * (self._length / np.linalg.norm(drawn)), np.float32)
        if len(self._characters) >= _MOST_CHARACTERS:
            # whoever sends each character once must not keep those out that are written often
            self._characters.clear()
        self._characters[character] = row
        return row


def _vocabulary(tokenizer: Path) -> Mapping[str, int]:
    """Token by piece of text; empty for a kind of vocabulary that is not a mapping."""
    definition: Any = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary = definition["model"]["vocab"]
    return vocabulary if isinstance(vocabulary, dict) else {}


def _centred(rows: Matrix, vocabulary: Mapping[str, int]) -> Matrix:
    """Takes each script's mean out of its tokens' vectors; Latin letters stay."""
    scripts: dict[str, list[int]] = {}
    for piece, token in vocabulary.items():
        script = _script(piece)
        if script is not None and token < len(rows):
            scripts.setdefault(script, []).append(token)
    for tokens in scripts.values():
        if len(tokens) >= _LEAST_OF_SCRIPT:
            rows[tokens] -= rows[tokens].mean(axis=0)
    return rows


def _script(piece: str) -> str | None:
    """The script of a piece's first character that is neither ASCII nor Latin; None without one."""
    for character in piece:
        if character.isascii() or character == "▁":
            continue
        name = unicodedata.name(character, "").split(" ")[0]
        if name and name != "LATIN":
            return _ONE_SCRIPT.get(name, name)
    return None
