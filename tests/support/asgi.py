"""Drives an ASGI application without sockets, for tests that make thousands of requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from .client import CHAT, Response

App = Any


@asynccontextmanager
async def started(app: App) -> AsyncIterator[App]:
    """Runs the application's lifespan around the block."""
    to_app, from_test = anyio.create_memory_object_stream[dict[str, Any]](2)
    to_test, from_app = anyio.create_memory_object_stream[dict[str, Any]](2)

    async def run() -> None:
        await app({"type": "lifespan", "state": {}}, from_test.receive, to_test.send)

    with to_app, from_test, to_test, from_app:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await to_app.send({"type": "lifespan.startup"})
            assert (await from_app.receive())["type"] == "lifespan.startup.complete"
            yield app
            await to_app.send({"type": "lifespan.shutdown"})
            assert (await from_app.receive())["type"] == "lifespan.shutdown.complete"


async def post(app: App, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """Posts JSON to the chat endpoint."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "method": "POST",
        "path": CHAT,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
        "state": {},
    }
    sent: list[Mapping[str, Any]] = []
    given = iter([{"type": "http.request", "body": data, "more_body": False}])

    async def receive() -> Mapping[str, Any]:
        for message in given:
            return message
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    head, *pieces = sent
    assert not pieces[-1].get("more_body", False)
    told = {k.decode().lower(): v.decode("latin-1") for k, v in head["headers"]}
    return Response(head["status"], told, b"".join(p["body"] for p in pieces))
