"""The configured backends as a pool of upstreams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from .chat.codec import Body
from .chat.completion import Completion
from .chat.request import ChatRequest
from .config.providers import BackendRef, Pricing, ProviderModel
from .config.root import Config
from .upstream.balance import Backend, Member
from .upstream.base import Upstream
from .upstream.checks import ActiveCheck
from .upstream.health import Health, HealthPolicy
from .upstream.http import Endpoint, HttpUpstream
from .upstream.limits import Limits
from .upstream.packaged_prices import packaged_price
from .upstream.pool import Pool
from .upstream.price import Price
from .upstream.retry import TELLING_S, TELLING_SHARE, RetryBudget, RetryPolicy

_DOLLARS = ("USD", "usd", "$")


class LocalServer:
    """Where the models run that this process serves itself; see `upstream.local`."""

    def __init__(self, urls: Mapping[str, str], api_key: str) -> None:
        """
        Args:
            urls: base URL (`http://127.0.0.1:port/v1`) by local model id.
            api_key: the key that these servers want.
        """
        self.urls = urls
        self.api_key = api_key


def local_models(config: Config) -> frozenset[str]:
    """Ids of the local models that a config needs."""
    return frozenset(
        model.upstream_id
        for model in config.providers.models
        if any(ref.is_local for ref in model.backend_refs)
    )


def build_pool(
    config: Config, session: aiohttp.ClientSession, local: LocalServer | None = None
) -> Pool:
    """Gives the pool of every model and LoRA that the config names."""
    builder = _Builder(config, session, local)
    members: dict[str, Member] = {}
    checks: list[ActiveCheck] = []
    for model in config.providers.models:
        healths = [builder.health(model, i) for i in range(len(model.backend_refs))]
        loras = [lora.name for lora in card.loras] if (card := config.card(model.name)) else []
        for name in (model.name, *loras) if healths else ():
            members[name] = builder.member(model, name, healths)
        checks += _checks(model, healths)
    looper = config.global_.integrations.looper
    other: Upstream | None = None
    if looper.endpoint:
        other = EndpointForAll(session, looper.endpoint, dict(looper.headers), builder.limits)
        for model in config.providers.models:
            if model.name not in members:
                urls = [looper.endpoint]
                members[model.name] = builder.around(model, model.name, [Backend(other)], urls)
    served: Member | None = None
    if other:
        retries, budget = retries_of(config), builder.budget([looper.endpoint])
        served = Member([Backend(other)], retries=retries, budget=budget, named=False)
    return Pool(members, other=served, checks=checks)


class _Builder:
    """Makes the members of one configuration's pool."""

    def __init__(
        self, config: Config, session: aiohttp.ClientSession, local: LocalServer | None
    ) -> None:
        self.limits = limits_of(config)
        self._retries = retries_of(config)
        self._prices = prices_of(config)
        self._session = session
        self._local = local
        self._budgets: dict[frozenset[str], RetryBudget] = {}

    def budget(self, urls: Iterable[str | None]) -> RetryBudget:
        """Gives the retry budget of the servers at these addresses; the models there share it.

        A server that is down is asked no more often for having many models.
        """
        origins = frozenset(str(URL(url).origin()) for url in urls if url)
        return self._budgets.setdefault(origins, RetryBudget()) if origins else RetryBudget()

    def health(self, model: ProviderModel, position: int) -> Health:
        """Gives a backend's state, which its LoRAs share."""
        settings, usual = model.reliability, HealthPolicy()
        failures, seconds = settings.consecutive_5xx, settings.base_ejection_time
        policy = HealthPolicy(
            failures=usual.failures if failures is None else failures,
            ejection_s=usual.ejection_s if seconds is None else seconds,
            longest_ejection_s=max(usual.longest_ejection_s, seconds or 0),
        )
        return Health(policy, f"{model.name}/{model.backend_refs[position].name or position}")

    def member(self, model: ProviderModel, name: str, healths: Sequence[Health]) -> Member:
        """Gives a model, or one of its LoRAs, at its backends."""
        served_as = model.upstream_id if name == model.name else name
        return self.around(
            model,
            name,
            [
                Backend(
                    _upstream(ref, model, served_as, self._session, self.limits, self._local),
                    ref.weight,
                    health,
                )
                for ref, health in zip(model.backend_refs, healths, strict=True)
            ],
            [ref.chat_url for ref in model.backend_refs],
        )

    def around(
        self,
        model: ProviderModel,
        name: str,
        backends: Sequence[Backend],
        urls: Iterable[str | None],
    ) -> Member:
        """Gives the member of a model, or one of its LoRAs, with these backends at these addresses."""
        settings = model.reliability
        count, conditions = settings.retry_count, settings.retry_on
        percent = settings.max_ejection_percent
        return Member(
            backends,
            self._prices.get(name),
            replace(
                self._retries,
                count=self._retries.count if count is None else count,
                conditions=None if conditions is None else frozenset(conditions),
            ),
            settings.lb_policy,
            1.0 if percent is None else percent / 100,
            self.budget(urls),
        )


