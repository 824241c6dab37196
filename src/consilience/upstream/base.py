"""The face of a model: a request in, a completion or a stream of chunks out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from ..chat.codec import Body
from ..chat.completion import Completion
from ..chat.request import ChatRequest


class Upstream(Protocol):
    """One model, however it is reached. Holds no state of a single request.

    Both methods raise only `UpstreamError` and its kin. Cancelling either closes the connection
    at once, so that the model stops working.
    """

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer. `request.model` is the configured name; `stream` is ignored.

        Raises:
            UpstreamError: no proper answer: see the tree in `consilience.errors`.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks, usage included in a last chunk of empty `choices`.

        Yields parsed `chat.completion.chunk` objects as they arrive. The generator must be closed
        (`contextlib.aclosing`) when it is not run to its end.

        Raises:
            UpstreamError: before the first chunk, or in the middle; a stream that ends without a
                finish reason is an `UpstreamProtocolError`, never a short success.
        """
        ...


class Meter(Protocol):
    """What pays for the calls of one request (`limits.metering.CallMeter`)."""

    def around(self, upstream: Upstream, *, again: bool) -> Upstream:
        """Gives the same upstream, its calls paid for; `again`: they repeat one that failed.

        Its methods raise `BudgetExceededError`, before the call, when there is no money for it.
        """
        ...
