"""Models that are paid for from what a request has set aside: each call is settled as it ends.

What a call cost is known from its usage. A call that was turned away or never got through cost
nothing. One whose usage nobody tells (it was cancelled, it timed out, the upstream does not count)
is taken to have cost all that was set aside for it: too much rather than too little.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import UpstreamError
from ..upstream.base import Upstream
from ..upstream.verdict import may_have_cost
from .budgets import NOTHING, Hold
from .worst_case import WorstCase

Cost = Callable[[str, Usage | None], Decimal | None]
"""What a call of a model cost in dollars; None when its usage or price is unknown."""


@dataclass(slots=True)
class CallMeter:
    """Pays for the upstream calls of one request, each attempt for itself."""

    hold: Hold
    worst_case: WorstCase
    cost: Cost
    limits_answers: bool
    """Whether an answer that nothing limits gets a limit on its way."""
    strict: bool = True
    """Whether any budget holds; else spend is only counted."""

    def around(self, upstream: Upstream, *, again: bool) -> Upstream:
        """Gives an upstream whose calls are paid for; see `upstream.calls.Meter`."""
        return _Metered(upstream, self, again)

    async def begin(self, request: ChatRequest, *, again: bool) -> tuple[Decimal, ChatRequest]:
        """Takes the worst case of a call that is about to be made.

        Args:
            request: what is asked.
            again: whether the call repeats one that failed.

        Returns:
            What was taken, and the request as it is to be sent.

        Raises:
            BudgetExceededError: there is no money for a call that was not planned.
        """
        worst = partial(self.worst_case.call, request)
        held = await self.hold.begin(request.model, worst, again=again)
        return held, self.worst_case.limited(request) if self.limits_answers else request

    def end(self, held: Decimal, model: str, usage: Usage | None, *, free: bool) -> None:
        """Settles a call.

        Args:
            held: what was taken for it.
            model: who was asked.
            usage: as far as it is known.
            free: whether no model can have worked.
        """
        if usage is not None:
            self.hold.tokens += usage.total_tokens
        cost = NOTHING if free else self.cost(model, usage)
        self.hold.end(held, held if cost is None else cost)


@dataclass(slots=True)
class _Metered:
    """An upstream; each call is settled as it ends."""

    upstream: Upstream
    meter: CallMeter
    again: bool

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        held, request = await self.meter.begin(request, again=self.again)
        usage: Usage | None = None
        free = False
        try:
            completion = await self.upstream.complete(request)
            usage = completion.usage
        except UpstreamError as exc:
            free = not may_have_cost(exc)
            raise
        finally:
            self.meter.end(held, request.model, usage, free=free)
        return completion

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`."""
        held, request = await self.meter.begin(request, again=self.again)
        usage: Usage | None = None
        begun = free = False
        try:
            async with aclosing(self.upstream.stream(request)) as chunks:
                async for chunk in chunks:
                    begun = True
                    usage = Usage.from_body(chunk.get("usage")) or usage
                    yield chunk
        except UpstreamError as exc:
            free = not begun and not may_have_cost(exc)
            raise
        finally:
            self.meter.end(held, request.model, usage, free=free)
