"""What stands around every endpoint: request id, client key, errors, one access line. Pure ASGI."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import AuthenticationError, ConsilienceError, MethodNotAllowedError, NotFoundError
from ..gateway import key_digest
from ..telemetry.log import log
from ..telemetry.log import request_id as current_request
from .body import headers_of
from .disconnect import ClientGoneError
from .errors import as_error, send_error
from .head import check_head

_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
UNPROTECTED = frozenset(("/health", "/ready"))
"""Paths that answer without a client key."""


class Edge:
    """The outermost application."""

    def __init__(self, app: ASGIApp, digests: Callable[[], Sequence[bytes]]) -> None:
        """
        Args:
            app: what serves the request.
            digests: gives the digests of the client keys of which a request must carry one; none:
                everybody may.
        """
        self._app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        given = headers.get("x-request-id", "")
        request_id = given if _GOOD_ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"
        state: dict[str, Any] = {**scope.get("state", {}), "request_id": request_id}
        # "app" makes Starlette raise its 404 and 405 in place of answering them in its own words
        scope = {**scope, "state": state, "app": self}
        begun = anyio.current_time()
        response = _Response(send, request_id)
        token = current_request.set(request_id)
        try:
            await self._respond(scope, headers, receive, response)
        finally:
            log(
                "request",
                level=logging.DEBUG if scope["path"] in UNPROTECTED else logging.INFO,
                id=request_id,
                method=scope["method"],
                path=scope["path"][:100],
                status=response.status or 499,
                ms=round((anyio.current_time() - begun) * 1000),
                **state.get("log", {}),
            )
            current_request.reset(token)

    async def _respond(
        self, scope: Scope, headers: dict[str, str], receive: Receive, response: _Response
    ) -> None:
        state = scope["state"]
        try:
            check_head(scope)
            self._authenticate(scope["path"], headers)
            await self._app(scope, receive, response.send)
        except ClientGoneError:
            # servers report a hang-up after the last byte too
            response.status = response.status if response.whole else 499
        except Exception as exc:  # the last stop: what is not ours becomes a 500 and a log line
            error = as_error(_ours(exc, scope), response.request_id)
            state["log"] = {**state.get("log", {}), "error": error.code}
            if response.status:  # the head is out, there is nothing left to say it with
                raise
            await send_error(response.send, error, _allow(exc))

    def _authenticate(self, path: str, headers: dict[str, str]) -> None:
        digests = self._digests()
        if not digests or path in UNPROTECTED:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise AuthenticationError("send a key: 'authorization: Bearer <key>'")
        digest = key_digest(key.strip())
        # every key is compared, so that time tells nothing
        matches = [hmac.compare_digest(digest, known) for known in digests]
        if not any(matches):
            raise AuthenticationError("this key is not known here")


@dataclass(slots=True)
class _Response:
    """The response as far as it has been sent."""

    _send: Send
    request_id: str
    status: int = 0
    """0: the head is not out yet."""
    whole: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            fields = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": fields}
        else:
            self.whole = not message.get("more_body", False)
        await self._send(message)


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
