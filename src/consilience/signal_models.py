"""The models that signals use, made from a configuration: what embeds texts, and who is asked."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import anyio
import anyio.to_thread

from .backends import limits_of
from .chat.completion import Completion
from .chat.request import ChatRequest, gateways_passed
from .config.external import External
from .config.root import Config
from .errors import ConsilienceError
from .limits.helper_calls import at_price, noted
from .limits.metering import CallMeter
from .router import Router
from .signals.asking import PREFERENCE_HELPER, PREFERENCE_ROLE, AskModel, HelperError
from .signals.breaker import Breaker, ModelError
from .signals.embedding import Endpoint as EmbeddingSource
from .signals.models import SignalModels
from .signals.vectors import Embed
from .upstream.allowance import Allowance
from .upstream.base import Meter, Upstream
from .upstream.embedding.base import Embedder, EmbeddingError, Encoder
from .upstream.embedding.catalog import (
    default_embedding_model,
    embedding_model,
    encoder_of_folder,
)
from .upstream.embedding.local import LocalEmbedder
from .upstream.embedding.remote import EmbeddingEndpoint, RemoteEmbedder
from .upstream.embedding.store import PrototypeVectors, VectorStore
from .upstream.http import Endpoint, HttpUpstream, new_session
from .upstream.packaged_prices import packaged_price
from .upstream.weights import cache_dir

log = logging.getLogger(__name__)

Open = Callable[[Allowance | None, Meter | None], Upstream]
"""Gives the models of the configuration to who may make so many calls, paid for by a meter if there is
one (`Pool.calls`)."""
OpenSession = Callable[[], Awaitable[aiohttp.ClientSession]]

T = TypeVar("T")

_KEPT_ENCODERS = 2


async def prepare(
    router: Router,
    config: Config,
    open_session: OpenSession,
    models: Open | None = None,
    *,
    embedding_model: str | None = None,
) -> None:
    """Gives a router's signals their models; does nothing when no signal in use needs any.

    A model that is not to be had just now is logged and tried again with later requests; until
    then its signals are errors in the trace.

    Args:
        router: of the configuration.
        config: what it was made from.
        open_session: gives the client session, when something is reached over HTTP.
        models: gives configured models; None: no helper is ever asked, as in a dry run.
        embedding_model: takes the place of the configured one.
    """
    if not router.needs_models:
        return
    embed: Embed | None = None
    if router.needs_embedding:
        try:
            embed = await _embed(config, open_session, embedding_model)
        except EmbeddingError as exc:
            log.error("embedding_model_missing", extra={"reason": str(exc)})
    ask = None if models is None else Helpers(config, open_session, models).ask
    await router.prepare(SignalModels(embed, ask))


@asynccontextmanager
async def prepared_router(
    config: Config, *, embedding_model: str | None = None
) -> AsyncIterator[Router]:
    """Gives a router whose signals can be evaluated, for a dry run: no model is asked.

    Args:
        config: what it is made from.
        embedding_model: takes the place of the configured one.
    """
    router, sessions = Router(config), list[aiohttp.ClientSession]()

    async def open_session() -> aiohttp.ClientSession:
        sessions.append(new_session())
        return sessions[-1]

    try:
        await prepare(router, config, open_session, embedding_model=embedding_model)
        yield router
    finally:
        for session in sessions:
            await session.close()


@dataclass(slots=True)
class HelperAllowance:
    """How many calls of helper models signals may make while a request is routed."""

    most: int | None = None
    """Beside those that the request may plan; None: one for each rule that asks, as configured."""
    made: int = 0

    def take(self) -> Allowance | None:
        """Takes a call; gives what it may become. Without retries, where calls are counted.

        Raises:
            HelperError: there is none left.
        """
        if self.most is not None and self.made >= self.most:
            raise HelperError("not asked: global.gateway.max_upstream_calls leaves no call for it")
        self.made += 1
        return None if self.most is None else Allowance(1, 1)


helper_allowance: ContextVar[HelperAllowance | None] = ContextVar("helper_allowance", default=None)
"""Those of the request that is being routed; signals know nothing of a request's limits."""


def helper_allowance_for(
    router: Router, request: ChatRequest, most_calls: int | None
) -> HelperAllowance:
    """Gives the calls that signals may make: what is left when all that may be planned is kept free."""
    if most_calls is None:
        return HelperAllowance()
    return HelperAllowance(max(0, most_calls - router.most_calls(request)))


