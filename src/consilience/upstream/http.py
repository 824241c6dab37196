"""A model behind an OpenAI-compatible HTTP endpoint. Every foreign exception ends here.

What an upstream says is checked before anybody relies on it: status, content type, size, JSON,
choices, and that a stream really came to its end. Error bodies are read for a field name, never
shown; what they say is logged where that is configured, at debug level, without keys.
"""

from __future__ import annotations

import logging
import math
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
from ..errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from ..telemetry.log import log
from .answer import parse_chunk, parse_completion, rejected_param, retry_after
from .events import Events
from .foreign import our_errors
from .limits import Limits

ERROR_BODY_BYTES = 8192
STALE_WITHIN_S = 0.3
"""A reused connection that breaks so soon had been closed at the other end; a round trip shows that."""
ERROR_BODY_SECONDS = 2.0
"""How long an error's body may take; its status is known by then and is told in any case."""
DEPTH_HEADER = "x-vsr-fusion-depth"
_KEY = re.compile(r"(?i)\b(?:bearer\s+|sk-|key-)[\w.~+/=*-]{6,}")


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
        self._timeout = aiohttp.ClientTimeout(
            total=self._limits.total_s,
            connect=self._limits.connect_s,  # covers name resolution, which the other one does not
            sock_connect=self._limits.connect_s,
        )

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        body = {k: v for k, v in request.body.items() if k not in ("stream", "stream_options")}
        with self._logged():
            async with self._post(request, body) as response:
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
            first_byte = anyio.current_time() + self._limits.first_byte_s
            async with self._post(request, body, first_byte) as response:
                if response.content_type != "text/event-stream":
                    raw = await self._read(response, model)
                    for chunk in as_chunks(parse_completion(raw, model, response.content_type)):
                        yield chunk
                    return
                choices = request.body.get("n") or 1
                events = Events(response, self._limits, model, first_byte, choices)
                while batch := await events.next():
                    for data in batch:
                        chunk = parse_chunk(data, model)
                        events.note(chunk)
                        yield chunk
            events.check_end()

    def _post(self, request: ChatRequest, body: Body, head_by: float = math.inf) -> _Exchange:
        if self._session.closed:  # a call that broke when the gateway closed, and would be repeated
            raise UpstreamConnectionError(
                "is not asked: this gateway is closing", model=request.model, reason="closing"
            )
        try:
            data = encode({**body, "model": self._endpoint.model})
        except ValueError as exc:
            raise UpstreamProtocolError(
                f"the request cannot be sent: {exc}", model=request.model, reason="unsendable"
            ) from exc
        headers = {**self._own_headers(request), "content-type": "application/json"}
        if request.depth:
            headers[DEPTH_HEADER] = str(request.depth)

        async def post(seen: SimpleNamespace) -> aiohttp.ClientResponse:
            response = await self._session.post(
                self._url,
                data=data,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                trace_request_ctx=seen,
            )
            try:
                await self._check_status(response, request)
            except BaseException:
                response.close()
                raise
            return response

        return _Exchange(post, request.model, head_by)

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
        if self._limits.logs_refusals:
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
        with our_errors(model):
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
            stale = isinstance(exc, UpstreamConnectionError) and exc.stale
            log(
                "upstream_failed",
                level=logging.DEBUG if stale else logging.WARNING,
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
        self,
        post: Callable[[SimpleNamespace], Awaitable[aiohttp.ClientResponse]],
        model: str,
        head_by: float,
    ) -> None:
        self._post = post
        self._model = model
        self._head_by = head_by

    async def __aenter__(self) -> aiohttp.ClientResponse:
        seen = SimpleNamespace(reused_at=None)
        seconds = self._head_by - anyio.current_time()
        with our_errors(self._model), anyio.fail_after(seconds):
            try:
                self._response = await self._post(seen)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
                # An idle connection that the server was closing just then: it never saw the
                # request, so asking again costs nothing. Later, it may have worked for a while.
                if seen.reused_at is None or anyio.current_time() - seen.reused_at > STALE_WITHIN_S:
                    raise
                raise UpstreamConnectionError(
                    "the connection broke", model=self._model, stale=True
                ) from exc
        return self._response

    async def __aexit__(self, *exc: object) -> None:
        # A response read to its end has given its connection back, and this does nothing. One left
        # early must lose it, or the model goes on working for nobody.
        self._response.close()


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


async def _note_reuse(_session: object, context: SimpleNamespace, _params: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused_at = anyio.current_time()


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


def _without_keys(text: str, headers: Mapping[str, str]) -> str:
    for value in headers.values():
        for word in value.split():
            if len(word) >= 6:
                text = text.replace(word, "[redacted]")
    return _KEY.sub("[redacted]", text)
