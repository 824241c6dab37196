"""Signal `preference`: which of some kinds of wishes the last user message has.

Config: `routing.signals.preferences`. A rule is described by its `description` and `examples`; the
text is compared with them (see `similarity`), and only the best rule matches, when it reaches its
`threshold`. Confidence and value are the score.

With `global.model_catalog.modules.classifier.preference.use_contrastive: false` a helper model chooses
instead: the one of `global.model_catalog.external` with `model_role: preference`. Its choice matches with
confidence 1; an answer that is not one of the rules' names is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from .asking import (
    MOST_CHARACTERS,
    PREFERENCE_HELPER,
    AskingSignal,
    AskModel,
    choice_messages,
    chosen_label,
)
from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .excerpt import excerpt
from .similarity import MARGIN, NO_MARGIN, Bank, Banks, Candidates, PrototypeScoring
from .vectors import Vectors, VectorSignal

_NONE_OF_THEM = "none_of_these"
_INSTRUCTIONS = "Say which description fits best what the user wants of an assistant."


class PreferenceRule(SignalRule):
    """One entry of `routing.signals.preferences`."""

    examples: Candidates = ()
    """Texts of users who want this."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least score."""

    @property
    def texts(self) -> Sequence[str]:
        """What a prompt is compared with."""
        return tuple(text for text in (self.description, *self.examples) if text.strip())

    def warnings(self) -> Sequence[str]:
        if not self.texts:
            return (f"rule {self.name!r} has no description and no examples: it never matches",)
        return ()


class PreferenceSettings(SignalSettings):
    """`global.model_catalog.modules.classifier.preference`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "embedding_model": "the model of `model_catalog.embeddings.semantic` is used",
        MARGIN: NO_MARGIN,
    }

    use_contrastive: Annotated[bool, Field(strict=True)] = True
    """False: a helper model chooses."""
    prototype_scoring: PrototypeScoring = PrototypeScoring()


class Preference(VectorSignal[PreferenceRule], AskingSignal[PreferenceRule]):
    """The wish that fits best."""

    kind: ClassVar[str] = "preference"
    config_key: ClassVar[str] = "preferences"
    Rule: ClassVar[type[SignalRule]] = PreferenceRule
    Settings: ClassVar[type[BaseModel] | None] = PreferenceSettings
    settings_key: ClassVar[str] = "model_catalog.modules.classifier.preference"

    def __init__(self, rules: Sequence[PreferenceRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, PreferenceSettings) else PreferenceSettings()
        self._contrastive = own.use_contrastive
        self._scoring = own.prototype_scoring
        self._banks = Banks(())

    @property
    def compares(self) -> bool:
        return self._contrastive

    @property
    def asked(self) -> Collection[str]:
        return () if self._contrastive else self.emits()

    def prototypes(self, identity: str) -> Sequence[str]:
        return [text for rule in self.rules for text in rule.texts] if self._contrastive else ()

    def learn(self, vectors: Vectors, identity: str) -> None:
        if self._contrastive:
            self._banks = Banks([Bank(rule.texts, vectors, self._scoring) for rule in self.rules])

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        return super().wanted(facts) if self._contrastive else ()

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        if not self._contrastive:
            return {}
        if not facts.sample:
            return {rule.name: _NOTHING for rule in self.rules}
        scores = self._banks.scores(vectors[facts.sample])
        best = max(range(len(scores)), key=scores.__getitem__)
        return {
            rule.name: SignalResult(
                i == best and score >= rule.threshold, min(1.0, max(0.0, score)), value=score
            )
            for i, (rule, score) in enumerate(zip(self.rules, scores, strict=True))
        }

    async def inquire(self, facts: RequestFacts, ask: AskModel) -> Mapping[str, SignalResult]:
        if not facts.text.strip():
            return {rule.name: _NOTHING for rule in self.rules}
        options = {
            rule.name: rule.description or "; ".join(rule.examples[:5]) for rule in self.rules
        }
        options[_NONE_OF_THEM] = "none of the descriptions fits"
        text = excerpt(facts.text, MOST_CHARACTERS)
        answer = await ask(PREFERENCE_HELPER, choice_messages(_INSTRUCTIONS, options, text))
        label = chosen_label(answer, tuple(options))
        return {
            rule.name: SignalResult(rule.name == label, value=float(rule.name == label))
            for rule in self.rules
        }


_NOTHING = SignalResult(False, value=0.0)
