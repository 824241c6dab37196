"""Signal `structure`: how the last user message is built: questions, lists, phases, density.

Config: `routing.signals.structure`. A feature takes a figure from a source:

- `count` of a `regex` (RE2), of a `keyword_set` or of `sequence`s, or the `text_bytes`;
- `density`: the count divided by the text's units, which are CJK characters and, in other scripts,
  runs of letters and digits;
- `exists`: whether the count is above 0;
- `sequence`: how many of the sequences have their words in the text in this order.

Keywords stand at word boundaries; each place of the text counts once. Letter case does not count
unless `case_sensitive: true`. A `predicate` says which figures match, with confidence
max(0.5, sigmoid(4 x distance to the nearest bound)); without one `count` and `density` always
match, as in the reference, `sequence` when one is there, with confidence 1.

Of a text longer than 32 768 characters the first three quarters of that and the last quarter are
read, except for `text_bytes`; counting stops at `MAX_COUNT`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..rules.misfit import MisfitError
from ..rules.predicate import Predicate
from .base import PureSignal, RequestFacts, SignalResult, SignalRule
from .patterns import MAX_CHARACTERS, MAX_PATTERN_LENGTH, Places, compile_pattern

MAX_COUNT = 1000
"""Where counting stops."""
MAX_WORDS = 500
"""Keywords of one rule, or words of all its sequences."""

_CJK = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
_RUN = re.compile(r"[^\W_]+")

_SOURCES = {
    "exists": ("regex", "keyword_set", "sequence"),
    "count": ("regex", "keyword_set", "sequence", "text_bytes"),
    "density": ("regex", "keyword_set"),
    "sequence": ("sequence",),
}
_NEEDS = {"regex": "pattern", "keyword_set": "keywords", "sequence": "sequences"}

Word = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_LENGTH)]


class StructureSource(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["regex", "keyword_set", "sequence", "text_bytes"]
    """What kind of thing."""
    pattern: Annotated[str, Field(max_length=MAX_PATTERN_LENGTH)] = ""
    """A regular expression (RE2), for `regex`."""
    keywords: Annotated[tuple[Word, ...], Field(max_length=MAX_WORDS)] = ()
    """For `keyword_set`."""
    sequences: tuple[Annotated[tuple[Word, ...], Field(min_length=2)], ...] = ()
    """Each: words that stand in the text in this order."""
    case_sensitive: bool = False
    """Whether letter case counts."""

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str) -> str:
        compile_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> StructureSource:
        for kind, name in _NEEDS.items():
            if self.type == kind and not getattr(self, name):
                raise MisfitError(f"a {kind} source needs `{name}`", "type", name)
            if self.type != kind and getattr(self, name):
                message = f"`{name}` goes with a {kind} source, not with {self.type}"
                raise MisfitError(message, name, "type")
        words = [*self.keywords, *(word for sequence in self.sequences for word in sequence)]
        if any(not word.strip() for word in words):
            raise ValueError("a keyword must not be blank")
        if len(words) > MAX_WORDS or sum(map(len, words)) > MAX_CHARACTERS:
            raise ValueError(f"a rule has at most {MAX_WORDS} words of {MAX_CHARACTERS} characters")
        return self


class StructureFeature(BaseModel):
    """Which figure of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["exists", "count", "density", "sequence"]
    """Which figure."""
    source: StructureSource

    @model_validator(mode="after")
    def _fits_its_source(self) -> StructureFeature:
        allowed = _SOURCES[self.type]
        if self.source.type not in allowed:
            raise MisfitError(
                f"`{self.type}` takes a source of type {', '.join(allowed)}; not {self.source.type}",
                "type",
                "source.type",
            )
        return self


class StructureRule(SignalRule):
    """One entry of `routing.signals.structure`."""

    feature: StructureFeature
    predicate: Predicate | None = None
    """Range of the figure; not with `exists`."""

    @model_validator(mode="after")
    def _exists_has_no_range(self) -> StructureRule:
        if self.feature.type == "exists" and self.predicate is not None:
            raise MisfitError(
                "`exists` takes no predicate; use `count`", "predicate", "feature.type"
            )
        return self

    def warnings(self) -> Sequence[str]:
        if self.predicate is None and self.feature.type in ("count", "density"):
            return (f"rule {self.name!r} has no predicate: it always matches",)
        return ()


class _Text:
    """What rules read, each part at most once."""

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts

    @property
    def utf8(self) -> bytes:
        return self._facts.excerpt_utf8

    @property
    def bytes(self) -> int:
        return len(self._facts.text_utf8)

    @cached_property
    def units(self) -> int:
        text = self._facts.excerpt
        return len(_RUN.findall(text if text.isascii() else _CJK.sub(" x ", text)))


class Structure(PureSignal[StructureRule]):
    """Form of the last user message."""

    kind: ClassVar[str] = "structure"
    config_key: ClassVar[str] = "structure"
    Rule: ClassVar[type[SignalRule]] = StructureRule

    def __init__(self, rules: Sequence[StructureRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._measured = tuple((rule, _measure(rule.feature)) for rule in rules)

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        text = _Text(facts)
        return {rule.name: _result(rule, measure(text)) for rule, measure in self._measured}


def _result(rule: StructureRule, value: float) -> SignalResult:
    predicate = rule.predicate
    if predicate is None:
        always = rule.feature.type in ("count", "density")
        return SignalResult(always or value > 0, value=value)
    if not predicate.holds(value):
        return SignalResult(False, value=value)
    return SignalResult(True, predicate.confidence(value), value)


Measure = Callable[[_Text], float]


def _measure(feature: StructureFeature) -> Measure:
    """Compiles a feature to what takes its figure."""
    count = _counter(feature.source, first_only=feature.type == "exists")
    if feature.type != "density":
        return count
    return lambda text: _density(count(text), text)


def _density(count: float, text: _Text) -> float:
    # Without a place there is nothing to divide: units are counted for texts that have one.
    return count / text.units if count and text.units else 0.0


def _counter(source: StructureSource, *, first_only: bool) -> Measure:
    if source.type == "text_bytes":
        return lambda text: float(text.bytes)
    most = 1 if first_only else MAX_COUNT
    strict = source.case_sensitive
    if source.type == "regex":
        pattern = compile_pattern(source.pattern, case_sensitive=strict)
        if first_only:
            return lambda text: float(pattern.search(text.utf8) is not None)
        return lambda text: float(sum(1 for _ in islice(pattern.finditer(text.utf8), most)))
    if source.type == "keyword_set":
        places = Places(source.keywords, case_sensitive=strict)
        return lambda text: float(sum(1 for _ in islice(places.ends(text.utf8), most)))
    sequences = [
        [Places((word,), case_sensitive=strict) for word in sequence]
        for sequence in source.sequences
    ]
    return lambda text: float(sum(_in_order(sequence, text.utf8) for sequence in sequences))


def _in_order(sequence: Sequence[Places], text: bytes) -> bool:
    """Whether the words stand in the text one after the other, whatever is between them."""
    end = 0
    for word in sequence:
        found = word.first_end(text, end)
        if found is None:
            return False
        end = found
    return True
