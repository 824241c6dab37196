"""Work that ends when its client goes away.

Servers tell the application of a hang-up only through `receive()`; `send()` to nobody succeeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.types import Receive

from ..errors import ConsilienceError


class ClientGoneError(Exception):
    """The client hung up before its answer was there. Nobody is left to be told."""


async def unless_disconnected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Does the work, and cancels it as soon as the client is gone.

    Args:
        receive: the request's, its body read to the end.
        work: what to do.

    Raises:
        ClientGoneError: the client went first; the work was cancelled. A failure that the work met
            on its way out has nobody to be told to.
        Exception: what the work raised, as it is; a defect of ours even if the client is gone.
    """
    failure: Exception | None = None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            await work()
        except Exception as exc:  # handed over as it is: a task group would wrap it
            failure = exc
        group.cancel_scope.cancel()
    if failure is not None and not (gone and isinstance(failure, ConsilienceError)):
        raise failure
    if gone:
        raise ClientGoneError from failure
