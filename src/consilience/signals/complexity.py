"""Signal `complexity`: whether the last user message is like hard tasks or like easy ones.

Config: `routing.signals.complexity`. The value is the margin: how like the `hard` candidates the text
is, less how like the `easy` ones, and up to 0.2 for how hard texts of its kind are in general, as a
classifier trained on the packaged examples sees it (see `learning`). Above `threshold` the rule emits
`name:hard`, below `-threshold` `name:easy`, between them `name:medium`; decisions name these.
Confidence is the margin without its sign. A `composer`, a rule tree over other signals, must match
as well.

`image_candidates` are not compared. Prototypes and the sample are those of `embedding`;
`global.model_catalog.modules.complexity` has a `prototype_scoring` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ..rules.grammar import Composer
from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .learned import LearnedSignal
from .similarity import MARGIN, NO_MARGIN, Bank, Banks, Candidates, PrototypeScoring
from .vectors import Vectors

LEVELS = ("hard", "medium", "easy")
GENERAL = 0.2
"""How far hardness in general, whatever it is like, moves the margin at the most."""


class Side(BaseModel):
    """`hard` or `easy`: examples of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: Candidates = ()
    """Texts that are like it."""
    image_candidates: Candidates = ()
    """Accepted; only text is compared."""


class ComplexityRule(SignalRule):
    """One entry of `routing.signals.complexity`."""

    threshold: Annotated[float, Field(ge=0, le=2)] = 0.1
    """How far apart the two sides must be."""
    hard: Side
    easy: Side
    composer: Composer | None = None
    """What must match besides, of other signals."""

    def emits(self) -> Sequence[str]:
        return tuple(f"{self.name}:{level}" for level in LEVELS)

    def warnings(self) -> Sequence[str]:
        if self.hard.image_candidates or self.easy.image_candidates:
            return (f"rule {self.name!r}: `image_candidates` are not compared: only text is",)
        empty = [side for side in ("hard", "easy") if not getattr(self, side).candidates]
        if empty:
            without = " and no ".join(f"`{side}`" for side in empty)
            return (f"rule {self.name!r} has no {without} candidates: its margin says little",)
        return ()


class ComplexitySettings(SignalSettings):
    """`global.model_catalog.modules.complexity`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {MARGIN: NO_MARGIN}

    prototype_scoring: PrototypeScoring = PrototypeScoring()


class Complexity(LearnedSignal[ComplexityRule]):
    """Hard, medium or easy."""

    kind: ClassVar[str] = "complexity"
    config_key: ClassVar[str] = "complexity"
    Rule: ClassVar[type[SignalRule]] = ComplexityRule
    Settings: ClassVar[type[BaseModel] | None] = ComplexitySettings
    settings_key: ClassVar[str] = "model_catalog.modules.complexity"
    family = "complexity"

    def __init__(self, rules: Sequence[ComplexityRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, ComplexitySettings) else ComplexitySettings()
        self._scoring = own.prototype_scoring
        self._banks = Banks(())

    def prototypes(self, identity: str) -> Sequence[str]:
        own = (text for rule in self.rules for text in _texts(rule))
        return (*super().prototypes(identity), *own)

    def learn(self, vectors: Vectors, identity: str) -> None:
        super().learn(vectors, identity)
        self._banks = Banks(
            [
                Bank(side.candidates, vectors, self._scoring)
                for rule in self.rules
                for side in (rule.hard, rule.easy)
            ]
        )

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        results: dict[str, SignalResult] = {}
        scores, lean = None, 0.0
        if facts.sample:
            scores = self._banks.scores(vectors[facts.sample])
            probable = self.probabilities(facts.sample, vectors, facts.terms)
            lean = GENERAL * (probable["hard"] - probable["easy"])
        for i, rule in enumerate(self.rules):
            margin = scores[2 * i] - scores[2 * i + 1] + lean if scores else 0.0
            level = _level(margin, rule.threshold) if scores else None
            for name in LEVELS:
                results[f"{rule.name}:{name}"] = SignalResult(
                    name == level, min(1.0, abs(margin)), value=margin
                )
        return results


def _texts(rule: ComplexityRule) -> Sequence[str]:
    return (*rule.hard.candidates, *rule.easy.candidates)


def _level(margin: float, threshold: float) -> str:
    if margin > threshold:
        return "hard"
    return "easy" if margin < -threshold else "medium"
