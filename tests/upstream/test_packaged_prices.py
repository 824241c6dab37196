"""Prices that come packaged: by a backend's address and its model's id, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices.data_snapshot
import pytest

from consilience import parse_config
from consilience.backends import price_in, prices_of
from consilience.chat.completion import Usage
from consilience.upstream.packaged_prices import packaged_price
from consilience.upstream.price import Price

AT = datetime(2026, 11, 25, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1/chat/completions"
LONG = Price(
    Decimal(3), Decimal(15), Decimal("0.3"), tiers=((200, Price(Decimal(6), Decimal(20))),)
)


def config(model: str) -> str:
    return f"version: v0.3\nproviders:\n  models:\n    - {{name: m, {model}}}\n"


def ref(*hosts: str) -> str:
    refs = ", ".join(f"{{base_url: '{host}', api_key: k}}" for host in hosts)
    return f"backend_refs: [{refs}]"


def test_what_goes_into_a_cache_has_its_price() -> None:
    url = "https://api.anthropic.com/v1/chat/completions"
    price = packaged_price(url, "claude-sonnet-4-5", AT)

    assert price is not None
    assert price.cache_write is not None
    assert price.cache_write > price.prompt


def test_a_known_model_of_a_known_provider_has_its_price() -> None:
    assert packaged_price(OPENAI, "gpt-4o-mini", AT) == Price(
        Decimal("0.15"), Decimal("0.6"), Decimal("0.075")
    )


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (OPENAI, "no-such-model"),
        ("https://llm.example.org/v1", "gpt-4o-mini"),
        ("http://api.openai.com/v1", "gpt-4o-mini"),
        ("http://127.0.0.1:8000/v1", "gpt-4o-mini"),
        ("", "gpt-4o-mini"),
        (OPENAI, "text-embedding-3-small"),
    ],
)
def test_what_is_not_known_has_no_price(url: str, model: str) -> None:
    assert packaged_price(url, model, AT) is None


def test_long_prompts_have_the_price_of_long_prompts() -> None:
    price = packaged_price("https://api.anthropic.com/v1", "claude-sonnet-4-5", AT)

    assert price is not None
    short, long = Usage(200_000, 1_000_000), Usage(200_001, 1_000_000)
    assert (price.cost(short), price.cost(long)) == (Decimal("15.6"), Decimal("23.700006"))


def test_the_worst_case_is_never_less_than_the_cost() -> None:
    for prompt, answer, cached in ((100, 9, 50), (200, 9, 0), (201, 9, 201), (5000, 0, 1)):
        usage = Usage(prompt, answer, prompt_details={"cached_tokens": cached})

        assert LONG.worst(prompt, answer) >= LONG.cost(usage)
        assert LONG.worst(prompt + 1000, answer + 10) >= LONG.cost(usage)


def test_the_worst_case_takes_no_cache_for_granted() -> None:
    dear = Price(Decimal(1), Decimal(1), Decimal(5))

    assert dear.worst(1_000_000, 0) == 5


def test_nothing_is_fetched() -> None:
    packaged_price(OPENAI, "gpt-4o-mini", AT)

    assert not genai_prices.data_snapshot.get_snapshot().from_auto_update


def test_a_models_own_pricing_comes_first() -> None:
    own = "provider_model_id: gpt-4o-mini, pricing: {prompt_per_1m: 7, completion_per_1m: 8}, "
    loaded = parse_config(config(own + ref("https://api.openai.com/v1")))

    assert price_in(loaded, "m") == Price(Decimal(7), Decimal(8))


def test_pricing_that_is_not_in_dollars_is_not_replaced_by_a_guess() -> None:
    own = "provider_model_id: gpt-4o-mini, pricing: {currency: EUR, prompt_per_1m: 7}, "
    loaded = parse_config(config(own + ref("https://api.openai.com/v1")))

    assert prices_of(loaded) == {}


def test_the_dearest_backend_counts_and_one_unknown_makes_all_unknown() -> None:
    model, openai = "provider_model_id: gpt-4o-mini, ", "https://api.openai.com/v1"
    several = parse_config(config(model + ref(openai, "https://router.example.org/v1")))
    same = parse_config(config(model + ref(openai, openai)))

    assert price_in(several, "m") is None
    assert price_in(same, "m") == packaged_price(OPENAI, "gpt-4o-mini", AT)


def test_a_model_that_is_not_configured_has_no_price() -> None:
    assert price_in(parse_config(config(ref("https://api.openai.com/v1"))), "other") is None
