"""Models that are paid for from what a request has set aside: each call is settled as it ends.

What a call cost is known from its usage. A call that was turned away or never got through cost
nothing. One whose usage nobody tells (it was cancelled, it timed out, the upstream does not count)
is taken to have cost all that was set aside for it: too much rather than too little.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import UpstreamConnectionError, UpstreamStatusError
from ..upstream.pool import PricedUpstream
from .budgets import NOTHING, Hold
from .worst_case import WorstCase

_FREE = (UpstreamStatusError, UpstreamConnectionError)


@dataclass(slots=True)
class MeteredPool:
    """The models as one request may ask them."""

    pool: PricedUpstream
    hold: Hold
    worst_case: WorstCase
    limits_answers: bool
    """Whether an answer that nothing limits gets a limit on its way."""
    tokens: int = 0
    """Tokens used so far, as far as the upstreams told."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`.

        Raises:
            BudgetExceededError: there is no money for a call that was not planned.
        """
        held, request = self._begin(request)
        cost: Decimal | None = None
        try:
            completion = await self.pool.complete(request)
            cost = self._cost(request.model, completion.usage)
        except _FREE:
            cost = NOTHING
            raise
        finally:
            self.hold.end(held, held if cost is None else cost)
        return completion

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`. Raises like `complete`."""
        held, request = self._begin(request)
        usage: Usage | None = None
        begun = turned_away = False
        try:
            async with aclosing(self.pool.stream(request)) as chunks:
                async for chunk in chunks:
                    begun = True
                    usage = Usage.from_body(chunk.get("usage")) or usage
                    yield chunk
        except _FREE:
            turned_away = not begun
            raise
        finally:
            cost = NOTHING if turned_away else self._cost(request.model, usage)
            self.hold.end(held, held if cost is None else cost)

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """What a call cost in dollars; None when usage or price is unknown."""
        return self.pool.cost(model, usage)

    def _begin(self, request: ChatRequest) -> tuple[Decimal, ChatRequest]:
        held = self.hold.begin(request.model, partial(self.worst_case.call, request))
        return held, self.worst_case.limited(request) if self.limits_answers else request

    def _cost(self, model: str, usage: Usage | None) -> Decimal | None:
        if usage is not None:
            self.tokens += usage.total_tokens
        return self.pool.cost(model, usage)
