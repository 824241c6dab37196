"""Signal `classifier`: labels of one's own, told apart by examples or by a helper model.

Config: `routing.signals.classifiers`. Conditions name a rule and one of its `labels`; the label's
probability is the value, and the most probable one matches.

- `type: local`: the text is compared with the `prototypes` of each label (see `similarity`); the
  likenesses become probabilities, the less sure the less the text is like any of them. (The reference
  loads a trained network from `model_path`; here a rule without `prototypes` is an error in the trace.)
- `type: llm`: the `model`, one of `global.model_catalog.external` or of `providers.models`, must
  answer with one JSON object that names a label. It has 1, the others 0; anything else is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import anyio
import numpy as np
from pydantic import BaseModel, Field, model_validator

from ..rules.misfit import MisfitError
from .asking import (
    MOST_CHARACTERS,
    AskingSignal,
    AskModel,
    choice_messages,
    chosen_label,
)
from .base import RequestFacts, SignalResult, SignalRule
from .breaker import Seldom, log_failed, why_failed
from .excerpt import excerpt
from .similarity import Bank, Banks, Candidates, PrototypeScoring
from .vectors import Vectors, VectorSignal

_SHARPNESS = 20.0
"""By how much likenesses are stretched before they become probabilities."""
_STRANGE, _FAMILIAR = 0.5, 0.7
"""The likeness to the nearest label from which on a text says anything, and says all it can."""
_INSTRUCTIONS = "Label the user's message."


class ClassifierRule(SignalRule):
    """One entry of `routing.signals.classifiers`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "model_path": "no network is loaded: give `prototypes` for each label",
        "use_cpu": "classifiers run on the processor",
    }

    type: Literal["local", "llm"]
    """By examples, or by asking a model."""
    labels: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(min_length=2, max_length=50),
    ]
    """What a text may be; conditions name one of them."""
    prototypes: Mapping[str, Candidates] = {}
    """Ours: examples by label."""
    model: str | None = None
    """Of `llm`: who is asked."""
    instructions: Annotated[str, Field(max_length=8000)] = ""
    """Of `llm`: what the choice is about."""

    def emits(self) -> Sequence[str]:
        return tuple(f"{self.name}:{label}" for label in self.labels)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ClassifierRule:
        if self.type == "llm" and not self.model:
            raise MisfitError("a classifier of type llm needs a `model` to ask", "type", "model")
        if len(set(self.labels)) < len(self.labels):
            raise MisfitError("two of the labels are the same", "labels", certain=True)
        strange = [label for label in self.prototypes if label not in self.labels]
        if strange:
            message = f"`prototypes` has {strange[0]!r}, which is not among the labels"
            raise MisfitError(message, "prototypes", "labels")
        return self

    def warnings(self) -> Sequence[str]:
        if self.type == "local" and not self.prototypes:
            return (f"rule {self.name!r} has no `prototypes`: it cannot be evaluated",)
        bare = [label for label in self.labels if not self.prototypes.get(label)]
        if self.type == "local" and bare:
            which = ", ".join(map(repr, bare))
            return (f"rule {self.name!r} has no `prototypes` of {which}: nothing is like these",)
        return ()


class Classifier(VectorSignal[ClassifierRule], AskingSignal[ClassifierRule]):
    """Labels of one's own."""

    kind: ClassVar[str] = "classifier"
    config_key: ClassVar[str] = "classifiers"
    Rule: ClassVar[type[SignalRule]] = ClassifierRule

    def __init__(self, rules: Sequence[ClassifierRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._local = [rule for rule in rules if rule.type == "local"]
        self._asking = [rule for rule in rules if rule.type == "llm"]
        self._banks: dict[str, Banks] = {}
        self._told = Seldom()

    @property
    def compares(self) -> bool:
        return any(rule.prototypes for rule in self._local)

    @property
    def asked(self) -> Collection[str]:
        return tuple(name for rule in self._asking for name in rule.emits())

    def prototypes(self, identity: str) -> Sequence[str]:
        return [t for rule in self._local for texts in rule.prototypes.values() for t in texts]

    def learn(self, vectors: Vectors, identity: str) -> None:
        for rule in self._local:
            each = (rule.prototypes.get(label, ()) for label in rule.labels)
            self._banks[rule.name] = Banks(
                [Bank(texts, vectors, PrototypeScoring()) for texts in each]
            )

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        return super().wanted(facts) if self.compares else ()

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        results: dict[str, SignalResult] = {}
        for rule in self._local:
            if not rule.prototypes:
                missing = SignalResult(False, error="the rule has no prototypes")
                results |= dict.fromkeys(rule.emits(), missing)
            elif not (facts.sample and vectors[facts.sample].any()):
                results |= dict.fromkeys(rule.emits(), _NOTHING)
            else:
                scores = np.array(self._banks[rule.name].scores(vectors[facts.sample]))
                known = (scores.max() - _STRANGE) / (_FAMILIAR - _STRANGE)
                sharpness = _SHARPNESS * min(1.0, max(0.0, known))
                odds = np.exp(sharpness * (scores - scores.max()))
                results |= _results(rule, (odds / odds.sum()).tolist())
        return results

    async def inquire(self, facts: RequestFacts, ask: AskModel) -> Mapping[str, SignalResult]:
        results: dict[str, SignalResult] = {}
        text = excerpt(facts.text, MOST_CHARACTERS)
        if not text.strip():
            return dict.fromkeys(self.asked, _NOTHING)

        async def one(rule: ClassifierRule) -> None:
            try:
                results.update(await _inquired(rule, text, ask))
            except Exception as exc:  # a helper's failure is its own rule's error in the trace
                log_failed("helper_failed", exc, self._told, rule=rule.name)
                error = SignalResult(False, error=why_failed(exc))
                results.update(dict.fromkeys(rule.emits(), error))

        async with anyio.create_task_group() as group:
            for rule in self._asking:
                group.start_soon(one, rule)
        return results


async def _inquired(rule: ClassifierRule, text: str, ask: AskModel) -> Mapping[str, SignalResult]:
    """Has one rule ask its helper."""
    instructions = rule.instructions or _INSTRUCTIONS
    messages = choice_messages(instructions, dict.fromkeys(rule.labels, ""), text)
    chosen = chosen_label(await ask(rule.model or "", messages), rule.labels)
    return _results(rule, [float(label == chosen) for label in rule.labels])


def _results(rule: ClassifierRule, shares: Sequence[float]) -> Mapping[str, SignalResult]:
    best = max(range(len(shares)), key=shares.__getitem__)
    return {
        f"{rule.name}:{label}": SignalResult(i == best, share, value=share)
        for i, (label, share) in enumerate(zip(rule.labels, shares, strict=True))
    }


_NOTHING = SignalResult(False, value=0.0)
