"""Model names to upstreams: weights, failover between a model's backends, prices."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import UpstreamConnectionError, UpstreamError
from .base import Upstream

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


class PricedUpstream(Protocol):
    """Models that can be asked, and what asking them costs."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`."""
        ...

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        ...


@dataclass(slots=True)
class Member:
    """A model's backends, in turn by weight (smooth weighted round robin)."""

    backends: Sequence[tuple[Upstream, int]]
    price: Price | None = None
    _credit: list[int] = field(default_factory=list)

    def in_turn(self) -> Sequence[Upstream]:
        """The backends to try for one call: the one whose turn it is, then the others."""
        if len(self.backends) == 1:
            return (self.backends[0][0],)
        self._credit = self._credit or [0] * len(self.backends)
        weights = [weight for _, weight in self.backends]
        if not any(weights):
            weights = [1] * len(weights)
        for i, weight in enumerate(weights):
            self._credit[i] += weight
        best = max(range(len(self._credit)), key=self._credit.__getitem__)
        self._credit[best] -= sum(weights)
        # a backend of weight 0 has no turn of its own: it stands in when all others are away
        order = sorted(
            range(len(weights)), key=lambda i: (i != best, not weights[i], -self._credit[i])
        )
        return tuple(self.backends[i][0] for i in order)


class Pool:
    """Every model that can be asked. Itself an `Upstream`: `request.model` says whom."""

    def __init__(self, members: Mapping[str, Member], *, other: Upstream | None = None) -> None:
        """
        Args:
            members: by configured name.
            other: serves every name that is not a member (the looper endpoint), if there is one.
        """
        self._members = members
        self._other = Member(((other, 1),)) if other is not None else None

    def serves(self, model: str) -> bool:
        """Whether there is anyone to ask for this model."""
        return model in self._members or self._other is not None

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        price = self.price(model)
        return None if usage is None or price is None else price.cost(usage)

    def price(self, model: str) -> Price | None:
        """What a model costs; None when that is unknown."""
        member = self._members.get(model)
        return member.price if member is not None else None

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks the model's backends in turn; the next one only when there was no connection.

        One that broke before the answer was whole counts as none.
        """
        failure: UpstreamError | None = None
        for upstream in self._member(request.model).in_turn():
            try:
                completion = await upstream.complete(request)
            except UpstreamConnectionError as exc:
                failure = exc
                continue
            cost = self.cost(request.model, completion.usage)
            return replace(completion, cost_usd=cost) if cost is not None else completion
        raise failure or self._nobody(request.model)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Streams from the model's backends in turn; the next one only before the first chunk."""
        failure: UpstreamError | None = None
        for upstream in self._member(request.model).in_turn():
            begun = False
            try:
                async with aclosing(upstream.stream(request)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
            except UpstreamConnectionError as exc:
                if begun:
                    raise
                failure = exc
                continue
            return
        raise failure or self._nobody(request.model)

    def _member(self, model: str) -> Member:
        member = self._members.get(model, self._other)
        if member is None or not member.backends:
            raise self._nobody(model)
        return member

    @staticmethod
    def _nobody(model: str) -> UpstreamError:
        return UpstreamConnectionError("has no backend", model=model)


def single_pool(
    upstream: Upstream, models: Sequence[str], prices: Mapping[str, Price] | None = None
) -> Pool:
    """A pool in which one upstream serves every model."""
    known = prices or {}
    members = {name: Member(((upstream, 1),), known.get(name)) for name in models}
    return Pool(members, other=upstream)
