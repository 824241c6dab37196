"""Signal `metadata`: an entry of the request body's `metadata` object.

Config: `routing.signals.metadata`. The client sets metadata freely, so a match says what the
client claims, not what is true. Confidence is always 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .base import PureSignal, RequestFacts, SignalResult, SignalRule


class MetadataPredicate(BaseModel):
    """What must hold of the value: exactly one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    equals: str | None = None
    """The value is exactly this string."""
    in_: Annotated[tuple[str, ...] | None, Field(alias="in", min_length=1)] = None
    """The value is one of these strings."""
    exists: bool | None = None
    """The key is there (true) or is not (false), whatever its value."""

    @model_validator(mode="after")
    def _is_exactly_one(self) -> MetadataPredicate:
        given = [name for name in ("equals", "in_", "exists") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(name.rstrip("_") for name in given) or "none of them"
            raise ValueError(f"exactly one of equals, in, exists is needed; found {found}")
        return self

    def holds(self, value: str | None) -> bool:
        """Whether it is true of this value; None stands for a key that is not there."""
        if self.exists is not None:
            return (value is not None) == self.exists
        if self.in_ is not None:
            return value in self.in_
        return value == self.equals


class MetadataRule(SignalRule):
    """One entry of `routing.signals.metadata`."""

    key: Annotated[str, Field(min_length=1, max_length=128)]
    """An entry of the request's `metadata`."""
    predicate: MetadataPredicate


class Metadata(PureSignal[MetadataRule]):
    """What the client says about the request."""

    kind: ClassVar[str] = "metadata"
    config_key: ClassVar[str] = "metadata"
    Rule: ClassVar[type[SignalRule]] = MetadataRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        metadata = facts.metadata
        return {
            rule.name: SignalResult(rule.predicate.holds(metadata.get(rule.key)))
            for rule in self.rules
        }
