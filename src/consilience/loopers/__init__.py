"""Open set 2: ways to turn one request into an outcome. The registry."""

from __future__ import annotations

from typing import Any

from .base import Looper
from .fusion.looper import Fusion
from .single import Single

LOOPERS: tuple[type[Looper[Any]], ...] = (Single, Fusion)
