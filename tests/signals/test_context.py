from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.chat.request import ChatRequest
from consilience.signals.base import RequestFacts, SignalResult
from consilience.signals.context import Context, ContextRule, parse_size
from consilience.signals.estimate import estimate_tokens


def request(*messages: Any, **fields: Any) -> ChatRequest:
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return ChatRequest({"model": "m", "messages": turns, **fields})


def result(of: ChatRequest, **band: Any) -> SignalResult:
    rule = ContextRule.model_validate({"name": "band", **band})
    return Context([rule]).find(RequestFacts(of))["band"]


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("0", 0), ("999", 999), ("32K", 32_000), ("2k", 2_000), (" 1M ", 1_000_000), ("1.5K", 1_500)],
)
def test_size_is_read_when_it_has_a_unit(written: str, tokens: int) -> None:
    assert parse_size(written) == tokens


@pytest.mark.parametrize("written", ["", "K", "1G", "-1", "1e3", "0.0001K", "٣K", "1 000", "nan"])
def test_size_is_refused_when_it_is_not_a_count(written: str) -> None:
    with pytest.raises(ValueError, match=r"token count|whole number"):
        parse_size(written)


@pytest.mark.parametrize("value", [-1, 1.5, True, [1], None])
def test_minimum_is_refused_when_it_is_no_size(value: Any) -> None:
    with pytest.raises(ValidationError):
        ContextRule.model_validate({"name": "r", "min_tokens": value})


def test_band_is_refused_when_it_is_reversed() -> None:
    with pytest.raises(ValidationError, match="no request can fit"):
        ContextRule(name="r", min_tokens=2_000, max_tokens=1_999)


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_band_includes_both_ends_when_it_has_them(low: int, span: int, tokens: int) -> None:
    rule = ContextRule(name="r", min_tokens=low, max_tokens=low + span + 1)
    assert rule.holds(low)
    assert rule.holds(low + span + 1)
    assert rule.holds(tokens) == (low <= tokens <= low + span + 1)


def test_band_has_no_upper_end_when_none_is_given() -> None:
    big = request("x" * 400_000)
    assert result(big, min_tokens="32K").matched
    assert result(big, min_tokens="32K", max_tokens=0).matched
    assert not result(big, min_tokens="32K", max_tokens="64K").matched


def test_value_is_the_estimate_when_the_band_does_not_fit() -> None:
    outside = result(request("x" * 40), max_tokens=3)
    assert (outside.matched, outside.value) == (False, 14.0)


def test_text_of_every_message_counts_when_there_are_several() -> None:
    turns = ({"role": "system", "content": "x" * 8}, "y" * 8, {"role": "assistant", "content": "z"})
    assert estimate_tokens(request(*turns)) == 5 + 3 * 4


def test_bytes_count_when_the_text_is_not_ascii() -> None:
    assert estimate_tokens(request("比" * 4)) == 3 + 4


def test_image_counts_as_its_envelope_when_a_message_has_parts() -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}},
    ]
    assert estimate_tokens(request({"role": "user", "content": parts})) == 3 + 4 + 8192


def test_tools_count_by_the_byte_when_they_are_defined_and_called() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    plain = estimate_tokens(request("hi", {"role": "assistant", "content": None}))
    defined = len('[{"type":"function","function":{"name":"f"}}]') + 8
    called = len('[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]') + 8
    assert estimate_tokens(request("hi", message, tools=tools)) == plain + defined + called


def test_old_style_functions_count_when_they_are_used() -> None:
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f"}}
    plain = estimate_tokens(request("hi", {"role": "assistant", "content": None}))
    used = estimate_tokens(request("hi", legacy, functions=[{"name": "f"}]))
    assert used == plain + len('{"name":"f"}') + 8 + len('[{"name":"f"}]') + 8


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_requested_answer_counts_when_the_client_limits_it(field: str) -> None:
    assert estimate_tokens(request("hi", **{field: 500})) == estimate_tokens(request("hi")) + 500


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize("value", [5, "x", {"a": 1}, True])
def test_what_is_no_list_of_tools_is_counted_as_text_only(name: str, value: object) -> None:
    plain = estimate_tokens(request("hi"))
    assert plain <= estimate_tokens(request("hi", **{name: value})) <= plain + 10
