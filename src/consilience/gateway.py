"""Route, deliberate, deliver: the only orchestrator.

A request runs under one deadline and one cancel scope: who cancels it cancels every upstream call.
Loopers deliberate and never deliver; `delivery` sends what they decided on.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import anyio

from . import signal_models
from .backends import LocalServer, build_pool, local_models
from .chat.request import ChatRequest, gateways_passed
from .config.root import Config
from .deadline import request_seconds
from .delivery import Delivery, Emit
from .errors import (
    ConsilienceError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
)
from .event_stream import EventStream
from .loopers import LOOPERS
from .loopers.base import Outcome, Progress
from .preparation import Prepared, prepare
from .reply import Event, Reply, Routed, response_headers, route_headers
from .router import Route, Router
from .upstream.base import Upstream
from .upstream.calls import Allowance, Calls
from .upstream.checks import checking
from .upstream.http import DEPTH_HEADER, new_session
from .upstream.local import LocalModels
from .upstream.pool import Pool, single_pool

Body = bytes | Mapping[str, Any] | ChatRequest
"""A chat-completions request: JSON, decoded JSON, or what `Gateway.parse` gave."""

_PLUGIN_IDS = tuple(name for looper in LOOPERS for name in looper.plugin_ids)
"""Plugin entries that speak to this gateway; the router has read them when a request is sent on."""

MAX_DEPTH = 4
"""Gateways of this kind that a plain request may pass through. A Fusion request: one."""

CALLS_FOR_EACH_PLANNED = 3
"""Upstream calls that a request may make for each one it plans, when no limit is configured."""


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


@dataclass(slots=True)
class _Run:
    """One request on its way; what must be known when it ends early."""

    prepared: Prepared
    headers: Mapping[str, str]
    begun: float
    id: str
    created: int
    calls: Calls
    timeout_s: float

    @property
    def spent(self) -> bool:
        """Whether anything was paid for."""
        return self.calls.allowance.paid > 0


T = TypeVar("T")


def key_digest(key: str) -> bytes:
    """What a client key is compared by."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


