"""Reading a request's body within bounds."""

from __future__ import annotations

import anyio
from starlette.types import Receive, Scope

from ..config.globals import Gateway as Settings
from ..errors import (
    InvalidRequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    UnsupportedMediaTypeError,
)
from .disconnect import ClientGoneError


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers, names in lower case; of a repeated one the last."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


async def read_json_body(headers: dict[str, str], receive: Receive, settings: Settings) -> bytes:
    """Reads a JSON request's body.

    JSON is asked for by its media type so that a web page elsewhere cannot make a visitor's browser
    spend money here: such a request would need the browser's leave first.

    Raises:
        UnsupportedMediaTypeError: not JSON, or compressed.
        RequestTooLargeError: more than `max_request_bytes_mb`.
        RequestTimeoutError: the client took too long.
        ClientGoneError: the client hung up.
    """
    limit, seconds = settings.max_request_bytes_mb << 20, settings.client_body_seconds
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError(
            f"send 'content-type: application/json', not {media_type or 'none'!r}"
        )
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("send the body uncompressed")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    try:
        with anyio.fail_after(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise RequestTimeoutError(f"the body did not arrive within {seconds:g} seconds") from None


async def _read(receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            break
    if not size:
        raise InvalidRequestError("the body is empty; send a JSON object")
    return b"".join(pieces)


def _too_large(limit: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"the body is larger than {limit} bytes")
