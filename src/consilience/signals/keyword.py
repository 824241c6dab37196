"""Signal `keyword`: words and phrases in the text that the user wrote last.

Config: `routing.signals.keywords`. The rule matches when all (`AND`), any (`OR`) or none (`NOR`) of
its keywords occur. Letter case does not count unless `case_sensitive: true`. Confidence is always
1. What occurring means is the `method`'s to say:

- none: as written, at word boundaries;
- `regex`: each keyword is a regular expression (RE2), without boundaries;
- `fuzzy`, or `fuzzy_match: true` beside one of the two above: a word of the text may be written a
  little differently, too. `fuzzy_threshold` up to 10 is an edit distance in characters (never more
  than a third of the keyword), above 10 a similarity in percent;
- `bm25`: a text about the keyword, by English word stems, above `bm25_threshold`;
- `ngram`: a word with many of the keyword's n-grams, above `ngram_threshold`, or the keyword itself.

The first two read the whole text. The others read 4 096 characters of it, three quarters from its
beginning and one from its end, and take at most 200 keywords.

It is no security boundary: whoever writes the prompt can spell a word differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..rules.misfit import MisfitError
from ..rules.spelling import in_any_case
from . import approximate
from .approximate import Bm25, Finder, Fuzzy, Ngrams, Reading
from .base import PureSignal, RequestFacts, SignalResult, SignalRule
from .patterns import (
    MAX_CHARACTERS,
    MAX_PATTERN_LENGTH,
    MAX_PATTERNS,
    Match,
    Pattern,
    any_of,
    compile_pattern,
    literal,
)
from .scan import Scan


class KeywordRule(SignalRule):
    """One entry of `routing.signals.keywords`."""

    operator: Annotated[Literal["AND", "OR", "NOR"], in_any_case("AND", "OR", "NOR")] = "OR"
    """Whether all, any or none of the keywords must occur; letter case is free."""
    method: Literal["regex", "bm25", "ngram", "fuzzy"] | None = None
    """Absent: literal words. See above."""
    case_sensitive: bool = False
    """Whether letter case counts."""
    keywords: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_PATTERNS)]
    """Words, phrases or regular expressions (RE2)."""
    fuzzy_match: bool = False
    """Adds approximate matching to literal words and regular expressions."""
    fuzzy_threshold: Annotated[int, Field(ge=0, le=100)] = 2
    """Up to 10 an edit distance, in characters; above 10 a similarity, in percent."""
    bm25_threshold: Annotated[float, Field(ge=0)] = 0.1
    """Least score; 0 is met by any shared word."""
    ngram_threshold: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Least share of common n-grams."""
    ngram_arity: Annotated[int, Field(ge=1, le=16)] = 3
    """Characters of an n-gram."""

    @property
    def is_fuzzy(self) -> bool:
        """Whether misspelt words count."""
        return self.method == "fuzzy" or (self.fuzzy_match and self.method in (None, "regex"))

    def warnings(self) -> Sequence[str]:
        if self.fuzzy_match and self.method in ("bm25", "ngram"):
            return (f"rule {self.name!r}: `fuzzy_match` adds nothing to method {self.method!r}",)
        return ()

    @model_validator(mode="after")
    def _is_not_too_much(self) -> KeywordRule:
        most = approximate.MAX_KEYWORDS
        if (self.is_fuzzy or self.method in ("bm25", "ngram")) and len(self.keywords) > most:
            raise MisfitError(
                f"{len(self.keywords)} keywords; a rule that compares approximately has at most"
                f" {most}",
                "keywords",
                "method",
                "fuzzy_match",
            )
        return self

    @field_validator("keywords")
    @classmethod
    def _keywords_compile(cls, keywords: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        regex = info.data.get("method") == "regex"
        problems: list[InitErrorDetails] = []
        for i, keyword in enumerate(keywords):
            reason = _refusal(keyword, regex=regex)
            if reason is not None:
                error = PydanticCustomError("keyword", "{reason}", {"reason": reason})
                problems.append(InitErrorDetails(type=error, loc=(i,), input=keyword))
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        total = sum(map(len, keywords))
        if total > MAX_CHARACTERS:
            raise ValueError(f"{total} characters of keywords; a rule has at most {MAX_CHARACTERS}")
        return keywords


def _refusal(keyword: str, *, regex: bool) -> str | None:
    if not keyword.strip():
        return "a keyword must not be blank"
    if len(keyword) > MAX_PATTERN_LENGTH:
        return f"a keyword has at most {MAX_PATTERN_LENGTH} characters, this one {len(keyword)}"
    if regex:
        try:
            compile_pattern(keyword)
        except ValueError as exc:
            return str(exc)
    return None


class _Words:
    """A rule of literal words, compiled."""

    def __init__(self, rule: KeywordRule) -> None:
        self._operator = rule.operator
        strict = rule.case_sensitive
        self._any = compile_pattern(literal(*rule.keywords), case_sensitive=strict)
        self._each = tuple(map(_exact(rule), rule.keywords)) if rule.operator == "AND" else ()
        self._spelling = {word.casefold(): word for word in rule.keywords}

    def result(self, text: bytes, *, occurs: bool) -> SignalResult:
        """Gives the result; `occurs`: any of the words stands in the text."""
        if self._operator == "NOR":
            return _NO_MATCH if occurs else _NONE
        if not occurs:
            return _NO_MATCH
        if self._operator == "AND":
            return _ALL if all(pattern.search(text) for pattern in self._each) else _NO_MATCH
        place = self._any.search(text)
        word = None if place is None else self._word(place)
        return SignalResult(True, detail={"keyword": word} if word is not None else {})

    def _word(self, place: Match) -> str | None:
        """The keyword that was found, as configured."""
        found = place.group().decode("utf-8", "replace").casefold()
        # the place includes the character before and after, where the word must end there
        cuts = (found, found[1:], found[:-1], found[1:-1])
        return next((self._spelling[cut] for cut in cuts if cut in self._spelling), None)


class _Expressions:
    """A rule of regular expressions, compiled."""

    def __init__(self, rule: KeywordRule) -> None:
        self._rule = rule
        self._any = any_of(rule.keywords, case_sensitive=rule.case_sensitive)
        self._each = tuple(map(_exact(rule), rule.keywords))

    def result(self, text: bytes) -> SignalResult:
        if self._rule.operator == "AND":
            return _ALL if all(pattern.search(text) for pattern in self._each) else _NO_MATCH
        keyword = self._first(text)
        if self._rule.operator == "NOR":
            return _NONE if keyword is None else _NO_MATCH
        return _NO_MATCH if keyword is None else SignalResult(True, detail={"keyword": keyword})

    def _first(self, text: bytes) -> str | None:
        """The first keyword of the rule that is found."""
        if self._any is not None and self._any.search(text) is None:
            return None
        each = zip(self._rule.keywords, self._each, strict=True)
        return next((word for word, pattern in each if pattern.search(text)), None)


_NO_MATCH = SignalResult(False)
_ALL = SignalResult(True, detail={"found": "all"})
_NONE = SignalResult(True, detail={"found": "none"})


class _Approximate:
    """A rule whose keywords need not occur as written, compiled."""

    def __init__(self, rule: KeywordRule, finder: Finder, *, exact: bool) -> None:
        self._rule = rule
        self._finder = finder
        self._exact = tuple(map(_exact(rule), rule.keywords)) if exact else ()

    def result(self, text: bytes, reading: Reading, *, occurs: bool) -> SignalResult:
        """Gives the result; `occurs`: any of the keywords may stand in the text as written."""
        found = dict(self._finder.find(reading))
        for i, pattern in enumerate(self._exact) if occurs else ():
            if i not in found and pattern.search(text) is not None:
                found[i] = 1.0
        value = max(found.values(), default=0.0)
        if self._rule.operator == "NOR":
            return SignalResult(not found, value=value, detail={} if found else _NONE.detail)
        wanted = len(self._rule.keywords) if self._rule.operator == "AND" else 1
        if len(found) < wanted:
            return SignalResult(False, value=value)
        best = self._rule.keywords[max(found, key=found.__getitem__)]
        return SignalResult(True, value=value, detail={"keyword": best})


def _exact(rule: KeywordRule) -> Callable[[str], Pattern]:
    """What compiles one keyword to be found as it is written."""
    strict = rule.case_sensitive
    if rule.method == "regex":
        return lambda keyword: compile_pattern(keyword, case_sensitive=strict)
    return lambda keyword: compile_pattern(literal(keyword), case_sensitive=strict)


def _approximate(rule: KeywordRule) -> _Approximate | None:
    strict = rule.case_sensitive
    if rule.is_fuzzy:
        fuzzy = Fuzzy(rule.keywords, rule.fuzzy_threshold, case_sensitive=strict)
        return _Approximate(rule, fuzzy, exact=True)
    if rule.method == "bm25":
        return _Approximate(rule, Bm25(rule.keywords, rule.bm25_threshold), exact=False)
    if rule.method == "ngram":
        finder = Ngrams(
            rule.keywords, rule.ngram_threshold, arity=rule.ngram_arity, case_sensitive=strict
        )
        return _Approximate(rule, finder, exact=True)
    return None


class Keyword(PureSignal[KeywordRule]):
    """Words and phrases in the last user message."""

    kind: ClassVar[str] = "keyword"
    config_key: ClassVar[str] = "keywords"
    Rule: ClassVar[type[SignalRule]] = KeywordRule

    def __init__(self, rules: Sequence[KeywordRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._words: dict[str, _Words] = {}
        self._expressions: dict[str, _Expressions] = {}
        self._approximate: dict[str, _Approximate] = {}
        for rule in rules:
            approximate = _approximate(rule)
            if approximate is not None:
                self._approximate[rule.name] = approximate
            elif rule.method == "regex":
                self._expressions[rule.name] = _Expressions(rule)
            else:
                self._words[rule.name] = _Words(rule)
        self._scans = tuple(_scans(rules))
        self._unscanned = {rule.name for rule in rules if rule.method == "regex"}

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        text = facts.text_utf8
        occurring = {names[i] for names, scan in self._scans for i in scan.found(text)}
        found = {
            name: words.result(text, occurs=name in occurring)
            for name, words in self._words.items()
        }
        for name, expressions in self._expressions.items():
            found[name] = expressions.result(text)
        if self._approximate:
            reading = Reading(facts.text)
            occurring |= self._unscanned
            for name, rule in self._approximate.items():
                found[name] = rule.result(text, reading, occurs=name in occurring)
        return found


def _scans(rules: Sequence[KeywordRule]) -> Iterator[tuple[Sequence[str], Scan]]:
    """What tells which rules have a literal keyword in the text, for either letter case."""
    for strict in (False, True):
        literals = [
            rule
            for rule in rules
            if rule.case_sensitive == strict and rule.method not in ("regex", "bm25")
        ]
        if literals:
            patterns = [literal(*rule.keywords) for rule in literals]
            yield [rule.name for rule in literals], Scan(patterns, case_sensitive=strict)
