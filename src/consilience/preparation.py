"""What a decision's plugins make of a request before it is deliberated, and of its answer after.

Either the answer is in hand already, and no model is asked, or the looper gets the request as the
plugins changed it. An answer in which nothing went wrong is shown to the plugins that keep answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from .chat.assembly import Assembly
from .chat.completion import Completion
from .chat.request import ChatRequest
from .delivery import Delivery, Emit
from .loopers.base import Outcome, StageRecord
from .plugins.base import Answer, Call
from .reply import Chunk, Event
from .router import Route


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request, ready to be deliberated or answered."""

    route: Route
    """With what plugins have to say to the client."""
    request: ChatRequest
    """As models are to be asked."""
    outcome: Outcome | None = None
    """The answer, when it is in hand."""
    kept_for: Call | None = None
    """The request as it came in, when its answer may be kept."""

    async def whole(self, delivery: Delivery) -> Completion:
        """Gets the answer whole; raises like `Delivery.whole`."""
        completion = await delivery.whole()
        self._keep(delivery, completion)
        return completion

    async def stream(self, delivery: Delivery, emit: Emit, *, include_usage: bool) -> None:
        """Passes the answer on as it comes; raises like `Delivery.stream`."""
        if self.kept_for is None:
            await delivery.stream(emit, include_usage=include_usage)
            return
        assembly = Assembly()

        async def note(event: Event) -> None:
            if isinstance(event, Chunk):
                assembly.add(event.body)
            await emit(event)

        await delivery.stream(note, include_usage=include_usage)
        completion = assembly.completion()
        if completion is not None:
            self._keep(delivery, completion)

    def _keep(self, delivery: Delivery, completion: Completion) -> None:
        if self.kept_for is not None and delivery.undisturbed:
            self.route.plugins.keep(self.kept_for, replace(completion, usage=delivery.usage))


def prepare(route: Route, request: ChatRequest, headers: Mapping[str, str]) -> Prepared:
    """Gives what a route's plugins make of a request.

    Args:
        route: of the request.
        request: as the client sent it.
        headers: the client's, names in lower case.

    Raises:
        InvalidRequestError: the plugins leave nothing that could be answered.
    """
    plugins = route.plugins
    if not plugins.plugins:
        return Prepared(route, request)
    call = Call(request, headers)
    looked = plugins.look(call)
    warnings = [*route.warnings, *looked.warnings]
    if looked.answer is not None:
        known = replace(route, warnings=tuple(warnings), headers=looked.answer.headers)
        return Prepared(known, request, _in_hand(looked.answer))
    edited = plugins.edited(request)
    told = replace(route, warnings=(*warnings, *edited.warnings))
    keeps = plugins.keeps and not edited.warnings
    return Prepared(told, edited.request, kept_for=call if keeps else None)


def _in_hand(answer: Answer) -> Outcome:
    """An answer as an outcome. It reports the tokens that it once took; it costs nothing now."""
    given = answer.completion
    record = StageRecord(
        stage="single",
        model=given.model,
        status="ok",
        latency_ms=0,
        usage=given.usage,
        cost_usd=Decimal(0),
        called=False,
    )
    return Outcome(final=given, records=(record,))
