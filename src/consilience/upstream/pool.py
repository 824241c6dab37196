"""Every model that can be asked, by name."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from decimal import Decimal

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from .allowance import Allowance
from .balance import Backend, Member
from .base import Meter, Upstream
from .calls import Calls
from .checks import ActiveCheck
from .health import Health
from .price import Price


class Pool:
    """The models and their backends, for all requests. Itself an `Upstream`.

    `request.model` says whom to ask. A request whose calls are to be counted together gets its own
    view of the pool from `calls`.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        *,
        other: Member | None = None,
        checks: Sequence[ActiveCheck] = (),
        draw: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            members: by configured name.
            other: serves every name that is not a member (the looper endpoint), if there is one.
            checks: what is to be asked of the backends at intervals; see `checks.checking`.
            draw: gives a random number from 0 up to 1, for jitter and balancing.
        """
        self._members = members
        self._other = other
        self._draw = draw
        self.checks = tuple(checks)
        """Active checks of the backends; whoever opens the pool runs them."""

    def serves(self, model: str) -> bool:
        """Whether there is anyone to ask for this model."""
        return self.member(model) is not None

    def member(self, model: str) -> Member | None:
        """Gives who serves a model."""
        return self._members.get(model, self._other)

    @property
    def healths(self) -> Mapping[str, Health]:
        """How the configured backends are doing, by name."""
        backends = (b for member in self._members.values() for b in member.backends)
        return {b.health.name: b.health for b in backends if b.health.name}

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        member = self.member(model)
        return member.cost(usage) if member is not None else None

    def calls(self, allowance: Allowance | None = None, meter: Meter | None = None) -> Calls:
        """Gives one request's view.

        Args:
            allowance: the request's; without one it may make any number of calls.
            meter: pays for them; without one they are free of any limit.
        """
        return Calls(self.member, allowance or Allowance(), meter, draw=self._draw)

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        return await self.calls().complete(request)

    def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`."""
        return self.calls().stream(request)


def single_pool(
    upstream: Upstream, models: Sequence[str], prices: Mapping[str, Price] | None = None
) -> Pool:
    """A pool in which one upstream serves every model, without retries."""
    known = prices or {}
    return Pool(
        {name: Member((Backend(upstream),), known.get(name)) for name in models},
        other=Member((Backend(upstream),), named=False),
    )
