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
    cache_write: Decimal | None = None
    """Of prompt tokens the upstream put into its cache; None: like any other prompt token."""

    def cost(self, usage: Usage) -> Decimal:
        """The price of one call. Cached tokens, read or written, are part of the prompt tokens."""
        for above, price in reversed(self.tiers):
            if usage.prompt_tokens > above:
                return price.cost(usage)
        read = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.cache_write_tokens, usage.prompt_tokens - read)
        fresh = usage.prompt_tokens - read - written
        total = (
            fresh * self.prompt
            + read * _or(self.cached_prompt, self.prompt)
            + written * _or(self.cache_write, self.prompt)
            + usage.completion_tokens * self.completion
        )
        return total / _MILLION

    def worst(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """The most that a call of up to so many tokens can cost, whatever is cached of it."""
        reached = [price for above, price in self.tiers if prompt_tokens > above]
        return max(
            (prompt_tokens * price.dearest_prompt + completion_tokens * price.completion) / _MILLION
            for price in (self, *reached)
        )

    @property
    def dearest_prompt(self) -> Decimal:
        """What a prompt token costs at most, whether it is cached or not."""
        return max(
            self.prompt, _or(self.cached_prompt, self.prompt), _or(self.cache_write, self.prompt)
        )


def _or(price: Decimal | None, usual: Decimal) -> Decimal:
    return usual if price is None else price