class Gateway:
    """Answers chat-completions requests from a panel of models, or from one.

    ```python
    async with Gateway(load_config("consilience.yaml")) as gateway:
        reply = await gateway.complete({"model": "vllm-sr/fusion", "messages": [...]})
        async for event in gateway.stream({...}):
            ...
    ```

    Opens its connections on entering (or at the first request) and closes them on leaving. Safe
    for any number of concurrent requests of one event loop; holds no state of a single request.
    """

    def __init__(
        self,
        config: Config,
        *,
        upstream: Upstream | None = None,
        new_id: Callable[[], str] = _new_id,
        unix_time: Callable[[], float] = time.time,  # noqa: TID251  # `created` is a calendar time
    ) -> None:
        """
        Args:
            config: from `load_config`.
            upstream: serves every configured model in place of its backends, for tests; a `Pool` as
                it is, anything else without retries.
            new_id: gives `chatcmpl-…` ids.
            unix_time: gives the time of day, for `created`.
        """
        self.config = config
        self.router = Router(config)
        self._upstream = upstream
        self._new_id = new_id
        self._unix_time = unix_time
        self._timeout_s = config.listeners[0].timeout_s
        self._limits = config.global_.gateway
        self._pool: Pool | None = None
        self._client: aiohttp.ClientSession | None = None
        self._opening = anyio.Lock()
        self._open = AsyncExitStack()
        self.key_digests = tuple(
            key_digest(key.get_secret_value())
            for listener in config.listeners
            for key in listener.api_keys
        )
        """Of the client keys that requests over HTTP must carry one of; empty: everybody may."""
        self._users = 0
        self._unused = anyio.Event()
        self.in_flight = 0
        """Upstream calls that the requests now running may have at once."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> Pool:
        """Opens what requests need, once: the client session, and local models if configured."""
        async with self._opening:
            if self._pool is None:
                try:
                    pool = await self._build_pool()
                    await signal_models.prepare(
                        self.router, self.config, self._session, pool.complete
                    )
                    self._pool = pool
                except BaseException:
                    await self.aclose()
                    raise
            return self._pool

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the gateway open for one request, however soon it is replaced by another."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()
                self._unused = anyio.Event()

    async def drain(self) -> None:
        """Waits until no request uses it any more, then closes it."""
        while self._users:
            await self._unused.wait()
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection and stops local models."""
        self._pool = self._client = None
        await self._open.aclose()

    @property
    def ready(self) -> bool:
        """Whether requests can be served at once."""
        return self._pool is not None

    async def complete(self, body: Body, headers: Mapping[str, str] | None = None) -> Reply:
        """Answers a request whole.

        Args:
            body: an OpenAI chat-completions request, which is read and not changed. Its `stream`
                is ignored.
            headers: request headers with lower-case names, for signals and `x-vsr-debug`.

        Raises:
            ConsilienceError: with `spent` set when paid calls had been made. Cancelling this call
                cancels every upstream call.
        """

        async def deliver(prepared: Prepared, delivery: Delivery) -> Reply:
            completion = await prepared.whole(delivery)
            return Reply(
                delivery.body(completion),
                delivery.headers(completion.model, delivery.records, delivery.usage),
            )

        return await self._carry(body, headers or {}, _unwatched, deliver)

    def stream(self, body: Body, headers: Mapping[str, str] | None = None) -> EventStream:
        """Answers a request as events: `Progress` while deliberating, `Begin`, then `Chunk`s.

        The same events that the HTTP stream is made of. Iterating raises `ConsilienceError` when
        the request fails; leaving the loop early cancels every upstream call.
        """
        return EventStream(lambda emit: self.run(body, headers or {}, emit))

    async def run(self, body: Body, headers: Mapping[str, str], emit: Emit) -> None:
        """Answers a request by calling `emit` with each event, in order and awaited.

        A slow `emit` slows the upstream down. Raises like `complete`; after `Begin` was emitted, a
        failure means that the stream is broken.
        """
        request = self.parse(body)

        async def deliver(prepared: Prepared, delivery: Delivery) -> None:
            await prepared.stream(delivery, emit, include_usage=request.include_usage)

        await self._carry(request, headers, emit, deliver)

    async def _carry(
        self,
        body: Body,
        headers: Mapping[str, str],
        emit: Emit,
        deliver: Callable[[Prepared, Delivery], Awaitable[T]],
    ) -> T:
        """Routes, prepares, deliberates and delivers one request."""
        pool = self._pool or await self.open()
        begun = anyio.current_time()
        timeout_s = request_seconds(headers, self._timeout_s)
        request = self._at_depth(self.parse(body), headers)
        gateways_passed.set(request.depth)
        route = await self._route(request, headers, timeout_s)
        if route.algorithm == "fusion" and request.depth > 1:
            raise InvalidRequestError(
                "a Fusion route cannot be reached through another gateway of this kind: ask it directly"
            )
        prepared = prepare(route, request, headers)
        calls = pool.calls(self._allowance(prepared))
        created = int(self._unix_time())
        run = _Run(prepared, headers, begun, self._new_id(), created, calls, timeout_s)
        known, progress = route_headers(prepared.route), route.looper.wants_progress
        await emit(Routed(known, progress, run.id, run.created, route.requested))
        width = 0 if prepared.outcome else self._reserve(route)
        try:
            with anyio.fail_after(begun + timeout_s - anyio.current_time()):
                outcome = await self._deliberate(run, emit)
                return await deliver(prepared, self._delivery(run, outcome))
        except (ConsilienceError, TimeoutError, ExceptionGroup) as exc:
            failure = self._failure(run, exc)
            if failure is exc:
                raise
            raise failure from exc
        finally:
            self.in_flight -= width

    async def _route(
        self, request: ChatRequest, headers: Mapping[str, str], timeout_s: float
    ) -> Route:
        """Finds the route, under the request's deadline: signals may wait for helper models."""
        try:
            with anyio.fail_after(timeout_s):
                return await self.router.route(request, headers)
        except TimeoutError as exc:
            raise _late(timeout_s) from exc

    def parse(self, body: Body) -> ChatRequest:
        """Reads and checks a request body.

        Raises:
            InvalidRequestError: with `param` naming what is wrong.
        """
        if isinstance(body, ChatRequest):
            return body
        most = self._limits.max_messages
        if isinstance(body, bytes | bytearray):
            return ChatRequest.parse(body, max_messages=most)
        return ChatRequest.from_body(body, max_messages=most)

    @staticmethod
    def _at_depth(request: ChatRequest, headers: Mapping[str, str]) -> ChatRequest:
        passed = max(map(_number, headers.get(DEPTH_HEADER, "").split(",")))
        if passed >= MAX_DEPTH:
            raise InvalidRequestError(f"the request came through {passed} gateways or more: a loop")
        return request.at_depth(passed + 1)

    def _reserve(self, route: Route) -> int:
        """Counts the calls that the request may have in flight at once.

        Raises:
            OverloadedError: they would be too many. Nothing was spent.
        """
        width, most = route.looper.width, self._limits.max_in_flight
        if self.in_flight and self.in_flight + width > most:
            raise OverloadedError("too many requests are in flight; try again", retry_after_s=1)
        self.in_flight += width
        return width

    def _allowance(self, prepared: Prepared) -> Allowance:
        """Gives how many upstream calls the request may make.

        Raises:
            InvalidRequestError: it needs more than may be made. Nothing was spent.
        """
        planned = 0 if prepared.outcome else prepared.route.looper.calls
        most = self._limits.max_upstream_calls or CALLS_FOR_EACH_PLANNED * planned
        if planned > most:
            raise InvalidRequestError(
                f"the request needs up to {planned} upstream calls;"
                f" global.gateway.max_upstream_calls allows {most}"
            )
        return Allowance(most, planned)

    async def _deliberate(self, run: _Run, emit: Emit) -> Outcome:
        prepared = run.prepared
        if prepared.outcome is not None:
            return prepared.outcome

        async def observe(progress: Progress) -> None:
            await emit(progress)

        sent_on = prepared.request.without_plugins(_PLUGIN_IDS)
        return await prepared.route.looper.deliberate(sent_on, run.calls.complete, observe)

    def _delivery(self, run: _Run, outcome: Outcome) -> Delivery:
        debug = run.headers.get("x-vsr-debug", "").strip().lower() == "true"
        return Delivery(
            outcome,
            run.calls,
            run.id,
            run.created,
            headers=lambda model, records, usage: response_headers(
                run.prepared.route,
                outcome,
                model,
                records,
                debug=debug,
                latency_ms=round((anyio.current_time() - run.begun) * 1000),
                usage=usage,
            ),
        )

    def _failure(self, run: _Run, exc: Exception) -> Exception:
        """The error to raise for what went wrong: unwrapped, and marked with whether it cost."""
        while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
            exc = exc.exceptions[0]
        if isinstance(exc, TimeoutError):
            exc = _late(run.timeout_s)
        if isinstance(exc, ConsilienceError):
            if exc.status != 429:
                exc.spent = exc.spent or run.spent
            elif run.spent:  # others had begun to work, and who comes back pays for them again
                exc.status, exc.retry_after_s, exc.spent = 502, None, True
            else:  # turned away by all: nobody worked, and the client may well come back
                exc.spent = False
        return exc

    async def _session(self) -> aiohttp.ClientSession:
        """The client session, opened when first asked for; closed with the gateway."""
        if self._client is None:
            self._client = await self._open.enter_async_context(new_session())
        return self._client

    async def _build_pool(self) -> Pool:
        if isinstance(self._upstream, Pool):
            return self._upstream
        if self._upstream is not None:
            return single_pool(self._upstream, self.config.model_names)
        session = await self._session()
        needed = local_models(self.config)
        local: LocalServer | None = None
        if needed:
            served = await self._open.enter_async_context(LocalModels.serve(needed))
            urls = {model: served.base_url(model) for model in needed}
            local = LocalServer(urls, served.api_key)
        pool = build_pool(self.config, session, local)
        await self._open.enter_async_context(checking(pool.checks, session))
        return pool


def _late(timeout_s: float) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"no answer within the {timeout_s:g} seconds that a request may take"
    )


def _number(text: str) -> int:
    """A depth from a header; what is no number counts as none, a huge one as deep enough."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return 0
    return int(digits[:6])


async def _unwatched(event: Event) -> None:
    """Takes events that nobody watches."""
