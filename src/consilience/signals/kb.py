"""Signal `kb`: to which part of a knowledge base of examples the last user message belongs.

Config: `routing.signals.kb`, and `global.model_catalog.kbs` for the knowledge bases: labels with
exemplars (in a `labels.json`, or written there), groups of labels, metrics. A label's score is how
like its exemplars the text is (see `similarity`), a group's that of its best label. With `match:
threshold` a rule matches when its target reaches the base's `threshold` (or the label's own); with
`match: best` the best label of the whole base must be the target, or in it, besides. Confidence and
value are the score.

A metric `group_margin` is a group's score less another's; projections read it as `type: kb_metric`. Its
result is filed under `<kb>.<metric>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from ..rules.misfit import MisfitError
from .base import RequestFacts, SignalResult, SignalRule
from .similarity import MARGIN, NO_MARGIN, Bank, Banks, Candidate, PrototypeScoring
from .vectors import Vectors, VectorSignal

MOST_LABELS = 1000
MOST_EXEMPLARS = 2000
Name = Annotated[str, Field(min_length=1, max_length=200)]
Exemplars = Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=MOST_EXEMPLARS)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Part):
    """What of a knowledge base a rule looks for."""

    kind: Literal["label", "group"]
    """A single label, or a group of them."""
    value: Name
    """Its name."""


class KbRule(SignalRule):
    """One entry of `routing.signals.kb`."""

    kb: Name
    """A knowledge base's name."""
    target: Target
    match: Literal["best", "threshold"] = "threshold"
    """Whether the target must be the best of the whole knowledge base besides."""


class Source(_Part):
    """Where a knowledge base's labels are written."""

    path: Annotated[str, Field(min_length=1)]
    """A folder, from the configuration file's or from one above it."""
    manifest: str = "labels.json"
    """The file in that folder: a JSON object with `labels`."""


def _label(value: object) -> object:
    return {"exemplars": value} if isinstance(value, list | tuple) else value


class Label(_Part):
    """A label: a name for texts like these."""

    description: str = ""
    """For people."""
    exemplars: Exemplars
    """Texts that belong to it."""


class Metric(_Part):
    """A figure over groups."""

    name: Name
    type: Literal["group_margin"] = "group_margin"
    """A group's score less another's."""
    positive_group: Name
    """The group that raises it."""
    negative_group: Name
    """The group that lowers it."""


