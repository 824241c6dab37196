"""Whom the gateway serves, and how much: keys, rates and budgets of one configuration.

What must outlive a configuration (the keys in memory, what was used and set aside) is handed on to
the guard of the next one.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import anyio

from ..chat.request import ChatRequest
from ..config.root import Config
from ..errors import AuthenticationError, InvalidRequestError, PermissionDeniedError
from ..keys.records import VirtualKey, current_key, digest_of
from ..keys.ring import KeyRing
from ..keys.store import EVERYTHING, default_store
from ..loopers.base import Looper
from ..loopers.fusion.looper import Fusion
from ..loopers.fusion.override import named_models, read_plugin
from ..upstream.price import Price
from .budgets import Ceiling, Hold, Ledger, Purse
from .metering import CallMeter, Cost
from .shared_rates import SharedRates
from .worst_case import WorstCase, expected_tokens_of

COST_HEADER = "x-max-cost-usd"
"""What the request may cost at worst, in dollars; like the plugin's `max_cost_usd`."""
_PLUGIN_FIELD = "max_cost_usd"
_MOST = 1_000_000_000


class _Shared:
    """What guards of one store hand on."""

    def __init__(self, path: Path, unix_time: Callable[[], float]) -> None:
        self.ring = KeyRing(path, unix_time=unix_time)
        self.ledger = Ledger(self.ring, lambda: _day(unix_time()))
        self.rates = SharedRates(path)


