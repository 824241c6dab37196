from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from consilience.config import Config, build_config, parse_config
from consilience.config.fields import parse_duration
from consilience.config.root import Listener

from .builders import MODELS, data, with_backend


def named() -> Config:
    return build_config(
        data(
            routing={
                "modelCards": [
                    {"name": "small", "context_window_size": 8192, "loras": [{"name": "law"}]},
                ]
            },
            entrypoints=[{"model_names": ["support"], "recipe": "desk"}],
            recipes=[{"name": "desk", "routing": {"strategy": "confidence"}}],
        ),
        environ={},
    )


def test_lookups_find_models_cards_loras_and_recipes() -> None:
    config = named()

    assert config.model_names == ("small", "large")
    assert config.lora_names == ("law",)
    assert config.askable == {"small", "large", "law"}
    assert config.lora_base("law") == "small"
    assert config.lora_base("small") is None
    assert config.model("small") is config.providers.models[0]
    assert config.model("law") is None
    assert config.card("law") is config.card("small")
    assert config.card("large") is None
    assert config.entrypoint("support") == "desk"
    assert config.entrypoint("small") is None
    assert config.recipe("default") is config.routing
    assert config.recipe("desk") is config.recipes[0].routing
    assert config.recipe("none") is None


def test_slugs_are_aliases_fusion_slugs_and_entrypoints() -> None:
    assert named().slugs == {"vllm-sr/auto", "auto", "MoM", "vllm-sr/fusion", "support"}


def test_configuration_is_frozen_and_equal_when_its_file_is() -> None:
    config = named()

    assert config == named()
    with pytest.raises(ValidationError):
        config.version = "v0.4"  # type: ignore[assignment]  # that is the point


@pytest.mark.parametrize(
    ("router", "names"),
    [
        ({}, ("vllm-sr/auto", "auto", "MoM")),
        ({"auto_model_name": "best"}, ("vllm-sr/auto", "auto", "best")),
        ({"auto_model_names": ["x", "x", " y "], "auto_model_name": "best"}, ("x", "y")),
        ({"auto_model_names": []}, ()),
    ],
)
def test_auto_names_are_those_in_force(router: dict[str, Any], names: tuple[str, ...]) -> None:
    assert build_config(data(**{"global": {"router": router}})).global_.router.auto_names == names


@pytest.mark.parametrize(
    ("names", "slugs"),
    [(None, {"vllm-sr/fusion"}), ([], {"vllm-sr/fusion"}), (["a", "b"], {"a", "b"})],
)
def test_fusion_slugs_fall_back_to_the_default_one(
    names: list[str] | None, slugs: set[str]
) -> None:
    fusion = {} if names is None else {"model_names": names}
    config = build_config(data(**{"global": {"integrations": {"looper": {"fusion": fusion}}}}))

    assert config.fusion_slugs == slugs


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ({"base_url": "https://h/v1"}, "https://h/v1/chat/completions"),
        ({"base_url": "https://h/v1/"}, "https://h/v1/chat/completions"),
        ({"base_url": "https://h", "chat_path": "/x/chat"}, "https://h/x/chat"),
        ({"endpoint": "h:8000"}, "http://h:8000/v1/chat/completions"),
        ({"endpoint": "h"}, "http://h:80/v1/chat/completions"),
        ({"endpoint": "h", "protocol": "https"}, "https://h:443/v1/chat/completions"),
        ({"endpoint": "[::1]:9"}, "http://[::1]:9/v1/chat/completions"),
        ({"endpoint": "[::1]"}, "http://[::1]:80/v1/chat/completions"),
        ({"endpoint": "h:1", "chat_path": "chat"}, "http://h:1/chat"),
        (
            {"base_url": "https://h", "api_version": "2025-03-01"},
            "https://h/chat/completions?api-version=2025-03-01",
        ),
        (
            {"base_url": "https://h", "chat_path": "c?a=b", "api_version": "1 2"},
            "https://h/c?a=b&api-version=1%202",
        ),
        ({"provider": "local"}, ""),
    ],
)
def test_chat_url_is_built_from_the_parts(backend: dict[str, Any], url: str) -> None:
    ref = with_backend(**backend).providers.models[0].backend_refs[0]

    assert ref.chat_url == url
    assert ref.is_local == (not url)


def test_prices_are_exact() -> None:
    text = MODELS.replace(
        "- name: small", "- name: small\n      pricing: {prompt_per_1m: 0.1, completion_per_1m: 3}"
    )

    pricing = parse_config(text, environ={}).providers.models[0].pricing

    assert pricing is not None
    assert (pricing.prompt_per_1m, pricing.completion_per_1m) == (Decimal("0.1"), Decimal(3))
    assert pricing.cached_input_per_1m is None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(30, 30), (1.5, 1.5), ("300s", 300), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("7", 7)],
)
def test_duration_is_read_when_it_is_one(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["", "5", 0, -1, "0s", "1d", "m", True, None, "9999h", "5 m "])
def test_duration_is_refused_when_it_is_none(written: object) -> None:
    if written == "5":
        assert parse_duration(written) == 5
        return
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_listener_knows_whether_it_is_loopback(address: str, loopback: bool) -> None:
    assert Listener(address=address).is_loopback is loopback


def test_strategy_of_the_router_holds_where_a_profile_sets_none() -> None:
    config = build_config(
        data(
            recipes=[
                {"name": "a", "routing": {}},
                {"name": "b", "routing": {"strategy": "priority"}},
            ],
            **{"global": {"router": {"strategy": "confidence"}}},
        )
    )

    assert config.routing.strategy == "confidence"
    assert [recipe.routing.strategy for recipe in config.recipes] == ["confidence", "priority"]
