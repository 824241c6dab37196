"""Signal `event`: words of an incident or a transaction in the last user message.

Config: `routing.signals.events`. Criteria are `event_types`, `severities`, `action_codes` and
`temporal` (words of urgency: `TEMPORAL_WORDS`). Each is searched for as written, at word
boundaries, letter case aside: `payment_failed` is not found in "payment failed", `now` not in
"know". A rule matches when any of its criteria is met, with confidence
0.5 + 0.5 x criteria met / criteria configured.

It reads words, not meaning: "high" in "high availability" is a severity to it. Of a text longer
than 32 768 characters the first three quarters of that and the last quarter are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, field_validator

from .base import PureSignal, RequestFacts, SignalResult, SignalRule
from .patterns import MAX_CHARACTERS, MAX_PATTERN_LENGTH, literal
from .scan import Scan

TEMPORAL_WORDS = ("urgent", "immediate", "asap", "deadline", "now")
TEMPORAL_PAIRS = (("time", "sensitive"), ("critical", "window"))
"""Pairs of words with any one character between them."""

Words = Annotated[
    tuple[Annotated[str, Field(max_length=MAX_PATTERN_LENGTH)], ...], Field(max_length=500)
]


class EventRule(SignalRule):
    """One entry of `routing.signals.events`."""

    event_types: Words = ()
    """Words for what happened."""
    severities: Words = ()
    """Words for how bad it is."""
    action_codes: Words = ()
    """Words for what is to be done."""
    temporal: Annotated[bool, Field(strict=True)] = False
    """Whether words of urgency count."""

    @field_validator("event_types", "severities", "action_codes")
    @classmethod
    def _words_are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("a word must not be blank")
        if sum(map(len, words)) > MAX_CHARACTERS:
            raise ValueError(f"at most {MAX_CHARACTERS} characters of words")
        return words

    def warnings(self) -> Sequence[str]:
        if self.temporal or self.event_types or self.severities or self.action_codes:
            return ()
        return (f"rule {self.name!r} has no criterion: it never matches",)


class Event(PureSignal[EventRule]):
    """Incident words in the last user message."""

    kind: ClassVar[str] = "event"
    config_key: ClassVar[str] = "events"
    Rule: ClassVar[type[SignalRule]] = EventRule

    def __init__(self, rules: Sequence[EventRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        each = [(rule, name, pattern) for rule in rules for name, pattern in _criteria(rule)]
        self._criteria: dict[str, dict[int, str]] = {rule.name: {} for rule in rules}
        for i, (rule, name, _) in enumerate(each):
            self._criteria[rule.name][i] = name
        self._scan = Scan([pattern for _, _, pattern in each])

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        found = self._scan.found(facts.excerpt_utf8)
        return {name: _result(criteria, found) for name, criteria in self._criteria.items()}


def _result(criteria: Mapping[int, str], found: Collection[int]) -> SignalResult:
    """A rule's result by what was found of its criteria, each under its place in the scan."""
    met = [name for i, name in criteria.items() if i in found]
    if not met:
        return _NO_MATCH
    return SignalResult(True, 0.5 + 0.5 * len(met) / len(criteria), detail={"criteria": met})


def _criteria(rule: EventRule) -> Iterator[tuple[str, str]]:
    """Name and pattern of each criterion."""
    for name in ("event_types", "severities", "action_codes"):
        words = getattr(rule, name)
        if words:
            yield name, literal(*words)
    if rule.temporal:
        pairs = (rf"\b{first}.{second}\b" for first, second in TEMPORAL_PAIRS)
        yield "temporal", "|".join((literal(*TEMPORAL_WORDS), *pairs))


_NO_MATCH = SignalResult(False)
