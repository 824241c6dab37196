"""LangChain's ChatOpenAI."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from .live_gateway import LiveGateway
from .model_server import ModelServer
from .scenario import (
    ANSWER,
    ATTEMPTS,
    BROKEN,
    CALLS,
    DETAILS,
    DOWN,
    FAILED_PANEL,
    FUSION,
    HELD,
    LOGS_NOTHING_OF,
    MODELS,
    PIECES,
    PLAIN,
    QUESTION,
    STRUCTURED,
    TOKENS,
    TOOL_ANSWER,
    TOOL_ARGUMENTS,
    TOOL_ID,
    TOOL_NAME,
    TOOL_RESULT,
)


class Connect:
    """Gives chat models on one HTTP client, which ends with the test."""

    def __init__(self, url: str, http: Any) -> None:
        self.url = url
        self._http = http

    def __call__(self, model: str, **settings: Any) -> ChatOpenAI:
        return ChatOpenAI(
            model=model,
            base_url=self.url,
            api_key="unused",  # type: ignore[arg-type]  # its own validator makes a secret of it
            http_client=self._http,
            **settings,
        )


@pytest.fixture
def connect(gateway: LiveGateway) -> Iterator[Connect]:
    with openai.DefaultHttpxClient() as http:
        yield Connect(gateway.url, http)


@tool
def get_weather(city: str, unit: str) -> str:
    """Tells the weather of a city."""
    return TOOL_RESULT


@pytest.mark.parametrize("model", MODELS)
def test_langchain_invoke_is_whole_and_summed(
    connect: Connect, models: ModelServer, model: str
) -> None:
    answer = connect(model).invoke(QUESTION)

    assert isinstance(answer, AIMessage)
    assert answer.content == ANSWER
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["model_name"] == PLAIN
    assert _tokens(answer) == TOKENS[model]
    assert answer.usage_metadata is not None
    cached, reasoned = DETAILS[model]
    assert answer.usage_metadata["input_token_details"]["cache_read"] == cached
    assert answer.usage_metadata["output_token_details"]["reasoning"] == reasoned
    assert models.called == CALLS[model]


def test_langchain_shows_headers_that_say_how_it_was_answered(connect: Connect) -> None:
    # LangChain drops body fields that it does not know, the trace among them
    answer = connect(FUSION, include_response_headers=True).invoke(QUESTION)

    headers = answer.response_metadata["headers"]
    assert headers["x-vsr-selected-decision"] == "deliberate"


@pytest.mark.parametrize("model", MODELS)
def test_langchain_stream_arrives_while_the_model_still_writes(
    connect: Connect, models: ModelServer, model: str
) -> None:
    models.answer(writer=HELD)
    pieces: list[str] = []
    whole: Any = None
    for chunk in connect(model, stream_usage=True).stream(QUESTION):
        if isinstance(chunk.content, str) and chunk.content:
            pieces.append(chunk.content)
            models.release()
        whole = chunk if whole is None else whole + chunk

    assert tuple(pieces) == PIECES
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["model_name"] == PLAIN
    assert _tokens(whole) == TOKENS[model]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_langchain_tool_call_and_its_result_lead_to_an_answer(
    connect: Connect, models: ModelServer, model: str, stream: bool
) -> None:
    bound = connect(model, streaming=stream).bind_tools([get_weather])
    called = bound.invoke(QUESTION)
    assert isinstance(called, AIMessage)
    assert [(c["id"], c["name"], c["args"]) for c in called.tool_calls] == [
        (TOOL_ID, TOOL_NAME, TOOL_ARGUMENTS)
    ]
    assert called.response_metadata["finish_reason"] == "tool_calls"

    result = get_weather.invoke(called.tool_calls[0])
    assert isinstance(result, ToolMessage)
    answer = bound.invoke([HumanMessage(QUESTION), called, result])

    assert answer.content == TOOL_ANSWER
    assert models.called == sorted(CALLS[model] * 2)


@pytest.mark.parametrize("model", MODELS)
def test_langchain_structured_output_is_read(connect: Connect, model: str) -> None:
    class Capital(BaseModel):
        city: str
        country: str

    asking = connect(model).with_structured_output(Capital, method="json_schema")

    assert asking.invoke(QUESTION) == Capital(**STRUCTURED)


@pytest.mark.parametrize("model", MODELS)
def test_langchain_async_stream_is_whole(gateway: LiveGateway, model: str) -> None:
    async def ask() -> list[AIMessageChunk]:
        async with openai.DefaultAsyncHttpxClient() as http:
            chat = Connect(gateway.url, _NO_CLIENT)(model, http_async_client=http)
            return [chunk async for chunk in chat.astream(QUESTION)]

    chunks = asyncio.run(ask())

    assert tuple(chunk.content for chunk in chunks if chunk.content) == PIECES


_NO_CLIENT: Any = None


@pytest.mark.parametrize("stream", [False, True])
def test_langchain_shows_the_message_of_an_unknown_model(
    connect: Connect, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'vllm-sr/fusion'"):
        connect("vllm-sr/fusio", streaming=stream).invoke(QUESTION)

    assert (gateway.requests, models.called) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
def test_langchain_does_not_try_a_failed_panel_again(
    connect: Connect, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with pytest.raises(openai.InternalServerError, match="alpha") as raised:
        connect(FUSION, streaming=stream).invoke(QUESTION)

    assert (raised.value.status_code, raised.value.code) == (502, "panel_failed")
    assert LOGS_NOTHING_OF not in str(raised.value)
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


def test_langchain_leaves_trying_a_failed_plain_model_again_to_the_gateway(
    connect: Connect, gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(writer=DOWN)
    with pytest.raises(openai.InternalServerError):
        connect(PLAIN).invoke(QUESTION)

    assert (gateway.requests, models.called) == (1, [PLAIN] * ATTEMPTS)


@pytest.mark.parametrize("model", MODELS)
def test_langchain_stream_that_breaks_raises_after_what_came(
    connect: Connect, gateway: LiveGateway, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    pieces = []
    with pytest.raises(openai.APIError, match="model 'writer'"):
        for chunk in connect(model).stream(QUESTION):
            pieces.append(chunk.content)  # noqa: PERF401  # it ends in an error

    assert tuple(filter(None, pieces)) == PIECES[:2]
    assert (gateway.requests, models.called) == (1, CALLS[model])


def test_langchain_raises_an_error_after_the_stream_opened(
    eager_gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with openai.DefaultHttpxClient() as http, pytest.raises(openai.APIError, match="alpha"):
        list(Connect(eager_gateway.url, http)(FUSION).stream(QUESTION))

    assert (eager_gateway.requests, models.called) == (1, FAILED_PANEL)


def _tokens(message: Any) -> tuple[int, int, int]:
    used = message.usage_metadata
    assert used is not None
    return used["input_tokens"], used["output_tokens"], used["total_tokens"]
