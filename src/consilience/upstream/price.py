"""What a call costs. Pure; money is decimal."""

from __future__ import annotations

from collections.abc import Sequence
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
    tiers: Sequence[tuple[int, Price]] = ()
    """What all tokens of a call cost whose prompt has more tokens than that, fewest first."""

    def cost(self, usage: Usage) -> Decimal:
        """The price of one call. Cached tokens are part of the prompt tokens (OpenAI's count)."""
        for above, price in reversed(self.tiers):
            if usage.prompt_tokens > above:
                return price.cost(usage)
        cached = (
            min(usage.cached_tokens, usage.prompt_tokens) if self.cached_prompt is not None else 0
        )
        fresh = usage.prompt_tokens - cached
        total = fresh * self.prompt + usage.completion_tokens * self.completion
        return (total + cached * (self.cached_prompt or Decimal(0))) / _MILLION

    def worst(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """The most that a call of up to so many tokens can cost, whatever is cached of it."""
        reached = [price for above, price in self.tiers if prompt_tokens > above]
        return max(
            (
                prompt_tokens * max(price.prompt, price.cached_prompt or Decimal(0))
                + completion_tokens * price.completion
            )
            / _MILLION
            for price in (self, *reached)
        )
