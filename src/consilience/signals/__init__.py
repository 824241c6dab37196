"""Signals: kinds of evidence about a request. `SIGNALS` is the registry."""

from __future__ import annotations

from typing import Any

from .authz import Authz
from .auxiliary import Auxiliary
from .base import Signal
from .context import Context
from .conversation import Conversation
from .event import Event
from .keyword import Keyword
from .language import Language
from .metadata import Metadata
from .modality import Modality
from .pii import Pii
from .structure import Structure
from .unavailable import UNAVAILABLE

SIGNALS: tuple[type[Signal[Any]], ...] = (
    Keyword,
    Context,
    Structure,
    Conversation,
    Event,
    Metadata,
    Authz,
    Language,
    Modality,
    Auxiliary,
    Pii,
)
"""Every kind that this version evaluates."""

__all__ = ["SIGNALS", "UNAVAILABLE"]
