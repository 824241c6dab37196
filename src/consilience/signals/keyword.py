"""Signal `keyword`: words and phrases in the text that the user wrote last.

Config: `routing.signals.keywords`. Without a `method` each keyword is searched for as written, at
word boundaries. `method: regex` makes each a regular expression (RE2), without boundaries. Letter
case does not count unless `case_sensitive: true`. The rule matches when all (`AND`), any (`OR`) or
none (`NOR`) of its keywords occur. Confidence is always 1.

It is no security boundary: whoever writes the prompt can spell a word differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

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


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class KeywordRule(SignalRule):
    """One entry of `routing.signals.keywords`."""

    operator: Annotated[Literal["AND", "OR", "NOR"], BeforeValidator(_upper)] = "OR"
    """Whether all, any or none of the keywords must occur; letter case is free."""
    method: Literal["regex", "bm25", "ngram", "fuzzy"] | None = None
    """Absent: literal words. `regex`: each keyword is a regular expression."""
    case_sensitive: bool = False
    keywords: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_PATTERNS)]
    fuzzy_match: bool = False
    fuzzy_threshold: Annotated[int, Field(ge=0)] = 2
    """Edit distance, in characters."""
    bm25_threshold: Annotated[float, Field(ge=0)] = 0.1
    ngram_threshold: Annotated[float, Field(ge=0, le=1)] = 0.4
    ngram_arity: Annotated[int, Field(ge=1, le=16)] = 3

    @property
    def unavailable(self) -> str | None:
        """Why this version cannot evaluate the rule; None when it can."""
        if self.method in ("bm25", "ngram", "fuzzy"):
            return f"keyword method {self.method!r} is not evaluated in this version"
        if self.fuzzy_match:
            return "keyword option 'fuzzy_match' is not evaluated in this version"
        return None

    def warnings(self) -> Sequence[str]:
        if self.unavailable is None:
            return ()
        return (f"{self.unavailable}: rule {self.name!r} never matches",)

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
    """A rule, compiled."""

    def __init__(self, rule: KeywordRule) -> None:
        self._rule = rule
        strict, self._regex = rule.case_sensitive, rule.method == "regex"
        each = rule.keywords if self._regex else tuple(map(literal, rule.keywords))
        if self._regex:
            self._any = any_of(each, case_sensitive=strict)
        else:
            self._any = compile_pattern(literal(*rule.keywords), case_sensitive=strict)
        self._each: tuple[Pattern, ...] = ()
        if self._regex or rule.operator == "AND":
            self._each = tuple(compile_pattern(p, case_sensitive=strict) for p in each)
        self._spelling = {word.casefold(): word for word in rule.keywords}

    def result(self, text: bytes) -> SignalResult:
        if self._rule.operator == "AND":
            return _ALL if all(pattern.search(text) for pattern in self._each) else _NO_MATCH
        place = self._first(text)
        if self._rule.operator == "NOR":
            return _NONE if place is None else _NO_MATCH
        if place is None:
            return _NO_MATCH
        word = self._word(place, text)
        return SignalResult(True, detail={"keyword": word} if word is not None else {})

    def _first(self, text: bytes) -> Match | None:
        if self._any is not None:
            return self._any.search(text)
        return next(filter(None, (pattern.search(text) for pattern in self._each)), None)

    def _word(self, place: Match, text: bytes) -> str | None:
        """The keyword that was found, as configured."""
        if self._regex:
            each = zip(self._rule.keywords, self._each, strict=True)
            return next((word for word, pattern in each if pattern.search(text)), None)
        found = place.group().decode("utf-8", "replace").casefold()
        # the place includes the character before and after, where the word must end there
        cuts = (found, found[1:], found[:-1], found[1:-1])
        return next((self._spelling[cut] for cut in cuts if cut in self._spelling), None)


_NO_MATCH = SignalResult(False)
_ALL = SignalResult(True, detail={"found": "all"})
_NONE = SignalResult(True, detail={"found": "none"})


class Keyword(PureSignal[KeywordRule]):
    """Words and phrases in the last user message."""

    kind: ClassVar[str] = "keyword"
    config_key: ClassVar[str] = "keywords"
    Rule: ClassVar[type[SignalRule]] = KeywordRule

    def __init__(self, rules: Sequence[KeywordRule]) -> None:
        super().__init__(rules)
        self._words = {rule.name: _Words(rule) for rule in rules if rule.unavailable is None}
        self._errors = {
            rule.name: SignalResult(False, error=rule.unavailable)
            for rule in rules
            if rule.unavailable is not None
        }

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        text = facts.text_utf8
        found = {name: words.result(text) for name, words in self._words.items()}
        return {**found, **self._errors} if self._errors else found
