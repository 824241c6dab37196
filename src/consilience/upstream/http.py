"""A model behind an OpenAI-compatible HTTP endpoint. Every foreign exception ends here.

What an upstream says is checked before anybody relies on it: status, content type, size, JSON,
choices, and that a stream really came to its end. Error bodies are read for a field name, never
shown; what they say is logged at debug level, without keys.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
import anyio
from yarl import URL

from ..chat.chunks import as_chunks
from ..chat.codec import Body, encode
from ..chat.completion import Completion
from ..chat.request import ChatRequest
from ..chat.sse import EventTooLargeError, SSEDecoder
from ..errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ..telemetry.log import log
from .answer import finishes, parse_chunk, parse_completion, rejected_param, retry_after

ERROR_BODY_BYTES = 8192
ERROR_BODY_SECONDS = 2.0
"""How long an error's body may take; its status is known by then and is told in any case."""
DEPTH_HEADER = "x-vsr-fusion-depth"
_KEY = re.compile(r"(?i)\b(?:bearer\s+|sk-|key-)[\w.~+/=*-]{6,}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one upstream call."""

    connect_s: float = 3.0
    idle_s: float = 60.0
    """Longest time without an event of a stream. Comments do not count as events."""
    total_s: float = 1200.0
    max_body_bytes: int = 32 << 20
    max_event_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served and under which name."""

    url: str
    """Of chat completions, whole."""
    model: str
    """The name the upstream knows."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Authorization included; never shown."""


class HttpUpstream:
    """One endpoint of one model. Shares its session with every other endpoint."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, limits: Limits | None = None
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits or Limits()
        self._url = URL(endpoint.url)
        self._whole = aiohttp.ClientTimeout(
            total=self._limits.total_s, sock_connect=self._limits.connect_s
        )
        self._streamed = aiohttp.ClientTimeout(
            total=self._limits.total_s,
            sock_connect=self._limits.connect_s,
            sock_read=self._limits.idle_s,
        )

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        body = {k: v for k, v in request.body.items() if k not in ("stream", "stream_options")}
        with self._logged():
            async with self._post(request, body, self._whole) as response:
                raw = await self._read(response, request.model)
            return parse_completion(raw, request.model, response.content_type)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`."""
        options = request.body.get("stream_options") or {}
        body = {
            **request.body,
            "stream": True,
            "stream_options": {**options, "include_usage": True},
        }
        model = request.model
        with self._logged():
            async with self._post(request, body, self._streamed) as response:
                if response.content_type != "text/event-stream":
                    raw = await self._read(response, model)
                    for chunk in as_chunks(parse_completion(raw, model, response.content_type)):
                        yield chunk
                    return
                events = _Events(response, self._limits, model)
                while batch := await events.next():
                    for data in batch:
                        chunk = parse_chunk(data, model)
                        events.note(chunk)
                        yield chunk
            events.check_end()

    def _post(self, request: ChatRequest, body: Body, timeout: aiohttp.ClientTimeout) -> _Exchange:
        try:
            data = encode({**body, "model": self._endpoint.model})
        except ValueError as exc:
            raise UpstreamProtocolError(
                f"the request cannot be sent: {exc}", model=request.model
            ) from exc
        headers = {**self._own_headers(request), "content-type": "application/json"}
        if request.depth:
            headers[DEPTH_HEADER] = str(request.depth)

        async def post(seen: SimpleNamespace) -> aiohttp.ClientResponse:
            response = await self._session.post(
                self._url,
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=seen,
            )
            try:
                await self._check_status(response, request)
            except BaseException:
                response.close()
                raise
            return response

        return _Exchange(post, request.model)

    def _own_headers(self, request: ChatRequest) -> Mapping[str, str]:
        own = self._endpoint.headers
        return own if request.headers is None else request.headers.applied(own)

    async def _check_status(self, response: aiohttp.ClientResponse, request: ChatRequest) -> None:
        status, model = response.status, request.model
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise UpstreamProtocolError(
                "answered with a redirect, which is not followed",
                model=model,
                status_code=status,
                reason="redirect",
            )
        raw = await _error_body(response)
        told = _without_keys(raw.decode("utf-8", "replace"), self._own_headers(request))
        log("upstream_said", level=logging.DEBUG, model=model, status=status, body=told)
        raise UpstreamStatusError(
            f"answered with status {status}",
            model=model,
            status_code=status,
            retry_after_s=retry_after(response.headers),
            rejected_param=rejected_param(raw),
        )

    async def _read(self, response: aiohttp.ClientResponse, model: str) -> bytes:
        limit = self._limits.max_body_bytes
        pieces: list[bytes] = []
        size = response.content_length or 0
        with _foreign(model):
            if size <= limit:
                size = 0
                async for piece in response.content.iter_any():
                    size += len(piece)
                    if size > limit:
                        break
                    pieces.append(piece)
        if size > limit:
            raise UpstreamProtocolError(
                f"the answer is larger than {limit} bytes", model=model, reason="too_large"
            )
        return b"".join(pieces)

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Logs what goes wrong, with the address, which no client is told."""
        try:
            yield
        except UpstreamError as exc:
            log(
                "upstream_failed",
                level=logging.WARNING,
                model=exc.model,
                url=str(self._url.with_query(None)),
                reason=exc.reason,
                status=exc.status_code,
                cause=type(exc.__cause__).__name__ if exc.__cause__ else None,
            )
            raise


class _Exchange:
    """One POST, closed on leaving; foreign exceptions on entering are mapped to ours."""

    def __init__(
        self, post: Callable[[SimpleNamespace], Awaitable[aiohttp.ClientResponse]], model: str
    ) -> None:
        self._post = post
        self._model = model

    async def __aenter__(self) -> aiohttp.ClientResponse:
        seen = SimpleNamespace(reused=False)
        with _foreign(self._model):
            try:
                self._response = await self._post(seen)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # An idle connection that the server was closing just then: it never saw the
                # request, so asking again costs nothing. A new connection gets no second chance.
                if not seen.reused:
                    raise
                self._response = await self._post(seen)
        return self._response

    async def __aexit__(self, *exc: object) -> None:
        # A response read to its end has given its connection back, and this does nothing. One left
        # early must lose it, or the model goes on working for nobody.
        self._response.close()


class _Events:
    """The events of a streamed response up to its end mark."""

    def __init__(self, response: aiohttp.ClientResponse, limits: Limits, model: str) -> None:
        self._response = response
        self._decoder = SSEDecoder(limits.max_event_bytes)
        self._idle_s = limits.idle_s
        self._model = model
        self._over = False
        self._marked = False
        self._spoke = False
        self._finished = False

    async def next(self) -> list[bytes]:
        """Gives the data of the next events, at least one; none at the end.

        Raises:
            UpstreamError: the connection broke, or no event came for too long.
        """
        events: list[bytes] = []
        with _foreign(self._model), anyio.fail_after(self._idle_s):
            while not events and not self._over:
                piece = await self._response.content.readany()
                events = self._decoder.feed(piece) if piece else self._decoder.flush()
                self._over = not piece
        for position, data in enumerate(events):
            if data.strip() == b"[DONE]":
                self._over = self._marked = True
                await _run_out(self._response)
                return events[:position]
        return events

    def note(self, chunk: Body) -> None:
        """Remembers what a chunk says of the answer's end."""
        self._spoke = self._spoke or bool(chunk.get("choices"))
        self._finished = self._finished or finishes(chunk)

    def check_end(self) -> None:
        """Refuses a stream that ended before its answer did.

        Raises:
            UpstreamProtocolError: neither a finish reason nor `[DONE]` was there, or no choices.
        """
        if not (self._finished or self._marked):
            raise UpstreamProtocolError(
                "the answer was cut off before its end", model=self._model, reason="truncated"
            )
        if not self._spoke:
            raise UpstreamProtocolError("the answer has no choices", model=self._model)


def _without_keys(text: str, headers: Mapping[str, str]) -> str:
    for value in headers.values():
        for word in value.split():
            if len(word) >= 6:
                text = text.replace(word, "[redacted]")
    return _KEY.sub("[redacted]", text)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of an error's body, as far as they come soon."""
    raw = b""
    with anyio.move_on_after(ERROR_BODY_SECONDS), suppress(aiohttp.ClientError, OSError):
        while len(raw) < ERROR_BODY_BYTES:
            piece = await response.content.read(ERROR_BODY_BYTES - len(raw))
            if not piece:
                break
            raw += piece
    return raw


async def _run_out(response: aiohttp.ClientResponse) -> None:
    """Reads what follows `[DONE]`, normally just the end: the connection can be used again."""
    with anyio.move_on_after(0.05), suppress(aiohttp.ClientError, OSError):
        while not response.content.at_eof():
            await response.content.readany()


async def _note_reuse(_session: object, context: SimpleNamespace, _params: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused = True


def new_session() -> aiohttp.ClientSession:
    """The one client session: no cookies, no redirects, no limit of its own on connections."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept-encoding": "identity", "user-agent": "consilience"},
        json_serialize=lambda value: encode(value).decode(),
        trace_configs=[trace],
    )


@contextmanager
def _foreign(model: str) -> Iterator[None]:
    """Turns the client library's exceptions into ours; the first class that fits wins."""
    try:
        yield
    except UpstreamError:
        raise
    except aiohttp.ConnectionTimeoutError as exc:  # another backend may well take the call
        raise UpstreamConnectionError("could not be connected to in time", model=model) from exc
    except TimeoutError as exc:  # aiohttp's other timeouts are this too
        raise UpstreamTimeoutError("did not answer in time", model=model) from exc
    except aiohttp.ClientConnectorDNSError as exc:
        raise UpstreamConnectionError("its host name does not resolve", model=model) from exc
    except aiohttp.ClientSSLError as exc:
        raise UpstreamConnectionError(
            "its TLS certificate or handshake failed", model=model, reason="tls"
        ) from exc
    except aiohttp.ClientConnectorError as exc:
        raise UpstreamConnectionError("could not be connected to", model=model) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, OSError) as exc:
        raise UpstreamConnectionError("the connection broke", model=model) from exc
    except EventTooLargeError as exc:
        raise UpstreamProtocolError(str(exc), model=model, reason="too_large") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise UpstreamProtocolError("the answer is not proper HTTP", model=model) from exc


__all__ = [
    "DEPTH_HEADER",
    "Endpoint",
    "HttpUpstream",
    "Limits",
    "new_session",
    "parse_chunk",
    "parse_completion",
    "rejected_param",
    "retry_after",
]
