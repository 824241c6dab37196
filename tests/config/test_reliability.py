"""`reliability` of a model: read, refused with its place, and doubted."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.config import Config, build_config
from consilience.errors import ConfigError

REFS = [{"endpoint": "127.0.0.1:8001"}, {"endpoint": "127.0.0.1:8002"}]


def _config(**reliability: Any) -> Config:
    models = [{"name": "small", "backend_refs": REFS, "reliability": reliability}]
    return build_config({"providers": {"models": models}}, environ={})


def test_the_reference_s_block_is_read() -> None:
    config = _config(
        lb_policy="least_request",
        retry_count=2,
        retry_on="connect-failure, refused-stream",
        consecutive_5xx=5,
        base_ejection_time="1m",
        max_ejection_percent=50,
        health_check_path="/health",
        health_check_interval="10s",
        health_check_timeout="2s",
    )
    settings = config.providers.models[0].reliability
    assert settings.retry_on == ("connect-failure", "refused-stream")
    assert (settings.base_ejection_time, settings.health_check_interval) == (60.0, 10.0)
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lb_policy", "ring_hash"),
        ("retry_count", -1),
        ("retry_count", 11),
        ("retry_on", 5),
        ("consecutive_5xx", "5"),
        ("base_ejection_time", "soon"),
        ("max_ejection_percent", 101),
        ("health_check_path", "health"),
        ("health_check_path", "https://elsewhere.example.org/"),
        ("health_check_interval", 0),
        ("retries", 3),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        _config(**{key: value})
    assert [p.path for p in caught.value.problems] == [f"providers.models[0].reliability.{key}"]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"retry_on": "connect-failure,gateway-eror"}, "retry_on"),
        ({"health_check_interval": "1s", "health_check_timeout": "2s"}, "health_check_timeout"),
    ],
)
def test_what_has_no_effect_is_a_warning(settings: dict[str, Any], path: str) -> None:
    (warning,) = _config(**settings).warnings
    assert warning.path == f"providers.models[0].reliability.{path}"
    assert warning.suggestion
