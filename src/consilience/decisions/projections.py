"""Projections: what `routing.projections` may say.

Partitions leave one of several signals matched, scores add up what signals found, mappings turn a
score into named results that rules ask for with `type: projection`.

Source: vllm-sr-routing.md 2.4. Stricter than the reference: what refers to nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..rules.misfit import MisfitError
from ..rules.predicate import Bound, Predicate
from ..signals.base import SignalKey

KIND = "projection"
"""`type:` of a condition on a mapping's output."""

SCORE_TYPES = ("score", "projection")
"""`type:` of an input that is another score."""
METRIC_TYPE = "kb_metric"
"""`type:` of an input that is a figure of a knowledge base."""

Text = Annotated[str, Field(min_length=1)]
Figure = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
ValueSource = Literal["binary", "confidence", "raw", "score"]

MAX_ENTRIES = 500
"""Members, inputs and outputs of one entry; entries of one list."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Partition(_Frozen):
    """Signals of which at most one stays matched."""

    name: Text
    semantics: Literal["exclusive", "softmax_exclusive"]
    """`softmax_exclusive`: the winner's confidence becomes its share among those that matched."""
    temperature: Positive = 1.0
    """Of the softmax; the smaller, the more the best one gets."""
    members: Annotated[tuple[Text, ...], Field(max_length=MAX_ENTRIES)]
    """Names of domain signals, or of embedding signals; at least one."""
    default: Text | None = None
    """The member that matches when none does."""


class ScoreInput(_Frozen):
    """One summand of a score."""

    type: Text
    """A signal kind; `score` (or `projection`) for another score; `kb_metric`."""
    name: Text | None = None
    """Of a signal result or a score."""
    kb: Text | None = None
    """The knowledge base of a metric."""
    metric: Text | None = None
    """One of its metrics."""
    weight: Figure
    """By what it is multiplied; may be negative."""
    value_source: ValueSource | None = None
    """`binary` by default; of a score and of a metric always their value."""
    match: Figure = 1.0
    """What a match counts as; `binary` only."""
    miss: Figure = 0.0
    """What anything else counts as."""

    @model_validator(mode="after")
    def _names_what_its_type_needs(self) -> Self:
        needed = ("kb", "metric") if self.type == METRIC_TYPE else ("name",)
        for field in ("name", "kb", "metric"):
            given = getattr(self, field) is not None
            if field in needed and not given:
                raise MisfitError(f"an input of type {self.type} needs `{field}`", "type", field)
            if given and field not in needed:
                message = f"`{field}` does not go with an input of type {self.type}"
                raise MisfitError(message, field, "type")
        has_only_a_value = self.is_score or self.type == METRIC_TYPE
        if has_only_a_value and self.value_source not in (None, "score"):
            raise MisfitError(
                f"`value_source` of an input of type {self.type} is score, not {self.value_source}",
                "value_source",
                "type",
            )
        if not has_only_a_value and self.value_source == "score":
            raise MisfitError(
                "`value_source` score goes with an input of type score, projection or kb_metric;"
                " the value of a signal is raw",
                "value_source",
                "type",
            )
        return self

    @property
    def is_score(self) -> bool:
        """Whether it is another score."""
        return self.type in SCORE_TYPES

    @property
    def source(self) -> ValueSource:
        """What of the result counts."""
        if self.is_score or self.type == METRIC_TYPE:
            return "score"
        return self.value_source or "binary"

    @property
    def key(self) -> SignalKey:
        """The signal result that it reads; without meaning for another score."""
        if self.type == METRIC_TYPE:
            return SignalKey("kb", f"{self.kb}.{self.metric}")
        return SignalKey(self.type, self.name or "")


class Score(_Frozen):
    """A figure: the weighted sum of its inputs."""

    name: Text
    method: Literal["weighted_sum"]
    """The only one there is."""
    inputs: Annotated[tuple[ScoreInput, ...], Field(max_length=MAX_ENTRIES)]
    """At least one."""


class Output(_Frozen):
    """A named band of a score; without bounds it always fits."""

    name: Text
    gt: Bound | None = None
    """The score must be above."""
    gte: Bound | None = None
    """The score must be at least."""
    lt: Bound | None = None
    """The score must be below."""
    lte: Bound | None = None
    """The score must be at most."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _ = self.predicate
        return self

    @property
    def predicate(self) -> Predicate | None:
        """What must hold of the score; None when nothing must."""
        bounds = {name: getattr(self, name) for name in ("gt", "gte", "lt", "lte")}
        return Predicate(**bounds) if any(b is not None for b in bounds.values()) else None


class Calibration(_Frozen):
    """How the confidence of an output follows from the score."""

    method: Literal["sigmoid_distance"] = "sigmoid_distance"
    """Sigmoid of `slope` times the distance to the nearest bound."""
    slope: Positive = 12.0
    """How steep it is: the greater, the sooner an output is sure."""


class ScoreMapping(_Frozen):
    """Turns a score into named results."""

    name: Text
    source: Text
    """The score's name."""
    method: Literal["threshold_bands", "multi_emit"]
    """The first output that fits, or every one."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=MAX_ENTRIES)]
    """At least one."""
    calibration: Calibration = Calibration()


class Projections(_Frozen):
    """`routing.projections`."""

    partitions: Annotated[tuple[Partition, ...], Field(max_length=MAX_ENTRIES)] = ()
    scores: Annotated[tuple[Score, ...], Field(max_length=MAX_ENTRIES)] = ()
    mappings: Annotated[tuple[ScoreMapping, ...], Field(max_length=MAX_ENTRIES)] = ()

    @property
    def outputs(self) -> Iterator[str]:
        """The names that conditions may use, in order."""
        return (output.name for mapping in self.mappings for output in mapping.outputs)
