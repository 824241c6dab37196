"""What a client hears about a body that is wrong: status 400, and the field's path in `param`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consilience.chat.request import MAX_DEPTH, ChatRequest
from consilience.errors import InvalidRequestError

HI = [{"role": "user", "content": "hi"}]


def refused(raw: bytes | Any, **limits: int) -> InvalidRequestError:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    with pytest.raises(InvalidRequestError) as caught:
        ChatRequest.parse(raw, **limits)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"model": "m"',
        b"\xff\xfe",
        b'{"model": "\xff"}',
        b'{"seed": NaN, "big": 12345678901234567890}',
        b'{"seed": 1e400, "big": 12345678901234567890}',
        b'{"a": "\\ud800", "big": 12345678901234567890}',
        b"[" * 100_000,
        b'{"big": 12345678901234567890, "a": ' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    error = refused(raw)
    assert error.message.startswith("the body is not valid JSON: ")
    assert "\n" not in error.message
    assert error.param is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [([], "an array"), ("x", "a string"), (3, "a number"), (None, "null"), (True, "a boolean")],
)
def test_a_body_that_is_not_an_object_is_named(body: object, kind: str) -> None:
    assert refused(body).message == f"the body must be a JSON object, not {kind}"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "  "}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [*HI, {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "User", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"tools": {}}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"plugins": {}}, "plugins"),
        ({"plugins": ["fusion"]}, "plugins[0]"),
        ({"plugins": [{"id": "web"}, {"name": "fusion"}]}, "plugins[1]"),
        ({"plugins": [{"id": 7}]}, "plugins[0]"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"k" * 129: "v"}}, "metadata." + "k" * 64),
        ({"metadata": {"k": "v" * 1025}}, "metadata.k"),
        ({"metadata": {str(i): "v" for i in range(33)}}, "metadata"),
        ({"api_base": "https://elsewhere.example"}, "api_base"),
        ({"base_url": None}, "base_url"),
        ({"api_key": "sk-x"}, "api_key"),
        ({"extra_headers": {}}, "extra_headers"),
        ({"custom_llm_provider": "x"}, "custom_llm_provider"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], param: str) -> None:
    assert refused({"model": "m", "messages": HI, **changes}).param == param


def test_an_error_does_not_repeat_a_long_value_or_a_key() -> None:
    long = refused({"model": "m", "messages": HI, "temperature": "x" * 500})
    key = refused({"model": "m", "messages": HI, "api_key": "sk-secret"})
    assert "xxx" not in long.message
    assert "sk-secret" not in key.message


def test_an_infinite_temperature_is_refused_when_the_body_comes_decoded() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ChatRequest.from_body({"model": "m", "messages": HI, "temperature": float("inf")})
    assert caught.value.param == "temperature"


@pytest.mark.parametrize("field", ["stream", "temperature", "max_tokens", "n", "tools", "plugins"])
def test_null_is_as_good_as_absent(field: str) -> None:
    request = ChatRequest.from_body({"model": "m", "messages": HI, field: None})
    assert request.body[field] is None


def test_too_many_messages_are_refused_by_count() -> None:
    error = refused({"model": "m", "messages": HI * 3}, max_messages=2)
    assert error.param == "messages"
    assert "3 entries" in error.message


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"model": "m", "messages": HI, "deep": value}


def test_a_body_may_nest_to_the_limit_and_no_deeper() -> None:
    assert ChatRequest.from_body(nested(MAX_DEPTH + 1)).model == "m"
    assert str(MAX_DEPTH) in refused(nested(MAX_DEPTH + 2)).message


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "function_call": {"name": "f"}},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
    ],
)
def test_a_message_without_text_may_still_say_something(message: dict[str, Any]) -> None:
    assert ChatRequest.from_body({"model": "m", "messages": [message]}).messages == [message]
