"""A client session per test, and upstreams over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from consilience.chat.request import ChatRequest
from consilience.upstream.http import Endpoint, HttpUpstream, Limits, new_session

Connect = Callable[..., HttpUpstream]


@pytest.fixture
async def connect(anyio_backend: str) -> AsyncIterator[Connect]:
    """Gives upstreams by URL; all share one session, as in the gateway."""
    async with new_session() as session:

        def upstream(url: str, limits: Limits | None = None, **headers: str) -> HttpUpstream:
            return HttpUpstream(session, Endpoint(url, "upstream-name", headers), limits)

        yield upstream


@pytest.fixture
def hello() -> ChatRequest:
    """A small request to the model `small`."""
    messages = [{"role": "user", "content": "hello"}]
    return ChatRequest.from_body({"model": "small", "messages": messages})
