"""Keywords that are found although the text spells them differently: fuzzy, BM25, n-grams.

All of them read a bounded part of the text and compare a bounded number of keywords with it, so
the cost of a rule has an upper end whatever is sent.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Protocol

import Stemmer  # type: ignore[import-not-found]  # a C module that publishes no types
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

from .excerpt import excerpt

MAX_TEXT = 4096
"""Characters that are read: the first three quarters of that and the last quarter."""
MAX_KEYWORDS = 200
"""Keywords in one rule."""
MAX_PHRASE = 8
"""Words of a keyword that has neighbours compared with it; longer ones are compared in part."""

_WORD = re.compile(r"\w+")
_K1, _B = 1.2, 0.75

# Too frequent to tell one keyword from another: they would make every English text match.
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a about an and are as at be been but by can could did do does for from had has have he her"
        " his how i if in into is it its me my no not of on or our she should so some such than that"
        " the their them then there these they this to us was we were what when which who why will"
        " with would you your"
    )
)

_FEW = 50_000
"""So many characters are searched in less time than a set of their n-grams is made."""


class Reading:
    """The words of one text, taken apart at most once for all rules."""

    def __init__(self, text: str) -> None:
        self._text = excerpt(text, MAX_TEXT)
        self._words: dict[bool, list[str]] = {}
        self._phrases: dict[tuple[bool, int], list[str]] = {}
        self._joined: dict[tuple[bool, int, int], str] = {}
        self._grams: dict[tuple[bool, int, int], frozenset[str]] = {}
        self._stems: frozenset[str] | None = None

    def text(self, *, case_sensitive: bool = False) -> str:
        """Gives what is read."""
        return self._text if case_sensitive else self._text.casefold()

    def words(self, *, case_sensitive: bool = False) -> Sequence[str]:
        """Gives the words in order."""
        if case_sensitive not in self._words:
            found = _WORD.findall(self.text(case_sensitive=case_sensitive))
            self._words[case_sensitive] = found
        return self._words[case_sensitive]

    def phrases(self, size: int, *, case_sensitive: bool = False) -> Sequence[str]:
        """Gives each distinct run of so many words, joined by a space."""
        key = (case_sensitive, size)
        if key not in self._phrases:
            words = self.words(case_sensitive=case_sensitive)
            shifted = (words[i:] for i in range(size))
            runs = words if size == 1 else map(" ".join, zip(*shifted, strict=False))
            self._phrases[key] = list(dict.fromkeys(runs))
        return self._phrases[key]

    def grams(
        self, size: int, arity: int, *, looked_up: int, case_sensitive: bool = False
    ) -> Container[str]:
        """Gives what tells which n-grams all runs of so many words have together.

        Args:
            size: words of a run.
            arity: characters of an n-gram.
            looked_up: how many will be.
            case_sensitive: whether letter case counts.
        """
        key = (case_sensitive, size, arity)
        if key not in self._joined:
            blanks = " " * (arity - 1)
            phrases = self.phrases(size, case_sensitive=case_sensitive)
            # Blanks between two phrases end the one and begin the other.
            self._joined[key] = f"{blanks}{blanks.join(phrases)}{blanks}"
        joined = self._joined[key]
        if looked_up * len(joined) <= _FEW:
            return joined
        if key not in self._grams:
            self._grams[key] = _runs(joined, arity)
        return self._grams[key]

    @property
    def stems(self) -> frozenset[str]:
        """The words' English stems, without stop words."""
        if self._stems is None:
            self._stems = frozenset(_stems(self.words()))
        return self._stems


class Finder(Protocol):
    """A rule's keywords, compiled by one method."""

    def find(self, reading: Reading) -> Mapping[int, float]:
        """Gives the keywords that were found: their index, and how well."""
        ...


