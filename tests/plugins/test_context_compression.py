"""Plugin `context_compression`: when it acts, on what, and what it never touches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from consilience.plugins.base import PluginBinding
from consilience.plugins.context_compression import JSON_CHARS, conversation_tokens
from consilience.plugins.extract import tokens_of
from support.plugin_parts import plugin, request, system

LONG = "\n".join(f"line {i}: all is well with worker {i}" for i in range(1000))
"""About 9,200 tokens."""
TARGETS = {"tool_outputs": {"min_tokens": 200, "target_tokens": 100}}


def tool(content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": content}


def compression(window: int | None = None, **configuration: Any) -> Any:
    binding = PluginBinding(context_window=window)
    return plugin("context_compression", binding, **{"targets": TARGETS, **configuration})


def edited(bound: Any, *messages: Any, **fields: Any) -> Any:
    return bound.edit(request(*messages, **fields)).messages


def test_nothing_happens_without_a_window_and_a_trigger() -> None:
    given = request("why?", tool(LONG))

    assert compression().edit(given) is given
    assert "no model of the decision has a context_window_size" in compression().effect(given)


@pytest.mark.parametrize(
    ("window", "fields", "shortened"),
    [
        (13_000, {}, False),
        (12_000, {}, True),
        (13_000, {"max_tokens": 4000}, True),
        (13_000, {"max_completion_tokens": 3000}, False),
    ],
)
def test_auto_trigger_is_a_share_of_the_window_less_the_answer(
    window: int, fields: dict[str, Any], shortened: bool
) -> None:
    given = request("why?", tool(LONG), **fields)
    assert 9_000 < conversation_tokens(given) < 9_750

    assert (compression(window).edit(given) is not given) is shortened


def test_reserve_that_is_set_goes_before_the_requests() -> None:
    bound = compression(13_000, budget={"reserve_output_tokens": 4000})
    given = request("why?", tool(LONG), max_tokens=1)

    assert bound.edit(given) is not given


def test_trigger_that_is_set_needs_no_window() -> None:
    messages = edited(compression(budget={"trigger_tokens": 1000}), "line 500?", tool(LONG))

    assert tokens_of(messages[1]["content"]) <= 100
    assert "left out" in messages[1]["content"]
    assert "line 500: " in messages[1]["content"]


def test_oldest_outputs_are_shortened_first_and_no_more_than_needed() -> None:
    bound = compression(budget={"trigger_tokens": 10_000})

    messages = edited(bound, "why?", tool(LONG), tool(LONG))

    assert len(messages[1]["content"]) < 1000
    assert messages[2]["content"] == LONG


def test_target_of_the_budget_goes_on_below_the_trigger() -> None:
    bound = compression(budget={"trigger_tokens": 10_000, "target_tokens": 2000})

    messages = edited(bound, "why?", tool(LONG), tool(LONG))

    assert all(len(message["content"]) < 1000 for message in messages[1:])


def test_only_tool_outputs_that_are_long_enough_are_touched() -> None:
    turns = [
        system(LONG),
        LONG,
        {"role": "assistant", "content": LONG, "tool_calls": [{"id": "c", "type": "function"}]},
        tool("short"),
        {"role": "function", "name": "f", "content": LONG},
        "why?",
    ]

    messages = edited(compression(budget={"trigger_tokens": 1}), *turns)

    unchanged = [a == b for a, b in zip(messages, request(*turns).messages, strict=True)]
    assert unchanged == [True, True, True, True, False, True]


def test_parts_keep_their_form_and_media_stay() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    text = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}

    (_, message) = edited(compression(budget={"trigger_tokens": 1}), "why?", tool([text, image]))

    assert message["content"][1] == image
    assert message["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert tokens_of(message["content"][0]["text"]) <= 100


def test_json_stays_json_and_only_its_texts_get_shorter() -> None:
    value = {"rows": [{"id": 2**70, "ok": True, "none": None, "log": LONG}], "short": "kept"}

    (_, message) = edited(compression(budget={"trigger_tokens": 1}), "?", tool(json.dumps(value)))

    got = json.loads(message["content"])
    log = got["rows"][0].pop("log")
    assert got == {"rows": [{"id": 2**70, "ok": True, "none": None}], "short": "kept"}
    assert "left out" in log
    assert tokens_of(message["content"]) <= 120


def test_json_without_long_texts_stays_whole() -> None:
    numbers = json.dumps(list(range(5000)))

    (_, message) = edited(compression(budget={"trigger_tokens": 1}), "?", tool(numbers))

    assert message["content"] == numbers


@pytest.mark.parametrize(
    "text", ["{" + LONG, "[" * 5000, json.dumps(["x" * 80] * (JSON_CHARS // 80))]
)
def test_what_is_no_json_or_too_much_of_it_is_cut_like_any_text(text: str) -> None:
    (_, message) = edited(compression(budget={"trigger_tokens": 1}), "why?", tool(text))

    assert tokens_of(message["content"]) <= 100


def test_preserved_outputs_stay() -> None:
    bound = plugin(
        "context_compression",
        budget={"trigger_tokens": 1},
        targets={"tool_outputs": {"mode": "preserve"}},
    )
    given = request("why?", tool(LONG))

    assert bound.edit(given) is given


def test_the_clients_request_is_left_alone() -> None:
    given = request("why?", tool(LONG))
    before = repr(given.body)

    compression(budget={"trigger_tokens": 1}).edit(given)

    assert repr(given.body) == before


def test_tools_and_calls_count() -> None:
    plain = conversation_tokens(request("hi"))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 400}}
    called = request("hi", {"role": "assistant", "content": None, "tool_calls": [call]})

    assert conversation_tokens(called) > plain + 100
    assert conversation_tokens(request("hi", tools=[{"x": "y" * 400}])) > plain + 100


@pytest.mark.parametrize("value", ["lots", 0, -1, True, 1.5])
def test_budget_that_is_no_number_of_tokens_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="auto"):
        compression(budget={"trigger_tokens": value})


def test_target_above_the_threshold_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be below min_tokens, 10"):
        compression(targets={"tool_outputs": {"min_tokens": 10, "target_tokens": 10}})


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"targets": {"tool_outputs": {"mode": "recoverable"}}}, "nothing is kept for recovery"),
        ({"targets": {"history": {"mode": "extractive"}}}, "`history` is preserved"),
        ({"scoring": {"method": "hybrid"}}, "works as bm25"),
        ({"failure_mode": "fail_closed"}, "is sent as it is"),
    ],
)
def test_what_is_not_acted_on_is_a_warning(configuration: dict[str, Any], told: str) -> None:
    (warning,) = compression(**configuration).warnings()

    assert told in warning


def test_effect_says_how_much_shorter() -> None:
    bound = compression(budget={"trigger_tokens": 1000})

    assert bound.effect(request("hi")) == ("changes nothing up to 1,000 tokens; these are about 5")
    assert "about 9,454 tokens become " in bound.effect(request("why?", tool(LONG)))