class Helpers:
    """Who is asked by which name: helpers of the catalog, else models of the configuration."""

    def __init__(self, config: Config, open_session: OpenSession, models: Open) -> None:
        self._limits = limits_of(config)
        self._open_session = open_session
        self._models = models
        self._breakers: dict[str, Breaker] = {}
        self._by_name: dict[str, External] = {each.name: each for each in config.global_.helpers}
        by_role = (each for each in config.global_.helpers if each.model_role == PREFERENCE_ROLE)
        preference = next(by_role, None)
        if preference is not None:
            self._by_name[PREFERENCE_HELPER] = preference

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        """Gives the text of a helper's answer; see `AskModel`.

        Raises:
            ModelError: it failed, took longer than it may, is not asked just now, or the request may
                make no more calls.
        """
        calls = helper_allowance.get()
        allowance = calls.take() if calls is not None else None
        helper = self._by_name.get(model)
        breaker = self._breakers.get(model)
        if breaker is None:  # names come from the configuration, so there are only a few
            limit_s = _CONFIGURED_MODEL_S if helper is None else helper.llm_timeout_seconds
            breaker = self._breakers[model] = Breaker("the helper", limit_s, model)
        return await breaker.ask(partial(self._told, helper, model, messages, allowance))

    async def _told(
        self,
        helper: External | None,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        allowance: Allowance | None,
    ) -> str:
        try:
            if helper is None:
                request = _request(model, messages)
                completion = await noted(
                    model, lambda meter: self._models(allowance, meter).complete(request)
                )
            else:
                completion = await noted(model, lambda meter: self._asked(helper, messages, meter))
            return completion.text
        except ConsilienceError as exc:  # its message may speak of addresses
            raise HelperError(
                f"the helper could not be asked: {exc.code}", of_text=exc.status in _ABOUT_THE_TEXT
            ) from exc

    async def _asked(
        self, helper: External, messages: Sequence[Mapping[str, Any]], meter: CallMeter | None
    ) -> Completion:
        key = helper.key
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        endpoint = Endpoint(helper.llm_endpoint.url, helper.llm_model_name, headers)
        upstream: Upstream = HttpUpstream(await self._open_session(), endpoint, self._limits)
        now = datetime.now(UTC)
        price = packaged_price(helper.llm_endpoint.url, helper.llm_model_name, now)
        if meter is not None:
            upstream = at_price(meter, helper.name, price).around(upstream, again=True)
        request = _request(
            helper.name, messages, max_tokens=helper.max_tokens, temperature=helper.temperature
        )
        completion = await upstream.complete(request)
        if price is None or completion.usage is None:
            return completion
        return replace(completion, cost_usd=price.cost(completion.usage))


_CONFIGURED_MODEL_S = 10.0
_ABOUT_THE_TEXT = frozenset({400, 413, 422})


def _request(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int = 512,
    temperature: float = 0.0,
) -> ChatRequest:
    return ChatRequest.from_body(
        {
            "model": model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
    ).at_depth(gateways_passed.get())


async def _embed(config: Config, open_session: OpenSession, instead: str | None) -> Embed:
    settings = config.global_.semantic
    remote = settings.remote
    if remote is not None and instead is None:
        embedder = await _remote(remote, open_session)
        breaker = Breaker("the embedding model", embedder.limit_s, remote.model)
        return _as_capability(embedder, remote.similarity_floor, breaker=breaker)
    name = (
        instead or settings.model or (await anyio.to_thread.run_sync(default_embedding_model)).name
    )
    known = embedding_model(name)
    own, axes = (known.floor, known.axes) if known is not None else (0.0, 0.0)
    floor = own if settings.model_floor is None else settings.model_floor
    encoder = await anyio.to_thread.run_sync(_encoder, name)
    return _as_capability(LocalEmbedder(encoder, floor), floor, axes)


def _as_capability(
    embedder: Embedder, floor: float, axes: float = 0.0, breaker: Breaker | None = None
) -> Embed:
    store = VectorStore(cache_dir().parent / "vectors.sqlite3")
    prototypes = PrototypeVectors(embedder, store)
    return Embed(
        embedder.identity,
        embedder.limit_s,
        _telling(embedder.embed),
        _telling(prototypes.of),
        axes=axes,
        floor=floor,
        breaker=breaker,
        forget=prototypes.forget,
    )


def _telling(embed: Callable[[Sequence[str]], Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Gives what embeds, with errors that signals know: they import nothing of `upstream`."""

    async def told(texts: Sequence[str]) -> T:
        try:
            return await embed(texts)
        except EmbeddingError as exc:
            raise ModelError(str(exc), of_text=exc.of_text) from exc

    return told


async def _remote(remote: EmbeddingSource, open_session: OpenSession) -> Embedder:
    headers = {"authorization": f"Bearer {remote.key.get_secret_value()}"} if remote.key else {}
    endpoint = EmbeddingEndpoint(
        f"{remote.base_url.rstrip('/')}/embeddings",
        remote.model,
        headers,
        timeout_s=remote.timeout_seconds,
        retries=remote.max_retries,
        dimensions=remote.dimensions,
    )
    return RemoteEmbedder(await open_session(), endpoint, remote.similarity_floor)


@lru_cache(maxsize=_KEPT_ENCODERS)
def _encoder(name: str) -> Encoder:
    """Loads a model once for all configurations of this process."""
    known = embedding_model(name)
    return known.encoder() if known is not None else encoder_of_folder(Path(name).expanduser())


__all__ = ["AskModel", "Helpers", "prepare", "prepared_router"]
