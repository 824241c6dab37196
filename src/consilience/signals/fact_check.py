"""Signal `fact_check`: whether the last user message wants facts that should be checked.

Config: `routing.signals.fact_check`; the names are `needs_fact_check` and `no_fact_check_needed`, and every
request is one of them. A classifier trained on the packaged examples (see `learning`) gives the
probability that facts are wanted; from the threshold on it is `needs_fact_check`. Confidence and value are
the probability of what the rule says. Examples of the first: claims to be verified, wishes for
sources, figures, dates, quotations; of the second: writing, code, mathematics, plans, opinions.

`global.model_catalog.modules.hallucination_mitigation.fact_check` has the threshold (0.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, field_validator

from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .learned import LearnedSignal
from .vectors import Vectors

NEEDED, NOT_NEEDED = "needs_fact_check", "no_fact_check_needed"
_TRAINED = "there is no trained network: a classifier learns from packaged examples"


class FactCheckRule(SignalRule):
    """One entry of `routing.signals.fact_check`."""

    @field_validator("name")
    @classmethod
    def _name_is_an_answer(cls, name: str) -> str:
        if name not in (NEEDED, NOT_NEEDED):
            raise ValueError(f"{name[:40]!r} is not one of {NEEDED}, {NOT_NEEDED}")
        return name


class FactCheckSettings(SignalSettings):
    """`global.model_catalog.modules.hallucination_mitigation.fact_check`."""

    ignored_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("model_ref", "model_id", "use_cpu", "use_modernbert", "use_mmbert_32k"), _TRAINED
    )

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    """From here on facts are wanted."""


class FactCheck(LearnedSignal[FactCheckRule]):
    """Facts to be checked, or not."""

    kind: ClassVar[str] = "fact_check"
    config_key: ClassVar[str] = "fact_check"
    Rule: ClassVar[type[SignalRule]] = FactCheckRule
    Settings: ClassVar[type[BaseModel] | None] = FactCheckSettings
    settings_key: ClassVar[str] = "model_catalog.modules.hallucination_mitigation.fact_check"
    family = "fact_check"

    def __init__(self, rules: Sequence[FactCheckRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, FactCheckSettings) else FactCheckSettings()
        self._threshold = own.threshold

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        needed = 0.0
        if facts.sample:
            needed = self.probabilities(facts.sample, vectors, facts.terms)[NEEDED]
        is_needed = needed >= self._threshold
        found = {
            NEEDED: SignalResult(is_needed, needed, value=needed),
            NOT_NEEDED: SignalResult(not is_needed, 1 - needed, value=1 - needed),
        }
        return {rule.name: found[rule.name] for rule in self.rules}
