"""What a call costs. Pure; money is decimal."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..chat.completion import Usage

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in dollars per million tokens."""

    prompt: Decimal
    completion: Decimal
    cached_prompt: Decimal | None = None
    """Of prompt tokens the upstream did not read again; None: like any other prompt token."""

    def cost(self, usage: Usage) -> Decimal:
        """The price of one call. Cached tokens are part of the prompt tokens (OpenAI's count)."""
        cached = (
            min(usage.cached_tokens, usage.prompt_tokens) if self.cached_prompt is not None else 0
        )
        fresh = usage.prompt_tokens - cached
        total = fresh * self.prompt + usage.completion_tokens * self.completion
        return (total + cached * (self.cached_prompt or Decimal(0))) / _MILLION
