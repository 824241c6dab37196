"""Errors as OpenAI clients know them: one body shape, the true status, and when to try again."""

from __future__ import annotations

import math
import re
import secrets
from typing import Any

from starlette.types import Scope, Send

from ..chat.codec import encode
from ..errors import ConsilienceError, UpstreamError
from ..telemetry.log import log_failure

_NO_RETRY = "x-should-retry"
_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class _InternalError(ConsilienceError):
    """What a client learns of a bug: nothing but the request id."""


def as_error(exc: Exception, request_id: str) -> ConsilienceError:
    """Gives the error to tell; an unexpected one is logged and told without its words."""
    if isinstance(exc, ConsilienceError):
        return exc
    log_failure("internal_error", exc, id=request_id)
    return _InternalError(f"internal error; the log has it under request id {request_id}")


def error_body(exc: ConsilienceError) -> dict[str, Any]:
    """Gives `{"error": {message, type, param, code}}`."""
    return {
        "error": {
            "message": exc.sentence,
            "type": exc.type,
            "param": exc.param,
            "code": exc.code,
        }
    }


def error_event(exc: ConsilienceError) -> dict[str, Any]:
    """Gives what ends a stream: the error body and, beside the error, `x-should-retry` if it is so.

    The head has been sent then. Clients check the error's own fields, not what stands beside them.
    """
    body = error_body(exc)
    return {**body, _NO_RETRY: False} if _NO_RETRY in error_headers(exc) else body


def error_headers(exc: ConsilienceError) -> dict[str, str]:
    """Gives `Retry-After`, and `x-should-retry: false` where repeating the request helps nobody.

    That is once money was spent, or when we have asked again ourselves: retries of several layers
    multiply.
    """
    headers: dict[str, str] = {}
    if exc.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(exc.retry_after_s)))
    repeated = isinstance(exc, UpstreamError) and exc.attempts > 1 and exc.status >= 500
    if exc.spent or repeated:
        headers[_NO_RETRY] = "false"
    if exc.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


async def send_json(
    send: Send, body: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    """Sends a whole JSON response."""
    data = encode(body)
    fields = {"content-type": "application/json", **(headers or {})}
    fields["content-length"] = str(len(data))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": data})


async def send_error(
    send: Send, exc: ConsilienceError, extra: dict[str, str] | None = None
) -> None:
    """Sends an error as the whole response."""
    headers = {
        "x-vsr-schema-version": "2",
        "x-vsr-response-path": "error",
        **error_headers(exc),
        **(extra or {}),
    }
    await send_json(send, error_body(exc), status=exc.status, headers=headers)


def request_id_for(given: str) -> str:
    """Gives a request's id: the client's `x-request-id` where it is a good one, else a new one."""
    return given if _GOOD_ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"


def request_id(scope: Scope) -> str:
    """The request's id, which the middleware has put into the scope."""
    value: str = scope["state"]["request_id"]
    return value
