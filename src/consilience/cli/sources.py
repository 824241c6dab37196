"""Where `ask` gets its events: a gateway in this process, or one that runs elsewhere."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from ..chat.codec import Body
from ..gateway import Gateway
from ..reply import Event
from .remote import RemoteGateway
from .setup import find_config


class Source(Protocol):
    """Answers requests, whole or as events."""

    def is_fusion(self, model: str) -> bool:
        """Whether requests to this name may carry a Fusion plugin."""
        ...

    async def complete(self, body: Body) -> Body:
        """Gives the whole answer.

        Raises:
            ConsilienceError: no answer.
        """
        ...

    def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Gives the answer as events.

        Raises:
            ConsilienceError: no answer, or one that broke off.
        """
        ...


@asynccontextmanager
async def open_source(config: Path | None, url: str | None) -> AsyncIterator[Source]:
    """Opens a running gateway if a URL is given, else one in this process."""
    if url is not None:
        async with RemoteGateway.open(url, os.environ.get("CONSILIENCE_API_KEY", "")) as remote:
            yield remote
    else:
        found = await find_config(config)
        async with Gateway(found.config) as gateway:
            yield _InProcess(gateway)


class _InProcess:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def is_fusion(self, model: str) -> bool:
        return model in self._gateway.config.fusion_slugs

    async def complete(self, body: Body) -> Body:
        return (await self._gateway.complete(body)).body

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        async with self._gateway.stream(body) as events:
            async for event in events:
                yield event
