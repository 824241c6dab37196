"""Open set 4: what a decision does to its requests beside choosing models. The registry.

The order is that in which they act: who has an answer in hand first, then what changes the request.
"""

from __future__ import annotations

from typing import Any

from .base import Plugin
from .context_compression import ContextCompression
from .fast_response import FastResponse
from .header_mutation import HeaderMutation
from .request_params import RequestParams
from .response_cache import ResponseCache
from .system_prompt import SystemPrompt
from .tools import Tools
from .unavailable import UNAVAILABLE

PLUGINS: tuple[type[Plugin[Any]], ...] = (
    FastResponse,
    ResponseCache,
    Tools,
    ContextCompression,
    SystemPrompt,
    RequestParams,
    HeaderMutation,
)

__all__ = ["PLUGINS", "UNAVAILABLE"]
