"""What a call costs. Pure; money is decimal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..chat.completion import Usage

_MILLION = Decimal(1_000_000)
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in dollars per million tokens."""

    prompt: Decimal
    completion: Decimal
    cached_prompt: Decimal | None = None
    """Of prompt tokens the upstream did not read again; None: like any other prompt token."""
    cache_write: Decimal | None = None
    """Of prompt tokens the upstream wrote to its cache; None: like any other prompt token."""
    tiers: Sequence[tuple[int, Price]] = ()
    """What all tokens of a call cost whose prompt has more tokens than that, fewest first."""

    def cost(self, usage: Usage) -> Decimal:
        """The price of one call. Tokens read from a cache, and those written to one, are part of the
        prompt tokens (OpenAI's count).
        """
        for above, price in reversed(self.tiers):
            if usage.prompt_tokens > above:
                return price.cost(usage)
        cached = (
            min(usage.cached_tokens, usage.prompt_tokens) if self.cached_prompt is not None else 0
        )
        rest = usage.prompt_tokens - cached
        written = min(usage.cache_write_tokens, rest) if self.cache_write is not None else 0
        total = (rest - written) * self.prompt + usage.completion_tokens * self.completion
        total += cached * (self.cached_prompt or _NOTHING) + written * (
            self.cache_write or _NOTHING
        )
        return total / _MILLION

    @property
    def dearest_prompt(self) -> Decimal:
        """The most that a prompt token can cost."""
        return max(self.prompt, self.cached_prompt or _NOTHING, self.cache_write or _NOTHING)

    def worst(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """The most that a call of up to so many tokens can cost, whatever is cached of it."""
        reached = [price for above, price in self.tiers if prompt_tokens > above]
        return max(
            (prompt_tokens * price.dearest_prompt + completion_tokens * price.completion) / _MILLION
            for price in (self, *reached)
        )
