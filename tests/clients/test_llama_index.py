"""LlamaIndex's OpenAILike, `is_chat_model=True`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]  # no py.typed

from .live_gateway import LiveGateway
from .model_server import ModelServer
from .scenario import (
    ANSWER,
    BROKEN,
    CALLS,
    DOWN,
    FAILED_PANEL,
    FUSION,
    HELD,
    LOGS_NOTHING_OF,
    MODELS,
    PIECES,
    PLAIN,
    QUESTION,
    TOKENS,
    TOOL_ANSWER,
    TOOL_ARGUMENTS,
    TOOL_ID,
    TOOL_NAME,
    TOOL_RESULT,
    check_final_trace,
)

Connect = Callable[..., OpenAILike]
ASKED = [ChatMessage(role=MessageRole.USER, content=QUESTION)]


def connecting(url: str, http: Any) -> Connect:
    def connect(model: str, *, max_retries: int = 0, **settings: Any) -> OpenAILike:
        return OpenAILike(
            model=model,
            api_base=url,
            api_key="unused",
            is_chat_model=True,
            is_function_calling_model=True,
            max_retries=max_retries,
            http_client=http,
            **settings,
        )

    return connect


@pytest.fixture
def connect(gateway: LiveGateway) -> Iterator[Connect]:
    with openai.DefaultHttpxClient() as http:
        yield connecting(gateway.url, http)


def get_weather(city: str, unit: str) -> str:
    """Tells the weather of a city."""
    return TOOL_RESULT


TOOL = FunctionTool.from_defaults(fn=get_weather)


@pytest.mark.parametrize("model", MODELS)
def test_llama_index_chat_is_whole_and_summed(
    connect: Connect, models: ModelServer, model: str
) -> None:
    response = connect(model).chat(ASKED)

    assert response.message.content == ANSWER
    raw: Any = response.raw
    assert raw.choices[0].finish_reason == "stop"
    used = raw.usage
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == TOKENS[model]
    assert models.called == CALLS[model]


def test_llama_index_reaches_the_trace_in_raw(connect: Connect) -> None:
    raw: Any = connect(FUSION).chat(ASKED).raw

    check_final_trace(raw.model_extra["fusion"])


@pytest.mark.parametrize("model", MODELS)
def test_llama_index_stream_arrives_while_the_model_still_writes(
    connect: Connect, models: ModelServer, model: str
) -> None:
    models.answer(writer=HELD)
    pieces = []
    for response in connect(model).stream_chat(ASKED):
        if response.delta:
            pieces.append(response.delta)
            models.release()

    assert tuple(pieces) == PIECES
    assert response.message.content == ANSWER
    last: Any = response.raw
    assert last.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", MODELS)
def test_llama_index_stream_ends_with_the_summed_usage_when_asked(
    connect: Connect, model: str
) -> None:
    asking = connect(model, additional_kwargs={"stream_options": {"include_usage": True}})
    *_, last = asking.stream_chat(ASKED)

    raw: Any = last.raw
    used = raw.usage
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == TOKENS[model]
    assert last.message.content == ANSWER


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_llama_index_tool_call_and_its_result_lead_to_an_answer(
    connect: Connect, models: ModelServer, model: str, stream: bool
) -> None:
    asking = connect(model)
    if stream:
        *_, called = asking.stream_chat_with_tools([TOOL], user_msg=QUESTION)
    else:
        called = asking.chat_with_tools([TOOL], user_msg=QUESTION)
    calls = asking.get_tool_calls_from_response(called)
    assert [(c.tool_id, c.tool_name, c.tool_kwargs) for c in calls] == [
        (TOOL_ID, TOOL_NAME, TOOL_ARGUMENTS)
    ]

    result = ChatMessage(
        role=MessageRole.TOOL,
        content=str(TOOL(**calls[0].tool_kwargs)),
        additional_kwargs={"tool_call_id": calls[0].tool_id},
    )
    history = [*ASKED, called.message, result]
    answer = asking.chat_with_tools([TOOL], chat_history=history)

    assert answer.message.content == TOOL_ANSWER
    assert models.called == sorted(CALLS[model] * 2)


@pytest.mark.parametrize("stream", [False, True])
def test_llama_index_shows_the_message_of_an_unknown_model(
    connect: Connect, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    asking = connect("vllm-sr/fusio", max_retries=3)
    with pytest.raises(openai.NotFoundError, match="Did you mean 'vllm-sr/fusion'"):
        list(asking.stream_chat(ASKED)) if stream else asking.chat(ASKED)

    assert (gateway.requests, models.called) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
def test_llama_index_shows_why_the_panel_failed(
    connect: Connect, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with pytest.raises(openai.InternalServerError, match="alpha") as raised:
        list(connect(FUSION).stream_chat(ASKED)) if stream else connect(FUSION).chat(ASKED)

    assert (raised.value.status_code, raised.value.code) == (502, "panel_failed")
    assert LOGS_NOTHING_OF not in str(raised.value)
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


def test_llama_index_tries_a_failed_panel_three_times_on_its_own(
    connect: Connect, gateway: LiveGateway, models: ModelServer
) -> None:
    # openai-python below it heeds `x-should-retry: false`; LlamaIndex' own loop does not look
    models.answer(alpha=DOWN, beta=DOWN)
    with pytest.raises(openai.InternalServerError):
        connect(FUSION, max_retries=3).chat(ASKED)

    assert (gateway.requests, models.called) == (3, sorted(FAILED_PANEL * 3))


@pytest.mark.parametrize("model", MODELS)
def test_llama_index_stream_that_breaks_raises_after_what_came(
    connect: Connect, gateway: LiveGateway, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    pieces = []
    with pytest.raises(openai.APIError, match="model 'writer'"):
        for response in connect(model, max_retries=3).stream_chat(ASKED):
            pieces.append(response.delta)  # noqa: PERF401  # it ends in an error

    assert tuple(filter(None, pieces)) == PIECES[:2]
    assert (gateway.requests, models.called) == (1, CALLS[model])


def test_llama_index_raises_an_error_after_the_stream_opened(
    eager_gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with openai.DefaultHttpxClient() as http, pytest.raises(openai.APIError, match="alpha"):
        list(connecting(eager_gateway.url, http)(FUSION).stream_chat(ASKED))


def test_llama_index_complete_answers_too(connect: Connect) -> None:
    assert connect(PLAIN).complete(QUESTION).text == ANSWER
