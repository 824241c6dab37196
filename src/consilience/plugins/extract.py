"""Shortens a text to what matters for a question: its beginning, its end, and the lines that speak
of the same things. Pure, and linear in the length of the text.

Lines are ranked by BM25 over the question's words, each line a document. Lines are taken together
until they have `LEAST_CHARS`, and one that is longer than `PIECE_CHARS`, or than what there is room
for at an edge, counts as several. Where something was left out, a mark says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BYTES_PER_TOKEN = 4
LEAST_CHARS = 40
PIECE_CHARS = 400
SHORTEST_CHARS = 16
"""Of a piece of a long line, however little room there is."""
RANKED_CHARS = 512 * 1024
"""How much of a request's texts is ranked; of longer ones the middle is left out unread."""
_QUESTION_CHARS = 4096
_EDGE_SHARE = 0.2
"""Of the room: what the beginning has for sure, and the end as well."""
_MARK_BYTES = 40
_K1, _B = 1.2, 0.75
_WORD = re.compile(r"\w+")


def tokens_of(text: str) -> int:
    """About how many tokens a text has: one for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def question_words(text: str) -> frozenset[str]:
    """The words that lines are ranked by."""
    return frozenset(_words(text[:_QUESTION_CHARS]))


@dataclass(slots=True)
class Extractor:
    """Shortens the texts of one request. Reads no more than `RANKED_CHARS` of all of them."""

    question: frozenset[str]
    left: int = RANKED_CHARS
    """Characters that may still be read; after that, texts are cut to beginning and end."""

    def extract(self, text: str, tokens: int) -> str:
        """Shortens a text to about so many tokens; one that is short enough stays as it is."""
        if tokens_of(text) <= tokens:
            return text
        room = tokens * BYTES_PER_TOKEN
        half = max(self.left, room) // 2
        self.left = max(self.left - len(text), 0)
        width = len(text.encode("utf-8", "replace")) / len(text)
        longest = max(SHORTEST_CHARS, min(PIECE_CHARS, int(room * _EDGE_SHARE / width)))
        pieces = [*_pieces(text[:half], longest)]
        lengths = [*map(len, pieces)]
        unread = len(text) - 2 * half
        if unread > 0:
            pieces.append("")
            lengths.append(unread)
        rest = [*_pieces(text[max(len(text) - half, half) :], longest)]
        pieces += rest
        lengths += map(len, rest)
        sizes = [len(piece.encode("utf-8", "replace")) or room + 1 for piece in pieces]
        return _joined(pieces, lengths, _choose(pieces, sizes, self.question, room))


def _choose(
    pieces: Sequence[str], sizes: Sequence[int], question: frozenset[str], room: int
) -> set[int]:
    """Positions of the pieces that stay: both edges, then the best ranked, as far as there is room."""
    kept: set[int] = set()
    edge = int(room * _EDGE_SHARE)
    room -= 2 * _MARK_BYTES
    for order in (range(len(pieces)), range(len(pieces) - 1, -1, -1)):
        left = edge
        for position in order:
            left -= sizes[position]
            if left < 0 or position in kept:
                break
            kept.add(position)
            room -= sizes[position]
    scores = _ranked(pieces, question)
    ranked = sorted((p for p in range(len(pieces)) if p not in kept), key=lambda p: (-scores[p], p))
    for position in ranked:
        apart = position - 1 not in kept and position + 1 not in kept
        size = sizes[position] + _MARK_BYTES * apart
        if size <= room:
            kept.add(position)
            room -= size
        elif room < _MARK_BYTES:
            break
    return kept


def _ranked(pieces: Sequence[str], question: frozenset[str]) -> Sequence[float]:
    """BM25 of each piece for the question."""
    counts = [Counter(filter(question.__contains__, _words(piece))) for piece in pieces]
    holding = Counter(word for count in counts for word in count)
    total = len(pieces)
    weights = {w: math.log(1 + (total - n + 0.5) / (n + 0.5)) for w, n in holding.items()}
    mean = sum(map(len, pieces)) / total or 1.0
    return [
        sum(
            weights[word] * n * (_K1 + 1) / (n + _K1 * (1 - _B + _B * len(piece) / mean))
            for word, n in count.items()
        )
        for piece, count in zip(pieces, counts, strict=True)
    ]


def _words(text: str) -> Sequence[str]:
    """Words in lower case; a script without spaces gives its pairs of characters, too."""
    words: list[str] = _WORD.findall(text.lower())
    if text.isascii():
        return words
    long = [word for word in words if len(word) > 2 and not word.isascii()]
    return [*words, *(word[i : i + 2] for word in long for i in range(len(word) - 1))]


def _pieces(text: str, longest: int) -> Iterator[str]:
    """Lines with their ends; short ones together, long ones in pieces, between words if may be."""
    start, least = 0, min(LEAST_CHARS, longest)
    while start < len(text):
        whole = start + longest
        end = text.find("\n", start + least - 1, whole) + 1
        if not end and whole < len(text):
            end = text.rfind(" ", start + longest // 2, whole) + 1
        end = end or whole
        yield text[start:end]
        start = end


def _joined(pieces: Sequence[str], lengths: Sequence[int], kept: set[int]) -> str:
    """The pieces that stay, with a mark on a line of its own wherever something is missing."""
    parts: list[str] = []
    missing = 0
    for position, length in enumerate(lengths):
        if position not in kept:
            missing += length
            continue
        if missing:
            parts += ["" if not parts or parts[-1].endswith("\n") else "\n", _mark(missing)]
            missing = 0
        parts.append(pieces[position])
    if missing:
        parts += ["" if not parts or parts[-1].endswith("\n") else "\n", _mark(missing)]
    return "".join(parts).rstrip("\n")


def _mark(characters: int) -> str:
    return f"[... {characters:,} characters left out ...]\n"
