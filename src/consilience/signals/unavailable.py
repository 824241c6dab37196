"""Families of signals that the reference has and this version does not evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNAVAILABLE: Mapping[str, str] = MappingProxyType(
    {
        "embedding": "embeddings",
        "domain": "domains",
        "fact_check": "fact_check",
        "user_feedback": "user_feedbacks",
        "reask": "reasks",
        "preference": "preferences",
        "complexity": "complexity",
        "jailbreak": "jailbreak",
        "kb": "kb",
        "classifier": "classifiers",
        "projection": "projections",
    }
)
"""Leaf `type` to the key that declares it: a list under `routing.signals`, except for
`projection`, which `routing.projections` declares. Such a leaf loads with a warning, and at run
time it is an error in the trace, never a match."""
