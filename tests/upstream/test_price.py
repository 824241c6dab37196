"""What a call costs: by kind of token, and at most."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.completion import Usage
from consilience.upstream.price import Price

PLAIN = Price(Decimal(1), Decimal(10))
CACHING = Price(Decimal(1), Decimal(10), Decimal("0.1"), cache_write=Decimal("1.25"))
amounts = st.decimals(0, 100, places=4)
counts = st.integers(0, 1_000_000)


@pytest.mark.parametrize(
    ("price", "details", "dollars"),
    [
        (PLAIN, {}, "0.0011"),
        (PLAIN, {"cached_tokens": 500, "cache_write_tokens": 500}, "0.0011"),
        (CACHING, {}, "0.0011"),
        (CACHING, {"cached_tokens": 500}, "0.00065"),
        (CACHING, {"cache_write_tokens": 400}, "0.0012"),
        (CACHING, {"cache_creation_tokens": 400}, "0.0012"),
        (CACHING, {"cached_tokens": 500, "cache_write_tokens": 400}, "0.00075"),
        (CACHING, {"cached_tokens": 900, "cache_write_tokens": 900}, "0.000315"),
    ],
)
def test_cached_and_newly_cached_tokens_have_their_own_price(
    price: Price, details: dict[str, int], dollars: str
) -> None:
    usage = Usage(1000, 10, 1010, prompt_details=details)
    assert price.cost(usage) == Decimal(dollars)


@given(
    prices=st.tuples(amounts, amounts, st.none() | amounts, st.none() | amounts),
    prompt=counts,
    completion=counts,
    cached=counts,
    written=counts,
)
def test_no_call_costs_more_than_the_worst_case(
    prices: tuple[Decimal, Decimal, Decimal | None, Decimal | None],
    prompt: int,
    completion: int,
    cached: int,
    written: int,
) -> None:
    tier = Price(Decimal(3), Decimal(5), cache_write=Decimal(7))
    price = Price(*prices[:3], tiers=((1000, tier),), cache_write=prices[3])
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    usage = Usage(prompt, completion, prompt + completion, prompt_details=details)
    assert 0 <= price.cost(usage) <= price.worst(prompt, completion)
