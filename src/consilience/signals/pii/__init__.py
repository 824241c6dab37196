"""Signal `pii`: personal data in a request."""

from __future__ import annotations

from .find import find_pii
from .finding import Finding
from .signal import Pii, PiiRule, PiiSettings

__all__ = ["Finding", "Pii", "PiiRule", "PiiSettings", "find_pii"]