def retries_of(config: Config) -> RetryPolicy:
    """How often and how soon a model is asked again that says nothing of it itself."""
    settings, request_s = config.global_.gateway, config.listeners[0].timeout_s
    return RetryPolicy(
        settings.retry_count,
        settings.retry_base_seconds,
        settings.retry_cap_seconds,
        telling_s=min(TELLING_S, settings.first_byte_timeout_seconds, TELLING_SHARE * request_s),
    )


def _checks(model: ProviderModel, healths: Sequence[Health]) -> Iterator[ActiveCheck]:
    """Gives the checks that a model's `health_check_path` asks for."""
    settings = model.reliability
    if settings.health_check_path is None:
        return
    for ref, health in zip(model.backend_refs, healths, strict=True):
        if not ref.is_local:  # this process watches over those itself
            yield ActiveCheck(
                URL(ref.chat_url).origin().join(URL(settings.health_check_path)),
                health,
                ref.request_headers(),
                interval_s=settings.health_check_interval,
                timeout_s=settings.health_check_timeout,
            )


def limits_of(config: Config) -> Limits:
    """The bounds of upstream calls."""
    settings, looper = config.global_.gateway, config.global_.integrations.looper
    return Limits(
        connect_s=settings.connect_timeout_seconds,
        first_byte_s=settings.first_byte_timeout_seconds,
        idle_s=settings.idle_timeout_seconds,
        total_s=looper.timeout_seconds,
        max_body_bytes=looper.max_response_bytes_mb << 20,
        max_event_bytes=settings.max_sse_event_kb << 10,
        logs_refusals=settings.log_upstream_errors,
    )


def prices_of(config: Config) -> dict[str, Price]:
    """Gives the price of every model and LoRA that has one, by name."""
    names = (*config.model_names, *config.lora_names)
    priced = ((name, price_in(config, name)) for name in names)
    return {name: price for name, price in priced if price is not None}


def price_in(config: Config, name: str) -> Price | None:
    """Gives a model's or LoRA's price: the model's own `pricing`, else the packaged one.

    A packaged price must be known for each of the model's backends; the dearest counts.
    """
    model = config.model(config.lora_base(name) or name)
    if model is None:
        return None
    return _packaged(config, model) if model.pricing is None else price_of(model.pricing)


def _packaged(config: Config, model: ProviderModel) -> Price | None:
    now = datetime.now(UTC)
    endpoint = config.global_.integrations.looper.endpoint
    urls = [ref.chat_url for ref in model.backend_refs] or [endpoint or ""]
    found = [packaged_price(url, model.upstream_id, now) for url in dict.fromkeys(urls)]
    known = [price for price in found if price is not None]
    if len(known) < len(found):
        return None
    return max(known, key=lambda price: price.worst(1000, 1000))


def price_of(pricing: Pricing | None) -> Price | None:
    """A model's price; None when it is unknown or not in dollars, which is not the same as free."""
    if pricing is None or pricing.currency not in _DOLLARS:
        return None
    if not pricing.is_known:  # half a price would count the other half as nothing
        return None
    return Price(
        pricing.prompt_per_1m,
        pricing.completion_per_1m,
        pricing.cached_input_per_1m,
        cache_write=pricing.cache_write_per_1m,
    )


def _upstream(
    ref: BackendRef,
    model: ProviderModel,
    served_as: str,
    session: aiohttp.ClientSession,
    limits: Limits,
    local: LocalServer | None,
) -> Upstream:
    if not ref.is_local:
        endpoint = Endpoint(ref.chat_url, served_as, ref.request_headers())
        return HttpUpstream(session, endpoint, limits)
    if local is not None:
        url = f"{local.urls[model.upstream_id]}/chat/completions"
        endpoint = Endpoint(url, served_as, {"authorization": f"Bearer {local.api_key}"})
        # they share this machine's processors: a long silence is work, not a broken line
        patient = replace(limits, first_byte_s=limits.total_s, idle_s=limits.total_s)
        return HttpUpstream(session, endpoint, patient)
    raise RuntimeError("local models are configured but were not started")


class EndpointForAll:
    """One endpoint that serves every model under its configured name (the looper's)."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], limits: Limits
    ) -> None:
        self._session, self._url, self._headers, self._limits = session, url, headers, limits
        self._by_model: dict[str, HttpUpstream] = {}

    def _of(self, model: str) -> HttpUpstream:
        if model not in self._by_model:
            if len(self._by_model) >= 1024:  # names come from requests under `any`
                self._by_model.clear()
            endpoint = Endpoint(self._url, model, self._headers)
            self._by_model[model] = HttpUpstream(self._session, endpoint, self._limits)
        return self._by_model[model]

    async def complete(self, request: ChatRequest) -> Completion:
        """Asks for a whole answer; see `Upstream.complete`."""
        return await self._of(request.model).complete(request)

    def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Asks for an answer in chunks; see `Upstream.stream`."""
        return self._of(request.model).stream(request)
