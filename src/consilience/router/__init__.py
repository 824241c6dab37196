"""From a model name, and what the signals say, to a `Route`."""

from __future__ import annotations

from .listing import ModelEntry
from .router import Router
from .table import Consideration, DecisionTrace, Route

__all__ = ["Consideration", "DecisionTrace", "ModelEntry", "Route", "Router"]
