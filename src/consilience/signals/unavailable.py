"""Families of signals that the reference has and this version does not evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNAVAILABLE: Mapping[str, str] = MappingProxyType(
    {
        "pii": "pii",
    }
)
"""Leaf `type` to the list under `routing.signals` that declares it. Such a leaf loads with a warning,
and at run time it is an error in the trace, never a match."""
