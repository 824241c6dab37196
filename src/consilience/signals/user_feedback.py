"""Signal `user_feedback`: what the last user message says of the answer before it.

Config: `routing.signals.user_feedbacks`; the names are `satisfied`, `need_clarification`,
`wrong_answer` and `want_different`. Only a conversation with an assistant's turn has feedback. A
classifier trained on the packaged examples (see `learning`) tells these four from a message that
says nothing of the answer; the most probable of the four matches when it reaches the threshold.
Confidence and value are its probability.
(The reference calls everything below the threshold `satisfied`; here it is nothing.)

`global.model_catalog.modules.feedback_detector` has the threshold (0.7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, field_validator

from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .learned import LearnedSignal
from .vectors import Vectors

FEEDBACK = ("satisfied", "need_clarification", "wrong_answer", "want_different")
_TRAINED = "there is no trained network: a classifier learns from packaged examples"


class UserFeedbackRule(SignalRule):
    """One entry of `routing.signals.user_feedbacks`."""

    @field_validator("name")
    @classmethod
    def _name_is_a_feedback(cls, name: str) -> str:
        if name not in FEEDBACK:
            raise ValueError(f"{name[:40]!r} is not one of {', '.join(FEEDBACK)}")
        return name


class FeedbackSettings(SignalSettings):
    """`global.model_catalog.modules.feedback_detector`."""

    ignored_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("model_ref", "model_id", "use_cpu", "use_modernbert", "use_mmbert_32k"),
            "feedback_mapping_path",
        ),
        _TRAINED,
    )

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether any rule can match."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Least probability."""


class UserFeedback(LearnedSignal[UserFeedbackRule]):
    """What the user makes of the answer."""

    kind: ClassVar[str] = "user_feedback"
    config_key: ClassVar[str] = "user_feedbacks"
    Rule: ClassVar[type[SignalRule]] = UserFeedbackRule
    Settings: ClassVar[type[BaseModel] | None] = FeedbackSettings
    settings_key: ClassVar[str] = "model_catalog.modules.feedback_detector"
    family = "user_feedback"

    def __init__(
        self, rules: Sequence[UserFeedbackRule], settings: BaseModel | None = None
    ) -> None:
        super().__init__(rules, settings)
        self._own = settings if isinstance(settings, FeedbackSettings) else FeedbackSettings()

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        return super().wanted(facts) if self._applies(facts) else ()

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        if not (self._applies(facts) and facts.sample):
            return {rule.name: _NOTHING for rule in self.rules}
        probable = self.probabilities(facts.sample, vectors[facts.sample], facts.terms)
        best = max(FEEDBACK, key=lambda name: probable[name])
        said = best if probable[best] >= self._own.threshold else None
        return {
            rule.name: SignalResult(
                rule.name == said, probable[rule.name], value=probable[rule.name]
            )
            for rule in self.rules
        }

    def _applies(self, facts: RequestFacts) -> bool:
        return self._own.enabled and any(
            message["role"] == "assistant" for message in facts.request.messages
        )


_NOTHING = SignalResult(False, value=0.0)