class Guard:
    """Lets requests in, and keeps what they use within their limits."""

    def __init__(
        self,
        config: Config,
        prices: Mapping[str, Price],
        *,
        unix_time: Callable[[], float] = time.time,  # noqa: TID251  # days are of the calendar
    ) -> None:
        """
        Args:
            config: whose keys and budgets hold.
            prices: of its models.
            unix_time: gives the time of day.
        """
        self._unix_time = unix_time
        self._budgets = config.global_.budgets
        self._metrics_are_public = config.global_.metrics.public
        self._worst_case = WorstCase.of(prices, _windows(config), self._budgets)
        self._digests = tuple(
            digest_of(key.get_secret_value())
            for listener in config.listeners
            for key in listener.api_keys
        )
        self._shared = _Shared(store_of(config), unix_time)
        self._opened = False

    @property
    def ring(self) -> KeyRing:
        """The virtual keys."""
        return self._shared.ring

    @property
    def troubles(self) -> Sequence[str]:
        """What it cannot use now, though requests go on: `key_store`, `held_store`, `rate_store`."""
        return (*self.ring.troubles, *self._shared.rates.troubles(anyio.current_time()))

    @property
    def ledger(self) -> Ledger:
        """What is set aside and spent."""
        return self._shared.ledger

    @property
    def protected(self) -> bool:
        """Whether a request must carry a key: some are configured, or virtual ones exist."""
        return bool(self._digests) or self.ring.exists

    @property
    def metrics_are_public(self) -> bool:
        """Whether `/metrics` wants no key."""
        return self._metrics_are_public

    def open(self) -> None:
        """Reads the keys and begins to watch them, once.

        Raises:
            KeyStoreError: they cannot be read.
        """
        if not self._opened:
            self.ring.open()
            self._opened = True

    def close(self) -> None:
        """Writes what is due; keys are watched on while another guard has them."""
        if self._opened:
            self._opened = False
            self.ring.close()
            self._shared.rates.close()

    def follow(self, other: Guard) -> None:
        """Takes over what another guard knows, if it keeps its keys in the same file.

        Call it before this one is opened.
        """
        if self.ring.path == other.ring.path:
            self._shared = other._shared

    def authenticate(self, authorization: str) -> VirtualKey | None:
        """Gives the virtual key that a request carries; None when it carries a listener's, or none
        is wanted.

        Args:
            authorization: the request's header, empty when there is none.

        Raises:
            AuthenticationError: a key is wanted, and this is none or no good any more.
        """
        if not self.protected:
            return None
        scheme, _, sent = authorization.partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            raise AuthenticationError("send a key: 'authorization: Bearer <key>'")
        digest = digest_of(sent.strip())
        # every key is compared, so that time tells nothing
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(matches):
            return None
        key = self.ring.find(digest)
        if key is None:
            raise AuthenticationError("this key is not known here")
        reason = key.why_refused(digest, self._unix_time())
        if reason is not None:
            raise AuthenticationError(reason)
        return key

    async def count_request(self, key: VirtualKey) -> None:
        """Counts a request against the key's rate.

        Raises:
            RateLimitedError: it is one too many.
        """
        await self._shared.rates.take_request(key, anyio.current_time())

    def rate_headers(self, key: VirtualKey) -> Mapping[str, str]:
        """Gives `x-ratelimit-…`, as it is now."""
        return self._shared.rates.headers(key, anyio.current_time())

    def check_models(self, request: ChatRequest) -> None:
        """Looks whether the key at work may name what the request names.

        Raises:
            PermissionDeniedError: it may not.
            InvalidRequestError: the request's plugin is wrong.
        """
        key = current_key.get()
        if key is None or key.limits.models is None:
            return
        if not key.may_use(request.model):
            raise _not_allowed(request.model)
        entry = request.plugin(Fusion.plugin_ids)
        if entry is not None:
            for _, name in named_models(read_plugin(entry, request)):
                if not key.may_use(name):
                    raise _not_allowed(name)

    @asynccontextmanager
    async def paying(
        self, request: ChatRequest, headers: Mapping[str, str], cost: Cost
    ) -> AsyncGenerator[CallMeter | None, None]:
        """Gives what pays for a request's calls; what is set aside goes back when the block ends.

        None when nobody counts.

        Args:
            request: as it came.
            headers: the client's, names in lower case.
            cost: gives what a call cost.

        Raises:
            InvalidRequestError: its own limit is not an amount.
        """
        purses = self._purses(current_key.get())
        ceilings = [*self._ceilings(request, headers)]
        strict = bool(ceilings) or any(purse.is_limited for purse in purses)
        if not purses and not ceilings:
            yield None
            return
        worst_case = self._worst_case if strict else self._worst_case.lenient()
        hold = Hold(self.ledger, purses, ceilings)
        try:
            limits_answers = strict and self._budgets.limit_answers
            yield CallMeter(hold, worst_case, cost, limits_answers, strict)
        finally:
            hold.close()

    @asynccontextmanager
    async def planned(
        self, metered: CallMeter | None, looper: Looper[Any], request: ChatRequest
    ) -> AsyncGenerator[None, None]:
        """Sets the worst case of a request's calls aside, before the first of them.

        Args:
            metered: what pays, from `paying`.
            looper: who will ask models.
            request: as they will be asked.

        Raises:
            BudgetExceededError: what is left does not cover it; no model was asked, as below.
            BudgetUnavailableError: what is left cannot be known.
            CostCeilingError: its own limit does not.
            RateLimitedError: too few tokens are left of this minute.
        """
        if metered is None:
            yield
            return
        async with self._tokens(current_key.get(), looper, request, metered):
            if metered.strict:
                await metered.hold.plan(metered.worst_case.planned(looper, request))
            yield

    @asynccontextmanager
    async def _tokens(
        self,
        key: VirtualKey | None,
        looper: Looper[Any],
        request: ChatRequest,
        metered: CallMeter,
    ) -> AsyncGenerator[None, None]:
        if key is None or key.limits.tokens_per_minute is None:
            yield
            return
        rates, begun = self._shared.rates, anyio.current_time()
        held = await rates.hold_tokens(key, expected_tokens_of(looper, request), begun)
        try:
            yield
        finally:
            used, now = metered.hold.tokens, anyio.current_time()
            await rates.settle_tokens(key, held, begun, used, now)

    def _purses(self, key: VirtualKey | None) -> list[Purse]:
        of_all = Purse(
            EVERYTHING, "this gateway", self._budgets.per_day_usd, self._budgets.per_month_usd
        )
        purses = [of_all] if of_all.is_limited or key is not None else []
        if key is not None:
            limits = key.limits
            purses.append(Purse(key.id, "this key", limits.usd_per_day, limits.usd_per_month))
        return purses

    def _ceilings(self, request: ChatRequest, headers: Mapping[str, str]) -> Iterator[Ceiling]:
        if self._budgets.per_request_usd is not None:
            yield Ceiling(self._budgets.per_request_usd, own=False)
        if COST_HEADER in headers:
            yield Ceiling(_amount(headers[COST_HEADER], COST_HEADER), own=True, param=COST_HEADER)
        entry = request.plugin(Fusion.plugin_ids)
        if entry is None or entry.get("enabled") is False or entry.get(_PLUGIN_FIELD) is None:
            return
        param = f"plugins[{list(request.plugins).index(entry)}].{_PLUGIN_FIELD}"
        yield Ceiling(_amount(entry[_PLUGIN_FIELD], param), own=True, param=param)


def store_of(config: Config) -> Path:
    """Gives the file that holds the virtual keys of a configuration; it need not exist."""
    chosen = config.global_.keys.store
    return Path(chosen).expanduser() if chosen else default_store()


def _windows(config: Config) -> dict[str, int]:
    names = (*config.model_names, *config.lora_names)
    cards = ((name, config.card(name)) for name in names)
    return {n: card.context_window_size for n, card in cards if card and card.context_window_size}


def _amount(value: object, param: str) -> Decimal:
    try:
        amount = Decimal(str(value)[:40]) if not isinstance(value, bool) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 < amount <= _MOST:
        raise InvalidRequestError(
            f"{param} must be an amount of dollars above 0 and at most {_MOST}, such as 0.25",
            param=param,
        )
    return amount


def _not_allowed(model: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"this key may not use {model[:100]!r}; GET /v1/models lists what it may", param="model"
    )


def _day(unix_time: float) -> date:
    return datetime.fromtimestamp(unix_time, UTC).date()
