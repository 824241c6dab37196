"""Calls that signals make to helper models while a request is routed: paid for and told like others.

They are made before anybody knows what the request will plan, so each sets its own worst case aside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import anyio

from ..chat.completion import Completion
from ..errors import ConsilienceError, UpstreamError
from ..loopers.base import StageRecord, StageStatus
from ..upstream.price import Price
from .metering import CallMeter

Asked = Callable[[CallMeter | None], Awaitable[Completion]]
"""Asks a helper, paid for by a meter if there is one."""


@dataclass(slots=True)
class HelperCalls:
    """Those of one request."""

    meter: CallMeter | None
    """Pays for them; None: nobody counts."""
    records: list[StageRecord] = field(default_factory=list)
    """As they stand in the trace. As many as there are rules that ask, at most."""

    @property
    def paid(self) -> bool:
        """Whether any may have cost something."""
        return any(record.status != "failed" for record in self.records)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Takes in the calls that are made within the block, in whatever task."""
        token = helper_calls.set(self)
        try:
            yield
        finally:
            helper_calls.reset(token)

    async def run(self, model: str, ask: Asked) -> Completion:
        """Makes a call and notes it, however it ends.

        Raises:
            ConsilienceError: it failed, or there is no money for it.
        """
        begun = anyio.current_time()
        status: StageStatus = "cancelled"
        reason: str | None = None
        completion: Completion | None = None
        try:
            completion = await ask(self.meter)
            status = "ok"
        except ConsilienceError as exc:
            status = "failed"
            reason = exc.reason if isinstance(exc, UpstreamError) else exc.code
            raise
        finally:
            self.records.append(
                StageRecord(
                    "signal",
                    model,
                    status,
                    round((anyio.current_time() - begun) * 1000),
                    usage=completion.usage if completion is not None else None,
                    cost_usd=completion.cost_usd if completion is not None else None,
                    reason=reason,
                    attempts=completion.attempts if completion is not None else 1,
                )
            )
        return completion


helper_calls: ContextVar[HelperCalls | None] = ContextVar("helper_calls", default=None)
"""Those of the request that is being routed, so that no signal need pass them on."""


async def noted(model: str, ask: Asked) -> Completion:
    """Makes a call of a helper for the request at work; without one, nobody pays."""
    calls = helper_calls.get()
    return await (ask(None) if calls is None else calls.run(model, ask))


def at_price(meter: CallMeter, model: str, price: Price | None) -> CallMeter:
    """Gives what pays, from the same money, for a model that only signals ask.

    Args:
        meter: of the request.
        model: as it is asked.
        price: None: not known, and counted as nothing.
    """
    prices = {} if price is None else {model: price}
    worst_case = replace(meter.worst_case, prices=prices, refuse_unpriced=False)
    return replace(
        meter,
        worst_case=worst_case,
        cost=lambda _, usage: price.cost(usage) if price and usage else None,
        limits_answers=False,
    )
