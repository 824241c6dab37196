"""What an answer says, and what it used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.completion import Completion, Usage

tokens = st.integers(0, 10**12)
details = st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "x"]), tokens)
usages = st.builds(Usage, tokens, tokens, tokens, details, details)
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())
fields = ["prompt_tokens", "completion_tokens", "total_tokens"]
detail_fields = ["prompt_tokens_details", "completion_tokens_details"]
hostile = st.dictionaries(
    st.sampled_from(fields + detail_fields), anything | st.dictionaries(st.text(), anything)
)


def said(message: Any, **choice: Any) -> Completion:
    return Completion({"choices": [{"message": message, **choice}]}, "m")


@given(usages, usages, usages)
def test_usage_adds_in_any_order_and_grouping(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Usage() == a
    assert a + None == a


@given(usages, usages)
def test_a_sum_counts_every_detail_of_both(a: Usage, b: Usage) -> None:
    total = a + b
    for key in a.completion_details.keys() | b.completion_details.keys():
        expected = a.completion_details.get(key, 0) + b.completion_details.get(key, 0)
        assert total.completion_details[key] == expected
    assert total.cached_tokens == a.cached_tokens + b.cached_tokens
    assert total.total_tokens == a.total_tokens + b.total_tokens


@given(usages)
def test_usage_survives_its_body(usage: Usage) -> None:
    read = Usage.from_body(usage.as_body())
    assert read is not None
    assert read.as_body() == usage.as_body() | {"total_tokens": read.total_tokens}
    expected = usage.total_tokens or usage.prompt_tokens + usage.completion_tokens
    assert read.total_tokens == expected


@pytest.mark.parametrize("nothing", [None, [], "many", 5])
def test_no_usage_is_not_zero_usage(nothing: object) -> None:
    assert Usage.from_body(nothing) is None
    assert Usage.from_body({}) == Usage()


def test_nonsense_in_a_usage_counts_as_nothing() -> None:
    usage = Usage.from_body(
        {
            "prompt_tokens": -5,
            "completion_tokens": True,
            "total_tokens": "9",
            "prompt_tokens_details": {"cached_tokens": None, "audio_tokens": 2, "x": -1},
            "completion_tokens_details": [1],
        }
    )
    assert usage == Usage(prompt_details={"audio_tokens": 2})


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": " Hi "}, "Hi", ""),
        ({"content": None}, "", ""),
        ({"content": "Hi", "reasoning_content": "hm"}, "Hi", "hm"),
        ({"content": "Hi", "reasoning": "hm"}, "Hi", "hm"),
        ({"content": "Hi", "reasoning_content": " ", "reasoning": "hm"}, "Hi", "hm"),
        ({"content": "<think>hm</think>\nHi"}, "Hi", "hm"),
        (
            {"content": "\n<thinking>hm\n</thinking>Hi <think>not this</think>"},
            "Hi <think>not this</think>",
            "hm",
        ),
        ({"content": "<think>never ends"}, "", "never ends"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb", ""),
        ("not a message", "", ""),
    ],
)
def test_text_and_reasoning_are_told_apart(message: Any, text: str, reasoning: str) -> None:
    completion = said(message)
    assert (completion.text, completion.reasoning) == (text, reasoning)


def test_reasoning_may_stand_beside_the_message() -> None:
    assert said({"content": "Hi"}, reasoning_content="hm").reasoning == "hm"


@pytest.mark.parametrize(
    ("reason", "truncated"), [("length", True), ("max_tokens", True), ("stop", False), (5, False)]
)
def test_an_answer_at_its_token_limit_is_truncated(reason: Any, truncated: bool) -> None:
    assert said({"content": "Hi"}, finish_reason=reason).truncated is truncated


def test_a_replaced_text_leaves_nothing_of_the_old_answer() -> None:
    old = Completion(
        {
            "id": "up",
            "choices": [
                {
                    "message": {"content": "x", "tool_calls": [{"id": "1"}]},
                    "logprobs": {"content": []},
                    "finish_reason": "tool_calls",
                    "index": 0,
                },
                {"index": 1, "message": {"content": "second"}},
            ],
        },
        "m",
        Usage(1, 2, 3),
    )
    new = old.with_text("B")
    assert new.choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "B"},
        "finish_reason": "stop",
    }
    assert new.body["choices"][1] == old.body["choices"][1]
    assert (new.model, new.usage, new.body["id"]) == ("m", Usage(1, 2, 3), "up")
    assert old.text == "x"


def test_a_replaced_text_keeps_a_true_finish_reason() -> None:
    assert said({"content": "x"}, finish_reason="length").with_text("B").finish_reason == "length"


@given(hostile)
def test_reading_usage_never_raises_and_never_goes_below_zero(body: dict[str, Any]) -> None:
    usage = Usage.from_body(body)
    assert usage is not None
    counted = [*usage.prompt_details.values(), *usage.completion_details.values()]
    assert min(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, *counted) >= 0
    assert all(type(count) is int for count in counted)


@pytest.mark.parametrize(
    "usage",
    [
        {"cache_creation_input_tokens": 7},
        {"prompt_tokens_details": {"cache_creation_tokens": 7}},
        {"prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 7}},
        {"cache_creation_input_tokens": 7, "prompt_tokens_details": {"cache_creation_tokens": 7}},
    ],
)
def test_tokens_that_went_into_a_cache_are_known_by_any_name(usage: dict[str, Any]) -> None:
    read = Usage.from_body({"prompt_tokens": 9, "completion_tokens": 1, **usage})

    assert read is not None
    assert read.cache_write_tokens == 7
    assert Usage.from_body(read.as_body()) == read
