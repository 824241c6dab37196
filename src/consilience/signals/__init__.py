"""Signals: kinds of evidence about a request. `SIGNALS` is the registry."""

from __future__ import annotations

from typing import Any

from .base import Signal
from .context import Context
from .keyword import Keyword
from .metadata import Metadata
from .unavailable import UNAVAILABLE

SIGNALS: tuple[type[Signal[Any]], ...] = (Keyword, Context, Metadata)
"""Every kind that this version evaluates."""

__all__ = ["SIGNALS", "UNAVAILABLE"]
