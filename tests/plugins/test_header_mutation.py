"""Plugin `header_mutation`: which headers may be changed, and how they travel."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.plugins.base import PluginBinding
from support.plugin_parts import plugin, request


def header(name: str, value: str = "v") -> dict[str, str]:
    return {"name": name, "value": value}


def test_changes_travel_with_the_request() -> None:
    bound = plugin(
        "header_mutation",
        add=[header("X-Tier", "gold")],
        update=[header("x-source", "router")],
        delete=["X-Trace"],
    )

    changes = bound.edit(request("hi")).headers

    sent = changes.applied({"X-Source": "old", "X-Trace": "on", "Authorization": "Bearer k"})
    assert sent == {"Authorization": "Bearer k", "x-tier": "gold", "x-source": "router"}


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "x-api-key",
        "cookie",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "proxy-authorization",
        "x-vsr-fusion-depth",
        "with space",
        "naïve",
        "a:b",
        "a\r\nb",
        "",
    ],
)
@pytest.mark.parametrize("where", ["add", "update", "delete"])
def test_header_that_is_not_to_be_changed_is_refused(where: str, name: str) -> None:
    entry: Any = name if where == "delete" else header(name)

    with pytest.raises(ValidationError):
        plugin("header_mutation", **{where: [entry]})


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "\x00", "🙂"])
def test_value_that_breaks_the_line_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        plugin("header_mutation", add=[header("x-a", value)])

    assert "must be one line" in str(caught.value)
    assert value not in str(caught.value)


def test_one_header_in_two_places_is_refused() -> None:
    with pytest.raises(ValueError, match='"x-a" is named twice'):
        plugin("header_mutation", add=[header("X-A")], delete=["x-a"])


def test_header_that_carries_a_backends_key_is_refused() -> None:
    binding = PluginBinding(credential_headers=frozenset(("x-tok",)))

    with pytest.raises(ValueError, match='"x-tok" carries the key'):
        plugin("header_mutation", binding, delete=["X-Tok"])


def test_values_are_shown_nowhere() -> None:
    bound = plugin("header_mutation", add=[header("x-a", "canary")])

    shown = [repr(bound.options), str(bound.options.model_dump()), bound.effect(request("hi"))]
    shown.append(repr(bound.edit(request("hi"))))

    assert not any("canary" in text for text in shown)


def test_effect_names_the_headers() -> None:
    bound = plugin("header_mutation", add=[header("X-A")], delete=["X-B", "X-C"])

    assert bound.effect(request("hi")) == "adds x-a; drops x-b, x-c"
    assert plugin("header_mutation").effect(request("hi")) == "changes nothing"