class KnowledgeBase(_Part):
    """One entry of `global.model_catalog.kbs`."""

    name: Name
    source: Source | None = None
    labels: Annotated[
        Mapping[
            Name,
            Annotated[Label, BeforeValidator(_label, json_schema_input_type=Label | Exemplars)],
        ],
        Field(max_length=MOST_LABELS),
    ] = {}
    """Ours: labels written in the configuration; those of `source` are put here when it is read."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.55
    """Least score of a label that matches."""
    label_thresholds: Mapping[Name, Annotated[float, Field(ge=0, le=1)]] = {}
    """The same for single labels."""
    groups: Mapping[Name, tuple[Name, ...]] = {}
    """Labels by name of a group."""
    metrics: tuple[Metric, ...] = ()
    prototype_scoring: PrototypeScoring = PrototypeScoring(max_prototypes=200)

    @model_validator(mode="after")
    def _names_exist(self) -> KnowledgeBase:
        for metric in self.metrics:
            for group in (metric.positive_group, metric.negative_group):
                if group not in self.groups:
                    raise MisfitError(
                        f"metric {metric.name!r}: there is no group {group!r} in this knowledge base;"
                        f" there is: {', '.join(self.groups) or 'none'}",
                        "metrics",
                        "groups",
                    )
        return self

    def labels_of(self, target: Target) -> Sequence[str]:
        """Gives the labels that a target stands for."""
        return (target.value,) if target.kind == "label" else self.groups.get(target.value, ())


class KnowledgeBases(RootModel[tuple[KnowledgeBase, ...]]):
    """`global.model_catalog.kbs`."""

    model_config = ConfigDict(frozen=True)

    ignored_keys: ClassVar[Mapping[str, str]] = {f"[].{MARGIN}": NO_MARGIN}
    root: tuple[KnowledgeBase, ...] = ()

    def named(self, name: str) -> KnowledgeBase | None:
        """Gives a knowledge base, None when there is none of this name."""
        return next((base for base in self.root if base.name == name), None)


class Kb(VectorSignal[KbRule]):
    """Labels and groups of knowledge bases."""

    kind: ClassVar[str] = "kb"
    config_key: ClassVar[str] = "kb"
    Rule: ClassVar[type[SignalRule]] = KbRule
    Settings = KnowledgeBases
    settings_key: ClassVar[str] = "model_catalog.kbs"

    def __init__(self, rules: Sequence[KbRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._bases = settings.root if isinstance(settings, KnowledgeBases) else ()
        for rule in rules:
            self._refuse_unknown(rule)
        self._labels = [(base.name, label) for base in self._bases for label in base.labels]
        self._banks = Banks(())

    def _refuse_unknown(self, rule: KbRule) -> None:
        """Raises ValueError when a rule looks for what is not there."""
        base = next((each for each in self._bases if each.name == rule.kb), None)
        if base is None:
            known = ", ".join(each.name for each in self._bases) or "none"
            raise MisfitError(
                f"there is no knowledge base {rule.kb!r} in global.model_catalog.kbs; there is: {known}",
                "kb",
            )
        names = base.labels if rule.target.kind == "label" else base.groups
        if base.source is not None and not base.labels and rule.target.kind == "label":
            return  # its file was not read, which is told of
        if rule.target.value not in names:
            near = get_close_matches(rule.target.value, names, n=1)
            known = ", ".join(names) or "none"
            meant = f"; did you mean {near[0]!r}?" if near else f"; there is: {known}"
            raise MisfitError(
                f"the knowledge base {rule.kb!r} has no {rule.target.kind} {rule.target.value!r}{meant}",
                "target.value",
                "target.kind",
                "kb",
            )

    @classmethod
    def standing_names(cls, settings: BaseModel | None) -> Sequence[str]:
        bases = settings.root if isinstance(settings, KnowledgeBases) else ()
        return [f"{base.name}.{metric.name}" for base in bases for metric in base.metrics]

    def prototypes(self, identity: str) -> Sequence[str]:
        each = (label for base in self._bases for label in base.labels.values())
        return [text for label in each for text in label.exemplars]

    def learn(self, vectors: Vectors, identity: str) -> None:
        self._banks = Banks(
            [
                Bank(label.exemplars, vectors, base.prototype_scoring)
                for base in self._bases
                for label in base.labels.values()
            ]
        )

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        found = self._banks.scores(vectors[facts.sample]) if facts.sample else ()
        scores = dict(zip(self._labels, found, strict=False))
        results = {rule.name: self._result(rule, scores) for rule in self.rules}
        for base in self._bases:
            for metric in base.metrics:
                sides = (metric.positive_group, metric.negative_group)
                positive, negative = (_best(base, base.groups[side], scores) for side in sides)
                margin = positive - negative
                results[f"{base.name}.{metric.name}"] = SignalResult(
                    margin > 0, min(1.0, abs(margin)), value=margin
                )
        return results

    def _result(self, rule: KbRule, scores: Mapping[tuple[str, str], float]) -> SignalResult:
        base = next((each for each in self._bases if each.name == rule.kb), None)
        if base is None:
            return SignalResult(False, error=f"there is no knowledge base {rule.kb!r}")
        labels = base.labels_of(rule.target)
        own = {label: scores.get((base.name, label), 0.0) for label in labels}
        best = max(own, key=own.__getitem__, default=None)
        if best is None:
            return SignalResult(False, value=0.0)
        score = own[best]
        matched = score >= base.label_thresholds.get(best, base.threshold)
        if rule.match == "best":
            of_all = {name: s for (kb, name), s in scores.items() if kb == base.name}
            matched = matched and max(of_all, key=of_all.__getitem__, default=None) in own
        return SignalResult(
            matched,
            min(1.0, max(0.0, score)),
            value=score,
            detail={"label": best} if matched else {},
        )


def _best(
    base: KnowledgeBase, labels: Sequence[str], scores: Mapping[tuple[str, str], float]
) -> float:
    return max((scores.get((base.name, label), 0.0) for label in labels), default=0.0)
