"""Whatever JSON stands in a request: a well-formed answer or a well-formed error, never a 500."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consilience.app import create_app
from consilience.config import parse_config
from consilience.loopers.fusion.options import FusionPlugin
from consilience.upstream.scripted import ScriptedUpstream
from support.asgi import post, started
from support.client import HELLO, Response
from support.live import fusion_yaml
from support.scripts import fusion_script

SIGNALS = (
    "routing:\n  signals:\n    keywords: [{name: k, operator: OR, keywords: [hello, code]}]\n"
    "    context: [{name: c, min_tokens: 0, max_tokens: 9K}]\n"
)
RULES = "rules: {operator: OR, conditions: [{type: keyword, name: k}, {type: context, name: c}]}"
CONFIG = parse_config(fusion_yaml(decision=RULES).replace("routing:\n", SIGNALS))
APP = create_app(CONFIG, upstream=ScriptedUpstream(fusion_script()))
PLUGINS = """plugins:
        - {type: response_cache, configuration: {request_controls: {enabled: true}}}
        - type: tools
          configuration: {mode: filtered, allow_tools: [f], strip_tool_history: true}
        - type: context_compression
          configuration:
            budget: {trigger_tokens: 1}
            targets: {tool_outputs: {min_tokens: 2, target_tokens: 1}}
        - {type: system_prompt, configuration: {mode: append, system_prompt: Be brief.}}
        - type: request_params
          configuration: {strip_unknown: true, max_tokens_limit: 9, max_n: 1}
        - {type: header_mutation, configuration: {delete: [x-a]}}
"""
PLUGGED = create_app(
    parse_config(fusion_yaml(decision=PLUGINS)), upstream=ScriptedUpstream(fusion_script())
)

FIELDS = (
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens",
    "max_completion_tokens", "n", "stop", "seed", "tools", "tool_choice", "functions",
    "function_call", "response_format", "metadata", "plugins", "logprobs", "logit_bias", "user",
    "reasoning_effort", "reasoning", "modalities", "store", "presence_penalty", "service_tier",
    "prediction", "fusion", "error", "",
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=9), inner, max_size=4
        )
    ),
    max_leaves=12,
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "refusal", "x"])},
    optional={"text": JSON, "image_url": JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES},
    optional={
        "content": JSON | st.lists(PARTS, max_size=3),
        "tool_calls": JSON,
        "tool_call_id": JSON,
        "name": JSON,
        "reasoning_content": JSON,
    },
)
PLUGIN = st.dictionaries(st.sampled_from(sorted(FusionPlugin.model_fields)), JSON, max_size=3).map(
    lambda fields: {**fields, "id": "fusion"}
)
NAMES = st.sampled_from(["a", "auto", "vllm-sr/fusion", " a ", "gpt"])


def _body(**fields: Any) -> dict[str, Any]:
    return {"model": "vllm-sr/fusion", "messages": HELLO, **fields}


def _asked(body: object, app: Any = APP) -> Response:
    async def ask() -> Response:
        async with started(app):
            with anyio.fail_after(20):
                return await post(app, body)

    return anyio.run(ask)


def _check(reply: Response) -> None:
    assert reply.status != 500, reply.body
    if reply.status != 200:
        assert 400 <= reply.status < 600
        assert isinstance(reply.error["message"], str)
    elif reply.headers["content-type"].startswith("text/event-stream"):
        *chunks, last = reply.events
        assert last == "[DONE]" or "error" in last
        assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    else:
        assert reply.json["object"] == "chat.completion"
        assert reply.json["choices"]


def _check_plugged(body: object) -> None:
    """Asks where plugins act on the request: none of them may fail at anything that is accepted."""
    reply = _asked(body, PLUGGED)
    _check(reply)
    assert "failed" not in reply.headers.get("x-vsr-response-warnings", "")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FIELDS), JSON, NAMES)
@example("stream_options", {"include_usage": 1}, "a")
@example("seed", -(2**80), "vllm-sr/fusion")
@example("max_tokens", 2**80, "vllm-sr/fusion")
@example("plugins", [{"id": "fusion", "analysis_models": [None]}], "vllm-sr/fusion")
@example("functions", 5, "auto")
@example("tools", [5, {"function": 5}, {"function": {"name": 5}}], "auto")
@example("tool_choice", {"allowed_tools": {"tools": [None]}}, "auto")
def test_any_value_in_any_field_is_answered_or_refused(name: str, value: Any, model: str) -> None:
    _check(_asked(_body(**{"model": model, name: value})))
    _check_plugged(_body(**{"model": model, name: value}))


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGES, max_size=4), NAMES, st.booleans())
def test_any_conversation_is_answered_or_refused(
    messages: list[Any], model: str, stream: bool
) -> None:
    _check(_asked(_body(messages=messages, model=model, stream=stream)))
    _check_plugged(_body(messages=messages, model=model, stream=stream))


@settings(max_examples=150, deadline=None)
@given(PLUGIN, st.booleans())
@example({"id": "fusion", "analysis_models": [{"model": "a", "seed": 2**80}]}, False)
@example({"id": "fusion", "analysis_models": ["a"], "reasoning": {"effort": "low"}}, True)
def test_any_plugin_is_obeyed_or_refused(plugin: dict[str, Any], stream: bool) -> None:
    _check(_asked(_body(plugins=[plugin], stream=stream)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | JSON)
def test_any_body_is_answered_or_refused(body: Any) -> None:
    reply = _asked(body)
    _check(reply)
    assert reply.status == 400


@pytest.mark.parametrize("header", ["x-vsr-debug", "x-vsr-fusion-depth", "x-request-id", "accept"])
@settings(max_examples=30, deadline=None)
@given(value=st.text(st.characters(max_codepoint=255), max_size=20))
def test_any_header_is_borne(header: str, value: str) -> None:
    async def ask() -> Response:
        async with started(APP):
            return await post(APP, _body(), {header: value})

    _check(anyio.run(ask))