class Fuzzy:
    """Keywords within an edit distance, or above a similarity in percent, of words of the text.

    A keyword of several words is compared with as many neighbours. An edit distance counts
    insertions, deletions and replacements, and is at most a third of the keyword's length: with
    a distance of 2 every word of two letters would be `ai`.
    """

    def __init__(self, keywords: Sequence[str], threshold: float, *, case_sensitive: bool) -> None:
        """Compiles the keywords.

        Args:
            keywords: words and phrases.
            threshold: above 10 the least similarity, 0 to 100; otherwise the greatest distance.
            case_sensitive: whether letter case counts.
        """
        self._strict = case_sensitive
        self._threshold = threshold
        self._keywords = [_normal(keyword, case_sensitive) for keyword in keywords]

    def find(self, reading: Reading) -> Mapping[int, float]:
        found = {}
        for i, (keyword, size) in enumerate(self._keywords):
            if size:
                score = self._score(keyword, reading.phrases(size, case_sensitive=self._strict))
                if score is not None:
                    found[i] = score
        return found

    def _score(self, keyword: str, phrases: Sequence[str]) -> float | None:
        """Similarity of the nearest phrase, 0 to 1; None when none is near enough."""
        if self._threshold > PERCENT_ABOVE:
            near = process.extractOne(
                keyword, phrases, scorer=fuzz.ratio, score_cutoff=self._threshold
            )
            return near[1] / 100 if near else None
        most = min(int(self._threshold), len(keyword) // 3)
        far = process.extractOne(keyword, phrases, scorer=Levenshtein.distance, score_cutoff=most)
        return 1 - far[1] / len(keyword) if far else None


PERCENT_ABOVE = 10
"""A fuzzy threshold above this is a similarity in percent."""


class Bm25:
    """Keywords as the documents of a tiny collection, the text as the query (Okapi BM25).

    Words are compared by their English stems, without stop words. k1 = 1.2, b = 0.75; inverse
    document frequency is ln(1 + (N - n + 0.5) / (n + 0.5)), so it is never negative. A keyword
    is found when its score reaches the threshold.
    """

    def __init__(self, keywords: Sequence[str], threshold: float) -> None:
        documents = [_stems(_WORD.findall(keyword.casefold())) for keyword in keywords]
        lengths = [len(document) for document in documents]
        mean = sum(lengths) / len(lengths) or 1.0
        frequency = Counter(stem for document in documents for stem in set(document))
        self._threshold = threshold
        self._weights: dict[str, list[tuple[int, float]]] = {}
        for i, document in enumerate(documents):
            norm = _K1 * (1 - _B + _B * len(document) / mean)
            for stem, count in Counter(document).items():
                n = frequency[stem]
                idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                weight = idf * count * (_K1 + 1) / (count + norm)
                self._weights.setdefault(stem, []).append((i, weight))

    def find(self, reading: Reading) -> Mapping[int, float]:
        scores: dict[int, float] = {}
        for stem in self._weights.keys() & reading.stems:
            for i, weight in self._weights[stem]:
                scores[i] = scores.get(i, 0.0) + weight
        return {i: score for i, score in scores.items() if score >= self._threshold}


class Ngrams:
    """Keywords that share enough runs of characters with words of the text, or with a short text.

    The similarity is the share of distinct n-grams that both have among those that either has
    (Jaccard), with n - 1 blanks put before and after. A keyword of several words is compared with
    as many neighbours.
    """

    def __init__(
        self, keywords: Sequence[str], threshold: float, *, arity: int, case_sensitive: bool
    ) -> None:
        self._threshold = threshold
        self._arity = arity
        self._strict = case_sensitive
        self._keywords = [
            (i, ngrams(keyword, arity), size)
            for i, (keyword, size) in enumerate(_normal(k, case_sensitive) for k in keywords)
            if size
        ]
        # A longer text has too many n-grams of its own to be similar enough.
        longest = max(map(len, keywords)) + arity
        self._longest_text = longest / threshold if threshold else math.inf
        self._known = frozenset().union(*(grams for _, grams, _ in self._keywords))

    def find(self, reading: Reading) -> Mapping[int, float]:
        found: dict[int, float] = {}
        whole = reading.text(case_sensitive=self._strict).strip()
        if len(whole) > self._longest_text:
            whole = ""
        candidates: dict[int, Sequence[frozenset[str]]] = {}
        whole_grams = ngrams(whole, self._arity) if whole else frozenset()
        for i, grams, size in self._keywords:
            near = jaccard(grams, whole_grams)
            # Most keywords share too little with all words together to be similar to any of them.
            there = reading.grams(
                size, self._arity, looked_up=len(self._known), case_sensitive=self._strict
            )
            if sum([gram in there for gram in grams]) / len(grams) >= self._threshold:
                if size not in candidates:
                    candidates[size] = self._candidates(reading, size)
                near = max([near, *(jaccard(grams, other) for other in candidates[size])])
            if near >= self._threshold:
                found[i] = near
        return found

    def _candidates(self, reading: Reading, size: int) -> Sequence[frozenset[str]]:
        """N-grams of the phrases of this many words that share any with a keyword."""
        phrases = reading.phrases(size, case_sensitive=self._strict)
        each = (ngrams(phrase, self._arity) for phrase in phrases)
        return [grams for grams in each if not grams.isdisjoint(self._known)]


def ngrams(text: str, arity: int) -> frozenset[str]:
    """Gives the distinct runs of `arity` characters of a text with blanks around it."""
    blanks = " " * (arity - 1)
    return _runs(f"{blanks}{text}{blanks}", arity)


def _runs(text: str, arity: int) -> frozenset[str]:
    return frozenset([text[i : i + arity] for i in range(len(text) - arity + 1)])


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Gives the share of elements that both sets have."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if both else 0.0


def _normal(keyword: str, case_sensitive: bool) -> tuple[str, int]:
    """A keyword as phrases are written, and how many words it has; none for mere punctuation."""
    words = _WORD.findall(keyword if case_sensitive else keyword.casefold())[:MAX_PHRASE]
    return " ".join(words), len(words)


def _stems(words: Sequence[str]) -> list[str]:
    # A stemmer is not safe to share between threads; making one takes less than a microsecond.
    stemmer = Stemmer.Stemmer("english", 0)
    stems: list[str] = stemmer.stemWords([word for word in words if word not in _STOP_WORDS])
    return stems
