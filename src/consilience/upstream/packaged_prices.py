"""Prices that come with the library `genai-prices`: by a backend's address and its model's id.

Offline: the library's own update is never switched on. An address or a model that it does not know
has no price here, which is not the same as free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from .price import Price

_MOST = Decimal(1_000_000)
"""Dollars per million tokens beyond which a figure is a mistake."""


def packaged_price(url: str, model: str, at: datetime) -> Price | None:
    """Gives what a call costs at a backend; None when that is not known.

    Args:
        url: where chat completions are posted to.
        model: what the backend calls the model.
        at: when; prices change with the date, and some with the time of day.
    """
    address = urlsplit(url)
    if address.scheme != "https":  # every address in the table is; a plain one is a server of ours
        return None
    try:
        _, found = get_snapshot().find_provider_model(
            model, None, None, f"https://{address.hostname}{address.path}"
        )
    except LookupError:
        return None
    return _price(found.get_prices(at))


def _price(prices: ModelPrice) -> Price | None:
    """Turns the library's price into ours; None when a part is missing or makes no sense."""
    kinds = (
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_read_mtok,
        prices.cache_write_mtok,
    )
    starts = {t.start for kind in kinds if isinstance(kind, TieredPrices) for t in kind.tiers}
    steps = [(start, _step(kinds, start)) for start in (0, *sorted(starts))]
    (_, base), *rest = steps
    if base is None:
        return None
    tiers = tuple((start, price) for start, price in rest if price is not None)
    if len(tiers) != len(rest):
        return None
    return replace(base, tiers=tiers)


def _step(kinds: Sequence[Decimal | TieredPrices | None], start: int) -> Price | None:
    prompt, completion, cached, written = (_from(kind, start) for kind in kinds)
    if prompt is None or completion is None:
        return None
    told = (each for each in (prompt, completion, cached, written) if each is not None)
    if not all(0 <= each <= _MOST for each in told):
        return None
    return Price(prompt, completion, cached, cache_write=written)


def _from(kind: Decimal | TieredPrices | None, start: int) -> Decimal | None:
    """The price in force beyond so many prompt tokens."""
    if not isinstance(kind, TieredPrices):
        return kind
    reached = [tier.price for tier in kind.tiers if tier.start <= start]
    return reached[-1] if reached else kind.base
