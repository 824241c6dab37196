"""A range for a signal's raw value, in rules of signals and in conditions of decisions."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Bound = Annotated[float, Field(allow_inf_nan=False)]

_STEEPNESS = 4


class Predicate(BaseModel):
    """A range for a signal's raw value; at least one bound, and something must fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gt: Bound | None = None
    """Above this."""
    gte: Bound | None = None
    """This or above."""
    lt: Bound | None = None
    """Below this."""
    lte: Bound | None = None
    """This or below."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Predicate:
        low, high = _one_of(self.gt, self.gte, "gt"), _one_of(self.lt, self.lte, "lt")
        if low is None and high is None:
            raise ValueError("a predicate needs at least one of gt, gte, lt, lte")
        if low is not None and high is not None:
            strict = self.gt is not None or self.lt is not None
            if low > high or (strict and low == high):
                raise ValueError(f"no value can be above {low:g} and below {high:g} as demanded")
        return self

    def holds(self, value: float) -> bool:
        """Whether the value is in the range. NaN and infinities never are."""
        return (
            math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.gte is None or value >= self.gte)
            and (self.lt is None or value < self.lt)
            and (self.lte is None or value <= self.lte)
        )

    def confidence(self, value: float, steepness: float = _STEEPNESS) -> float:
        """How far inside the range a value that fits lies, as 0.5 (on a bound) to 1."""
        bounds = (bound for bound in (self.gt, self.gte, self.lt, self.lte) if bound is not None)
        return 1 / (1 + math.exp(-steepness * min(abs(value - bound) for bound in bounds)))


def _one_of(strict: float | None, inclusive: float | None, name: str) -> float | None:
    if strict is not None and inclusive is not None:
        raise ValueError(f"a predicate may have {name} or {name}e, not both")
    return strict if strict is not None else inclusive
