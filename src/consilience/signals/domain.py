"""Signal `domain`: what the last user message is about, of the fourteen subjects of MMLU-Pro.

Config: `routing.signals.domains`. A classifier trained on the packaged examples (see `learning`) gives each
subject a probability. When it is sure (normalised entropy below 0.4) only the most probable one counts,
otherwise all that reach the threshold do; where none does it is `other`. A rule matches when one of its
`mmlu_categories` counts, its own name when it lists none. Confidence and value are the probability.

`global.model_catalog.modules.classifier.domain` has the threshold (0.35) and the `fallback_category`.
Of a text longer than 2 048 characters the beginning, the middle and the end are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field

from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .learned import LearnedSignal
from .vectors import Vectors

DOMAINS = (
    *("biology", "business", "chemistry", "computer science", "economics", "engineering", "health"),
    *("history", "law", "math", "other", "philosophy", "physics", "psychology"),
)
SURE_BELOW = 0.4
"""Normalised entropy: 0 when one subject is certain, 1 when all are as likely."""
_TRAINED = "there is no trained network: a classifier learns from packaged examples"


class DomainRule(SignalRule):
    """One entry of `routing.signals.domains`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "model_scores": "the order and the weights of a decision's models decide",
    }

    mmlu_categories: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """Subjects that count as this one; none: the rule's own name."""

    @property
    def categories(self) -> Sequence[str]:
        """The subjects that the rule stands for."""
        return tuple(each.strip().lower().replace("_", " ") for each in self.mmlu_categories) or (
            self.name.strip().lower().replace("_", " "),
        )

    @property
    def doubtful(self) -> tuple[str | int, ...]:
        if not self.mmlu_categories:
            return ("name",)
        strange = (i for i, each in enumerate(self.categories) if each not in DOMAINS)
        return ("mmlu_categories", *islice(strange, 1))

    def warnings(self) -> Sequence[str]:
        strange = [each for each in self.categories if each not in DOMAINS]
        if strange:
            which = ", ".join(map(repr, strange))
            known = ", ".join(DOMAINS) + _meant(strange)
            return (
                f"rule {self.name!r}: {which} is no subject that is told apart; those are {known}",
            )
        return ()


def _meant(strange: Sequence[str]) -> str:
    close = (get_close_matches(each[:40], DOMAINS, n=1, cutoff=0.7) for each in strange)
    found = dict.fromkeys(match for matches in close for match in matches)
    return f"; did you mean {' and '.join(map(repr, found))}?" if found else ""


class DomainSettings(SignalSettings):
    """`global.model_catalog.modules.classifier.domain`."""

    ignored_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("model_ref", "model_id", "use_cpu", "use_modernbert", "use_mmbert_32k"),
            "category_mapping_path",
        ),
        _TRAINED,
    )

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether any rule can match."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Least probability. Probabilities here are those that examples bear out; a network's are often
    surer, which is why the reference has 0.5."""
    fallback_category: str = "other"
    """What a text is about that reaches the threshold nowhere."""


class Domain(LearnedSignal[DomainRule]):
    """The subject."""

    kind: ClassVar[str] = "domain"
    config_key: ClassVar[str] = "domains"
    Rule: ClassVar[type[SignalRule]] = DomainRule
    Settings: ClassVar[type[BaseModel] | None] = DomainSettings
    settings_key: ClassVar[str] = "model_catalog.modules.classifier.domain"
    family = "domain"

    def __init__(self, rules: Sequence[DomainRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._own = settings if isinstance(settings, DomainSettings) else DomainSettings()

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        if not self._own.enabled:
            return {rule.name: _NOTHING for rule in self.rules}
        if facts.sample:
            probable = self.probabilities(facts.sample, vectors, facts.terms)
        else:
            probable = {self._own.fallback_category: 1.0}
        counting = self._counting(probable)
        return {rule.name: _result(rule, probable, counting) for rule in self.rules}

    def _counting(self, probable: Mapping[str, float]) -> frozenset[str]:
        best = max(probable, key=probable.__getitem__)
        if probable[best] < self._own.threshold:
            return frozenset((self._own.fallback_category,))
        if _entropy(probable) < SURE_BELOW:
            return frozenset((best,))
        return frozenset(name for name, p in probable.items() if p >= self._own.threshold)


def _entropy(probable: Mapping[str, float]) -> float:
    if len(probable) < 2:
        return 0.0
    spread = -sum(p * math.log(p) for p in probable.values() if p > 0)
    return spread / math.log(len(probable))


def _result(
    rule: DomainRule, probable: Mapping[str, float], counting: frozenset[str]
) -> SignalResult:
    found = {name: probable.get(name, 0.0) for name in rule.categories}
    matched = any(name in counting for name in found)
    best = max(found, key=lambda name: (name in counting, found[name]))
    detail: dict[str, Any] = {"category": best} if matched and best != rule.name else {}
    return SignalResult(matched, found[best], value=found[best], detail=detail)


_NOTHING = SignalResult(False, value=0.0)
