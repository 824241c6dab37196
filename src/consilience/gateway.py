"""Route, deliberate, deliver: the only orchestrator.

A request runs under one deadline and one cancel scope: who cancels it cancels every upstream call.
Loopers deliberate and never deliver; `delivery` sends what they decided on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import anyio

from . import signal_models
from .admission import Admission, Bounds, Turn
from .allowance import allowance_for, at_depth, check_depth
from .backends import LocalServer, build_pool, local_models, prices_of
from .chat.request import ChatRequest, gateways_passed
from .config.root import Config
from .course import Run
from .deadline import late, request_seconds
from .delivery import Delivery, Emit
from .errors import ConsilienceError
from .event_stream import EventStream
from .limits.guard import Guard
from .limits.helper_calls import HelperCalls
from .loopers import LOOPERS
from .loopers.base import Outcome, Progress
from .preparation import Prepared, prepare
from .reply import Event, Reply, Routed, response_headers, route_headers
from .router import Route, Router
from .telemetry import metrics
from .upstream.base import Upstream
from .upstream.checks import checking
from .upstream.health import Health
from .upstream.http import new_session
from .upstream.local import LocalModels
from .upstream.pool import Pool, single_pool

Body = bytes | Mapping[str, Any] | ChatRequest
"""A chat-completions request: JSON, decoded JSON, or what `Gateway.parse` gave."""

_PLUGIN_IDS = tuple(name for looper in LOOPERS for name in looper.plugin_ids)
"""Plugin entries that speak to this gateway; the router has read them when a request is sent on."""


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


T = TypeVar("T")


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
        self.timeout_s = config.listeners[0].timeout_s
        """Seconds that a request may take."""
        self._limits = config.global_.gateway
        self._pool: Pool | None = None
        self._client: aiohttp.ClientSession | None = None
        self._opening = anyio.Lock()
        self._open = AsyncExitStack()
        self.guard = Guard(config, prices_of(config), unix_time=unix_time)
        """Whom it serves, and how much."""
        self._users = 0
        self._unused = anyio.Event()
        self.admission = Admission(self.bounds)
        """Who may start now. Handed on when the gateway is replaced."""

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
                    self.guard.open()
                    pool = await self._build_pool()
                    await signal_models.prepare(self.router, self.config, self._session, pool.calls)
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
        self.guard.close()

    @property
    def bounds(self) -> Bounds:
        """What the configuration lets in."""
        limits = self._limits
        return Bounds(limits.max_in_flight, limits.max_queued, limits.max_queue_seconds)

    @property
    def healths(self) -> Mapping[str, Health]:
        """How the backends are doing, by name; nothing before it is open."""
        return self._pool.healths if self._pool is not None else {}

    @property
    def in_flight(self) -> int:
        """Upstream calls that the requests now running may have at once."""
        return self.admission.in_flight

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
        with self.admission.turn() as turn:
            return await self._let_through(turn, body, headers, emit, deliver)

    async def _let_through(
        self,
        turn: Turn,
        body: Body,
        headers: Mapping[str, str],
        emit: Emit,
        deliver: Callable[[Prepared, Delivery], Awaitable[T]],
    ) -> T:
        pool = self._pool or await self.open()
        begun, exactly_begun = anyio.current_time(), time.perf_counter()
        timeout_s = request_seconds(headers, self.timeout_s)
        request = at_depth(self.parse(body), headers)
        gateways_passed.set(request.depth)
        self.guard.check_models(request)
        cap = signal_models.helper_allowance_for(
            self.router, request, self._limits.max_upstream_calls
        )
        signal_models.helper_allowance.set(cap)
        async with self.guard.paying(request, headers, pool.cost) as meter:
            helpers = HelperCalls(meter)
            try:
                with helpers.at_work():
                    route = await self._route(turn, request, headers, timeout_s)
                check_depth(route, request)
                prepared = prepare(route, request, headers)
                allowance = allowance_for(prepared, self._limits.max_upstream_calls, cap.made)
            except ConsilienceError as exc:
                exc.spent = exc.spent or helpers.paid
                raise
            allowance.patient = timeout_s >= self.timeout_s
            run = Run(
                prepared,
                headers,
                begun,
                self._new_id(),
                int(self._unix_time()),
                pool.calls(allowance, meter),
                helpers,
                timeout_s,
                exactly_begun,
            )
            async with self._planned(run):
                return await self._run(turn, run, emit, deliver)

    def _planned(self, run: Run) -> AbstractAsyncContextManager[None]:
        """Keeps what the request's calls may cost at worst; an answer in hand costs nothing."""
        prepared = run.prepared
        if prepared.outcome is not None:
            return nullcontext()
        return self.guard.planned(run.helpers.meter, prepared.route.looper, prepared.request)

    async def _run(
        self,
        turn: Turn,
        run: Run,
        emit: Emit,
        deliver: Callable[[Prepared, Delivery], Awaitable[T]],
    ) -> T:
        """Deliberates and delivers, once there is room."""
        prepared, route = run.prepared, run.prepared.route
        width = 0 if prepared.outcome else route.looper.width
        known, progress = route_headers(route), route.looper.wants_progress
        await emit(Routed(known, progress, run.id, run.created, route.requested))
        asked_at = anyio.current_time()
        try:
            with anyio.fail_after(run.begun + run.timeout_s - asked_at):
                await turn.take(width)
                run.waited_s = anyio.current_time() - asked_at
                metrics.QUEUE_SECONDS.of().observe(run.waited_s)
                outcome = (await self._deliberate(run, emit)).after(run.helpers.records)
                turn.narrow(1)  # finals are asked one after the other
                delivery = self._delivery(run, outcome)
                answer = await deliver(prepared, delivery)
            run.count(delivery)
            return answer
        except (ConsilienceError, TimeoutError, ExceptionGroup) as exc:
            run.count_failure()
            failure = run.failure(exc)
            if failure is exc:
                raise
            raise failure from exc

    async def _route(
        self, turn: Turn, request: ChatRequest, headers: Mapping[str, str], timeout_s: float
    ) -> Route:
        """Finds the route, under the request's deadline: signals may wait for helper models."""
        try:
            with anyio.fail_after(timeout_s):
                if self.router.asks_helpers(request):
                    await turn.take(1)
                begun = time.perf_counter()
                route = await self.router.route(request, headers)
        except TimeoutError as exc:
            raise late(timeout_s) from exc
        if route.signals is not None:
            metrics.ROUTING_SECONDS.of().observe(time.perf_counter() - begun)
            for key, result in route.signals.items():
                if result.error is not None:
                    metrics.SIGNAL_FAILURES.of(key.kind).inc()
        return route

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

    async def _deliberate(self, run: Run, emit: Emit) -> Outcome:
        prepared = run.prepared
        if prepared.outcome is not None:
            return prepared.outcome

        async def observe(progress: Progress) -> None:
            await emit(progress)

        sent_on = prepared.request.without_plugins(_PLUGIN_IDS)
        return await prepared.route.looper.deliberate(sent_on, run.calls.complete, observe)

    def _delivery(self, run: Run, outcome: Outcome) -> Delivery:
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

    async def _session(self) -> aiohttp.ClientSession:
        """The client session, opened when first asked for; closed with the gateway."""
        if self._client is None:
            self._client = await self._open.enter_async_context(new_session())
        return self._client

    async def _build_pool(self) -> Pool:
        if isinstance(self._upstream, Pool):
            return self._upstream
        if self._upstream is not None:
            return single_pool(self._upstream, self.config.model_names, prices_of(self.config))
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


async def _unwatched(event: Event) -> None:
    """Takes events that nobody watches."""
