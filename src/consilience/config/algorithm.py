"""`algorithm` of a decision: which looper, with which options. Derived from `LOOPERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from ..loopers import LOOPERS
from ..loopers.base import LooperOptions
from .fields import Section

OPTIONS: Mapping[str, type[LooperOptions]] = {looper.kind: looper.Options for looper in LOOPERS}
"""Options model of each looper, by `algorithm.type`."""

_KNOWN = [
    "static",
    "router_dc",
    "latency_aware",
    "multi_factor",
    "hybrid",
    "automix",
    "prompt",
    "knn",
    "kmeans",
    "svm",
    "mlp",
    "confidence",
    "ratings",
    "remom",
    "fusion",
    "workflows",
]
UNSUPPORTED = tuple(kind for kind in _KNOWN if kind not in OPTIONS)
"""Types that the reference has and this version does not run: such a decision answers 501."""

REMOVED = ("elo", "rl_driven", "gmtrouter", "bandit")
"""Types that the reference itself no longer has."""


class AlgorithmBase(Section):
    """What every algorithm has."""

    type: Annotated[str, Field(json_schema_extra={"enum": [*OPTIONS, *UNSUPPORTED]})]
    """A looper's kind, in lower case."""

    @property
    def supported(self) -> bool:
        """Whether this version runs it."""
        return self.type in OPTIONS

    @property
    def options(self) -> LooperOptions | None:
        """The block named like the type, or its defaults; None when the type is not supported."""
        if not self.supported:
            return None
        given = getattr(self, self.type)
        return given if isinstance(given, LooperOptions) else OPTIONS[self.type]()

    @property
    def blocks(self) -> tuple[str, ...]:
        """The option blocks that were written, of whatever type."""
        return tuple(name for name in self.model_fields_set if name != "type")


def _derive() -> type[AlgorithmBase]:
    fields: dict[str, Any] = {
        kind: (options | None, Field(default=None, repr=False)) for kind, options in OPTIONS.items()
    }
    for kind in (*UNSUPPORTED, *REMOVED):
        fields[kind] = (Mapping[str, Any] | None, Field(default=None, repr=False))
    return create_model(
        "Algorithm",
        __base__=AlgorithmBase,
        __module__=__name__,
        __doc__="`algorithm` of a decision: a type, and the options block named like it.",
        **fields,
    )


if TYPE_CHECKING:
    Algorithm = AlgorithmBase
else:
    Algorithm = _derive()
