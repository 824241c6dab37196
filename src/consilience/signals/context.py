"""Signal `context`: how long the whole request is, in estimated tokens.

Config: `routing.signals.context`. A rule is a band with both ends included; several bands may fit
one request. Sizes are integers or strings such as `999`, `32K` (32 000) and `1M` (1 000 000); no
`max_tokens`, or 0, means no upper end. The figure is `estimate.estimate_tokens`: it tells short
from long and errs on the high side; it does not fill a window to its edge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from ..rules.misfit import MisfitError
from .base import PureSignal, RequestFacts, SignalResult, SignalRule

_SIZE = re.compile(r"\s*([0-9]{1,12})(\.[0-9]{1,6})?\s*([kKmM]?)\s*", re.ASCII)
_UNITS = {"": 1, "K": 1_000, "M": 1_000_000}


def parse_size(value: object) -> object:
    """Reads a token count such as `32K`; leaves anything that is not a string alone.

    Raises:
        ValueError: a string that is not a size.
    """
    if not isinstance(value, str):
        return value
    size = _SIZE.fullmatch(value)
    if size is None:
        raise ValueError(f"{value[:40]!r} is not a token count; write 999, 32K or 1M")
    whole, fraction, unit = size.groups()
    scale = _UNITS[unit.upper()]
    tokens = float(whole + (fraction or "")) * scale
    if not tokens.is_integer():
        raise ValueError(f"{value[:40]!r} is not a whole number of tokens")
    return int(tokens)


_Written = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=f"^{_SIZE.pattern}$")]
Tokens = Annotated[
    int, Field(ge=0, strict=True), BeforeValidator(parse_size, json_schema_input_type=_Written)
]


class ContextRule(SignalRule):
    """One entry of `routing.signals.context`."""

    min_tokens: Tokens = 0
    """The least; such as 999, `32K` or `1M`."""
    max_tokens: Tokens | None = None
    """None or 0: no upper end."""

    @model_validator(mode="after")
    def _band_is_not_reversed(self) -> ContextRule:
        if self.max_tokens and self.max_tokens < self.min_tokens:
            raise MisfitError(
                f"max_tokens ({self.max_tokens}) is below min_tokens ({self.min_tokens}):"
                " no request can fit",
                "max_tokens",
                "min_tokens",
            )
        return self

    def warnings(self) -> Sequence[str]:
        if self.max_tokens == 0:
            return (f"rule {self.name!r}: max_tokens 0 is no upper end: leave it out to say so",)
        return ()

    @property
    def doubtful(self) -> tuple[str | int, ...]:
        return ("max_tokens",)

    def holds(self, tokens: int) -> bool:
        """Whether a request of this size is in the band."""
        return self.min_tokens <= tokens and (not self.max_tokens or tokens <= self.max_tokens)


class Context(PureSignal[ContextRule]):
    """The size of the request."""

    kind: ClassVar[str] = "context"
    config_key: ClassVar[str] = "context"
    Rule: ClassVar[type[SignalRule]] = ContextRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        tokens = facts.tokens
        return {
            rule.name: SignalResult(rule.holds(tokens), value=float(tokens)) for rule in self.rules
        }
