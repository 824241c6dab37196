"""A gateway that runs elsewhere, asked over HTTP: its events and errors as those of one in here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from ..chat.codec import Body, decode, encode
from ..chat.sse import EventTooLargeError, SSEDecoder
from ..errors import (
    AuthenticationError,
    ConsilienceError,
    DeadlineExceededError,
    InvalidRequestError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
)
from ..loopers.base import Progress
from ..reply import Chunk, Event

CONNECT_SECONDS = 5.0
MAX_EVENT_BYTES = 32 << 20
_NO_ANSWER = "no gateway answers at that URL; start one with: consilience serve"
_BROKEN = "the gateway's answer broke off"
_NO_GATEWAY = "what answers at that URL is not a gateway: it does not speak chat completions"


class RemoteGateway:
    """Asks a running gateway. Opened with `open`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = f"{url.rstrip('/').removesuffix('/v1')}/v1/chat/completions"
        self._headers = {"content-type": "application/json"}
        if key.strip():
            self._headers["authorization"] = f"Bearer {key.strip()}"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str) -> AsyncIterator[Self]:
        """Opens connections for the time of the block.

        Args:
            url: with or without `/v1`.
            key: the client key; blank: none is sent.

        Raises:
            InvalidRequestError: the URL cannot be one.
        """
        if not url.startswith(("http://", "https://")):
            raise InvalidRequestError(f"--url {url!r} must begin with http:// or https://")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield cls(session, url, key)

    def is_fusion(self, model: str) -> bool:
        """Whether the name looks like a Fusion slug's; the gateway knows, we guess."""
        return "fusion" in model.rsplit("/", 1)[-1]

    async def complete(self, body: Body) -> Body:
        """Gives the whole answer; see `Source.complete`."""
        async with self._post(body) as response:
            return _object(await response.read())

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Gives the answer as events; see `Source.stream`."""
        decoder = SSEDecoder(MAX_EVENT_BYTES)
        async with self._post(body) as response:
            async for piece in response.content.iter_any():
                for data in _decoded(decoder, piece):
                    if data == b"[DONE]":
                        return
                    yield _event(_object(data))
        raise UpstreamConnectionError(_BROKEN)

    @asynccontextmanager
    async def _post(self, body: Body) -> AsyncIterator[aiohttp.ClientResponse]:
        answered = False
        try:
            async with self._session.post(
                self._url, data=encode(body), headers=self._headers, allow_redirects=False
            ) as response:
                answered = True
                if response.status != 200:
                    raise _refused(await response.read(), response.status)
                yield response
        except ValueError as exc:  # aiohttp.InvalidURL is one, too
            raise InvalidRequestError(
                "--url or CONSILIENCE_API_KEY cannot stand in an HTTP request"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamConnectionError(_BROKEN if answered else _NO_ANSWER) from exc


def _decoded(decoder: SSEDecoder, piece: bytes) -> list[bytes]:
    try:
        return decoder.feed(piece)
    except EventTooLargeError as exc:
        raise UpstreamProtocolError(_NO_GATEWAY) from exc


def _object(raw: bytes) -> Body:
    try:
        body = decode(raw)
    except ValueError as exc:
        raise UpstreamProtocolError(_NO_GATEWAY) from exc
    if not isinstance(body, Mapping):
        raise UpstreamProtocolError(_NO_GATEWAY)
    return body


def _event(body: Body) -> Event:
    if isinstance(body.get("error"), Mapping):
        raise _told(body["error"])
    news = body.get("fusion")
    if isinstance(news, Mapping) and "event" in news:
        return Progress(str(news["event"]), {k: v for k, v in news.items() if k != "event"})
    if not isinstance(body.get("choices"), list):
        raise UpstreamProtocolError(_NO_GATEWAY)
    return Chunk(body)


def _refused(raw: bytes, status: int) -> ConsilienceError:
    if status < 400:
        return UpstreamProtocolError(_NO_GATEWAY)
    try:
        return _told(decode(raw)["error"], status)
    except (ValueError, KeyError, TypeError, AttributeError):
        return UpstreamProtocolError(f"the gateway answered with status {status}")


def _told(error: Mapping[str, Any], status: int | None = None) -> ConsilienceError:
    """The error that the other gateway had, as far as exit codes tell errors apart."""
    message = str(error.get("message") or "the gateway reported an error")
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    if status in (401, 403) or kind in ("authentication_error", "permission_error"):
        return AuthenticationError(message)
    if status == 504 or kind == "timeout_error" or code == "upstream_timeout":
        return DeadlineExceededError(message)
    if kind == "upstream_error" or code.startswith("upstream_"):
        return UpstreamError(message)
    if kind == "invalid_request_error" or status in range(400, 429):
        return InvalidRequestError(message)
    return ConsilienceError(message)
