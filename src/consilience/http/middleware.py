"""What stands around every endpoint: request id, client key, errors, one access line. Pure ASGI."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ConsilienceError, MethodNotAllowedError, NotFoundError
from ..keys.records import VirtualKey, current_key
from ..limits.guard import Guard
from ..telemetry import metrics
from ..telemetry.log import log
from ..telemetry.log import request_id as current_request
from .body import headers_of
from .disconnect import ClientGoneError
from .errors import as_error, request_id_for, send_error
from .head import check_head

UNPROTECTED = frozenset(("/health", "/ready"))
"""Paths that answer without a client key; `/metrics` is one where the configuration says so."""
METRICS_PATH = "/metrics"
_QUIET = (*UNPROTECTED, METRICS_PATH)
"""Asked again and again by machines: their lines are for debugging."""
_PATHS = frozenset(("/v1/chat/completions", "/v1/models", "/api/v1/eval", "/openapi.json", *_QUIET))
"""As they stand in metrics; all others are one."""


class Edge:
    """The outermost application."""

    def __init__(self, app: ASGIApp, guard: Callable[[], Guard]) -> None:
        """
        Args:
            app: what serves the request.
            guard: gives who knows the client keys; asked once a request.
        """
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        request_id = request_id_for(headers.get("x-request-id", ""))
        state: dict[str, Any] = {**scope.get("state", {}), "request_id": request_id}
        # "app" makes Starlette raise its 404 and 405 in place of answering them in its own words
        scope = {**scope, "state": state, "app": self}
        begun = anyio.current_time()
        response = _Response(send, request_id)
        token = current_request.set(request_id)
        try:
            await self._respond(scope, headers, receive, response)
        finally:
            seconds, fields = anyio.current_time() - begun, state.get("log", {})
            log(
                "request",
                level=logging.DEBUG if scope["path"] in _QUIET else logging.INFO,
                id=request_id,
                method=scope["method"],
                path=scope["path"][:100],
                status=response.status or 499,
                ms=round(seconds * 1000),
                key=response.key_id,
                **fields,
            )
            _count(scope["path"], response.status or 499, seconds, fields)
            current_request.reset(token)

    async def _respond(
        self, scope: Scope, headers: dict[str, str], receive: Receive, response: _Response
    ) -> None:
        state = scope["state"]
        try:
            check_head(scope)
            key = await self._let_in(scope["path"], headers, response)
            token = current_key.set(key)
            try:
                await self._app(scope, receive, response.send)
            finally:
                current_key.reset(token)
        except ClientGoneError:
            # servers report a hang-up after the last byte too
            response.status = response.status if response.whole else 499
        except Exception as exc:  # the last stop: what is not ours becomes a 500 and a log line
            error = as_error(_ours(exc, scope), response.request_id)
            state["log"] = {**state.get("log", {}), "error": error.code}
            if response.status:  # the head is out, there is nothing left to say it with
                raise
            await send_error(response.send, error, _allow(exc))

    async def _let_in(
        self, path: str, headers: Mapping[str, str], response: _Response
    ) -> VirtualKey | None:
        """Gives the virtual key of a request that may come in.

        Raises:
            AuthenticationError: it wants a key, or a better one.
            RateLimitedError: its key makes too many requests.
        """
        guard = self._guard()
        if path in UNPROTECTED or (path == METRICS_PATH and guard.metrics_are_public):
            return None
        guard.open()  # where a server has no lifespan, nobody has yet
        key = guard.authenticate(headers.get("authorization", ""))
        if key is not None:
            response.key_id = key.id
            response.rates = lambda: guard.rate_headers(key)
            await guard.count_request(key)
        return key


@dataclass(slots=True)
class _Response:
    """The response as far as it has been sent."""

    _send: Send
    request_id: str
    status: int = 0
    """0: the head is not out yet."""
    whole: bool = False
    key_id: str | None = None
    """Of the virtual key that the request carried."""
    rates: Callable[[], Mapping[str, str]] = field(default=dict)
    """Gives `x-ratelimit-…` of its key."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {"x-request-id": self.request_id, **self.rates()}
            added = [(name.encode(), value.encode()) for name, value in own.items()]
            fields = [*message["headers"], *added]
            message = {**message, "headers": fields}
        else:
            self.whole = not message.get("more_body", False)
        await self._send(message)


def _count(path: str, status: int, seconds: float, fields: Mapping[str, Any]) -> None:
    known = path if path in _PATHS else metrics.OTHER
    metrics.REQUESTS.of(known, fields.get("decision", ""), str(status)).inc()
    metrics.REQUEST_SECONDS.of(known).observe(seconds)
    if "error" in fields:
        metrics.ERRORS.of(fields["error"]).inc()


def _ours(exc: Exception, scope: Scope) -> Exception:
    """Starlette's 404 and 405 as ours."""
    if isinstance(exc, ConsilienceError) or not isinstance(exc, HTTPException):
        return exc
    if exc.status_code == 405:
        return MethodNotAllowedError(f"use {_allow(exc).get('allow', 'another method')}")
    hint = "; chat completions are at POST /v1/chat/completions"
    return NotFoundError(f"there is nothing at {scope['path'][:100]!r}{hint}")


def _allow(exc: Exception) -> dict[str, str]:
    """The `allow` header of a 405."""
    if not isinstance(exc, HTTPException) or exc.status_code != 405:
        return {}
    return {name.lower(): value for name, value in (exc.headers or {}).items()}
