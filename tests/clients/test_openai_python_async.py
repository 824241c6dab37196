"""openai-python, asynchronous."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import openai
import pytest

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
    MODELS,
    PIECES,
    QUESTION,
    TOKENS,
    TOOL,
    TOOL_ANSWER,
    TOOL_ID,
    TOOL_RESULT,
    check_final_trace,
)

pytestmark = pytest.mark.anyio

ASKED: Any = [{"role": "user", "content": QUESTION}]
TOOLS: Any = [TOOL]


@pytest.fixture
async def client(gateway: LiveGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key="unused") as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
async def test_async_completion_is_whole_and_summed(client: openai.AsyncOpenAI, model: str) -> None:
    completion = await client.chat.completions.create(model=model, messages=ASKED)

    assert completion.choices[0].message.content == ANSWER
    assert completion.usage is not None
    assert completion.usage.total_tokens == TOKENS[model][2]
    trace = (completion.model_extra or {}).get("fusion")
    if model == FUSION:
        assert trace is not None
        check_final_trace(trace)
    else:
        assert trace is None


@pytest.mark.parametrize("model", MODELS)
async def test_async_stream_arrives_while_the_model_still_writes(
    client: openai.AsyncOpenAI, models: ModelServer, model: str
) -> None:
    models.answer(writer=HELD)
    pieces = []
    async for chunk in await client.chat.completions.create(
        model=model, messages=ASKED, stream=True
    ):
        if chunk.choices[0].delta.content:
            pieces.append(chunk.choices[0].delta.content)
            models.release()

    assert tuple(pieces) == PIECES
    assert chunk.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", MODELS)
async def test_async_stream_helper_takes_the_tool_round(
    client: openai.AsyncOpenAI, model: str
) -> None:
    async with client.chat.completions.stream(model=model, messages=ASKED, tools=TOOLS) as stream:
        called: Any = (await stream.get_final_completion()).choices[0].message.to_dict()
    called["tool_calls"][0]["function"].pop("parsed_arguments")
    result: Any = {"role": "tool", "tool_call_id": TOOL_ID, "content": TOOL_RESULT}
    async with client.chat.completions.stream(
        model=model, messages=[*ASKED, called, result], tools=TOOLS
    ) as stream:
        choice = (await stream.get_final_completion()).choices[0]

    assert (choice.message.content, choice.finish_reason) == (TOOL_ANSWER, "stop")


@pytest.mark.parametrize("model", MODELS)
async def test_async_stream_that_breaks_raises_after_what_came(
    client: openai.AsyncOpenAI, gateway: LiveGateway, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    pieces = []
    with pytest.raises(openai.APIError, match="model 'writer'"):
        async for chunk in await client.chat.completions.create(
            model=model, messages=ASKED, stream=True
        ):
            pieces.append(chunk.choices[0].delta.content)  # noqa: PERF401  # it ends in an error

    assert tuple(pieces) == PIECES[:2]
    assert (gateway.requests, models.called) == (1, CALLS[model])


async def test_async_failed_panel_is_not_tried_again(
    client: openai.AsyncOpenAI, gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with pytest.raises(openai.InternalServerError, match="alpha") as raised:
        await client.chat.completions.create(model=FUSION, messages=ASKED)

    assert (raised.value.status_code, raised.value.code) == (502, "panel_failed")
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


async def test_requests_at_once_do_not_mix(client: openai.AsyncOpenAI, models: ModelServer) -> None:
    answers: dict[int, str | None] = {}

    async def ask(position: int, model: str) -> None:
        completion = await client.chat.completions.create(model=model, messages=ASKED)
        assert completion.usage is not None
        assert completion.usage.total_tokens == TOKENS[model][2]
        answers[position] = completion.choices[0].message.content

    async with anyio.create_task_group() as group:
        for position in range(10):
            group.start_soon(ask, position, MODELS[position % 2])

    assert answers == dict.fromkeys(range(10), ANSWER)
    assert models.called == sorted([*CALLS[MODELS[0]] * 5, *CALLS[MODELS[1]] * 5])
