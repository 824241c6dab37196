"""The official OpenAI client against a live gateway: answers, streams, errors, retries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.errors import UpstreamStatusError
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import HELLO
from support.live import fusion_yaml, live_gateway
from support.scripts import fusion_script

openai = pytest.importorskip("openai")
Client = Any
"""`openai.OpenAI`, which may not be installed."""

FUSION = "vllm-sr/fusion"
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


class Upstream(ScriptedUpstream):
    """Answers by what the request asks for, so that one server does for all tests."""

    def __init__(self) -> None:
        by_model = fusion_script(final=self._final)
        super().__init__({**by_model, "b": self._fails})

    def _final(self, request: ChatRequest) -> object:
        if request.body.get("tools"):
            return Reply(None, tool_calls=[CALL])
        if request.body.get("user") == "break":
            return Reply("one two three", breaks_after=2)
        if request.body.get("user") == "fail":
            return UpstreamStatusError("answered with status 500", model="j", status_code=500)
        return "The answer."

    def _fails(self, request: ChatRequest) -> object:
        return UpstreamStatusError(
            "answered with status 429", model="b", status_code=429, retry_after_s=0.01
        )


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def client(upstream: Upstream) -> Iterator[Client]:
    config = fusion_yaml(fusion="on_error: skip")
    with (
        live_gateway(config, upstream) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_an_answer_is_read_with_its_trace(client: Client) -> None:
    got = client.chat.completions.create(model=FUSION, messages=HELLO)
    assert got.choices[0].message.content == "The answer."
    assert got.usage.total_tokens == 45
    assert got.model_extra["fusion"]["models_used"] == ["a", "b", "j"]


def test_a_stream_is_read_to_its_end(client: Client) -> None:
    with client.chat.completions.stream(
        model=FUSION, messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        got = stream.get_final_completion()
    assert got.choices[0].message.content == "The answer."
    assert got.choices[0].finish_reason == "stop"
    assert got.usage.total_tokens == 45


def test_progress_does_not_disturb_the_helper(client: Client) -> None:
    plugins = [{"id": "fusion", "stream_progress": True}]
    with client.chat.completions.stream(
        model=FUSION, messages=HELLO, extra_body={"plugins": plugins}
    ) as stream:
        assert stream.get_final_completion().choices[0].message.content == "The answer."


def test_a_streamed_tool_call_is_put_together(client: Client) -> None:
    with client.chat.completions.stream(model=FUSION, messages=HELLO, tools=TOOLS) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == '{"x": 1}'


def test_a_break_in_the_middle_raises_with_our_words(client: Client) -> None:
    got = []
    with pytest.raises(openai.APIError, match="the connection broke"):
        for chunk in client.chat.completions.create(
            model=FUSION, messages=HELLO, stream=True, user="break"
        ):
            got.append(chunk.choices[0].delta.content)  # noqa: PERF401  # it fails on the way
    assert got == ["one"]


def test_errors_arrive_as_their_classes(client: Client) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model 'nope'"):
        client.chat.completions.create(model="nope", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="a", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "invalid_request")
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="b", messages=HELLO)


def test_a_client_that_retries_does_so_only_while_nothing_was_spent(
    client: Client, upstream: Upstream
) -> None:
    retrying = client.with_options(max_retries=2)
    before = len(upstream.calls)
    with pytest.raises(openai.RateLimitError):
        retrying.chat.completions.create(model="b", messages=HELLO)
    assert len(upstream.calls) - before == 3
    plugins = [{"id": "fusion", "on_error": "fail", "analysis_models": ["a"]}]
    before = len(upstream.calls)
    with pytest.raises(openai.InternalServerError):
        retrying.chat.completions.create(
            model=FUSION, messages=HELLO, user="fail", extra_body={"plugins": plugins}
        )
    assert len(upstream.calls) - before == 3


def test_models_are_listed(client: Client) -> None:
    assert FUSION in [model.id for model in client.models.list()]
    assert client.models.retrieve(FUSION).id == FUSION
