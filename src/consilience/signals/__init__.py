"""Signals: kinds of evidence about a request. `SIGNALS` is the registry."""

from __future__ import annotations

from typing import Any

from .authz import Authz
from .auxiliary import Auxiliary
from .base import Signal
from .classifier import Classifier
from .complexity import Complexity
from .context import Context
from .conversation import Conversation
from .domain import Domain
from .embedding import Embedding
from .event import Event
from .fact_check import FactCheck
from .jailbreak import Jailbreak
from .kb import Kb
from .keyword import Keyword
from .language import Language
from .metadata import Metadata
from .modality import Modality
from .pii import Pii
from .preference import Preference
from .reask import Reask
from .structure import Structure
from .user_feedback import UserFeedback

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
    Embedding,
    Complexity,
    Reask,
    Preference,
    Kb,
    Jailbreak,
    Domain,
    FactCheck,
    UserFeedback,
    Classifier,
    Pii,
)
"""Every kind that this version evaluates."""

__all__ = ["SIGNALS"]
