"""openai-python, synchronous: loops, the `.stream()` helper, tools, `.parse`, errors, retries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from .live_gateway import LiveGateway
from .model_server import Answer, ModelServer
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
    PANEL,
    PIECES,
    PLAIN,
    QUESTION,
    STRUCTURED,
    TOKENS,
    TOOL,
    TOOL_ANSWER,
    TOOL_ARGUMENTS,
    TOOL_ID,
    TOOL_NAME,
    TOOL_RESULT,
    check_final_trace,
    check_trace,
)

ASKED: Any = [{"role": "user", "content": QUESTION}]
WITH_USAGE: Any = {"include_usage": True}
UNFORGIVING: Any = {"plugins": [{"id": "fusion", "on_error": "fail"}]}


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url, api_key="unused") as client:
        yield client


@pytest.fixture
def eager_client(eager_gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=eager_gateway.url, api_key="unused") as client:
        yield client


def _tokens(completion: ChatCompletion) -> tuple[int, int, int]:
    assert completion.usage is not None
    used = completion.usage
    return used.prompt_tokens, used.completion_tokens, used.total_tokens


@pytest.mark.parametrize("model", MODELS)
def test_completion_is_whole_and_summed(
    client: openai.OpenAI, models: ModelServer, model: str
) -> None:
    completion = client.chat.completions.create(model=model, messages=ASKED)

    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == PLAIN
    assert completion.id.startswith("chatcmpl-")
    assert _tokens(completion) == TOKENS[model]
    assert models.called == CALLS[model]


@pytest.mark.parametrize("model", MODELS)
def test_usage_details_are_summed(client: openai.OpenAI, model: str) -> None:
    used = client.chat.completions.create(model=model, messages=ASKED).usage

    assert used is not None
    assert used.prompt_tokens_details is not None
    assert used.completion_tokens_details is not None
    cached, reasoned = DETAILS[model]
    assert used.prompt_tokens_details.cached_tokens == cached
    assert used.completion_tokens_details.reasoning_tokens == reasoned


def test_trace_is_an_extra_field(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=FUSION, messages=ASKED)

    assert completion.model_extra is not None
    check_final_trace(completion.model_extra["fusion"])


def test_headers_say_how_it_was_answered(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=FUSION, messages=ASKED)

    assert raw.headers["x-vsr-selected-decision"] == "deliberate"
    assert raw.headers["x-vsr-request-model"] == FUSION
    assert raw.headers["x-request-id"]


@pytest.mark.parametrize("model", MODELS)
def test_stream_arrives_while_the_model_still_writes(
    client: openai.OpenAI, models: ModelServer, model: str
) -> None:
    models.answer(writer=HELD)
    pieces, reasons = [], []
    for chunk in client.chat.completions.create(model=model, messages=ASKED, stream=True):
        choice = chunk.choices[0]  # no usage was asked for: every chunk has one
        if choice.delta.content:
            pieces.append(choice.delta.content)
            models.release()
        if choice.finish_reason:
            reasons.append(choice.finish_reason)

    assert tuple(pieces) == PIECES
    assert reasons == ["stop"]


@pytest.mark.parametrize("model", MODELS)
def test_stream_ends_with_the_summed_usage_when_asked(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=ASKED, stream=True, stream_options=WITH_USAGE
        )
    )

    used = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [(u.prompt_tokens, u.completion_tokens, u.total_tokens) for u in used] == [TOKENS[model]]
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []
    assert {(chunk.id, chunk.model) for chunk in chunks} == {(chunks[0].id, PLAIN)}


def test_stream_carries_the_trace_first_and_last(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=FUSION, messages=ASKED, stream=True, stream_options=WITH_USAGE
        )
    )

    extras = [chunk.model_extra or {} for chunk in chunks]
    assert [i for i, extra in enumerate(extras) if "fusion" in extra] == [0, len(chunks) - 1]
    check_trace(extras[0]["fusion"])
    check_final_trace(extras[-1]["fusion"])


@pytest.mark.parametrize("model", MODELS)
def test_stream_helper_assembles_the_answer(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(
        model=model, messages=ASKED, stream_options=WITH_USAGE
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        completion = stream.get_final_completion()

    assert tuple(filter(None, pieces)) == PIECES
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"
    assert _tokens(completion) == TOKENS[model]


@pytest.mark.parametrize("model", MODELS)
def test_stream_helper_assembles_tool_calls(client: openai.OpenAI, model: str) -> None:
    tools: Any = [TOOL]
    with client.chat.completions.stream(model=model, messages=ASKED, tools=tools) as stream:
        names = [e.name for e in stream if e.type == "tool_calls.function.arguments.done"]
        choice = stream.get_final_completion().choices[0]

    assert names == [TOOL_NAME]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert (call.id, call.function.parsed_arguments) == (TOOL_ID, TOOL_ARGUMENTS)


@pytest.mark.parametrize("model", MODELS)
def test_tool_call_and_its_result_lead_to_an_answer(
    client: openai.OpenAI, models: ModelServer, model: str
) -> None:
    tools: Any = [TOOL]
    first = client.chat.completions.create(model=model, messages=ASKED, tools=tools)
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [call.id for call in choice.message.tool_calls or ()] == [TOOL_ID]

    called: Any = choice.message.to_dict()
    result: Any = {"role": "tool", "tool_call_id": TOOL_ID, "content": TOOL_RESULT}
    second = client.chat.completions.create(
        model=model, messages=[*ASKED, called, result], tools=tools
    )

    assert second.choices[0].message.content == TOOL_ANSWER
    assert second.choices[0].finish_reason == "stop"
    assert models.called == sorted(CALLS[model] * 2)
    assert all("tools" not in call for call in models.calls if call["model"] != PLAIN)


class _Capital(BaseModel):
    city: str
    country: str


@pytest.mark.parametrize("model", MODELS)
def test_parse_reads_structured_output(
    client: openai.OpenAI, models: ModelServer, model: str
) -> None:
    completion = client.chat.completions.parse(
        model=model, messages=ASKED, response_format=_Capital
    )

    assert completion.choices[0].message.parsed == _Capital(**STRUCTURED)
    schemas = {
        call["model"]: call["response_format"]["json_schema"]["name"]
        for call in models.calls
        if "response_format" in call
    }
    assert schemas.pop("writer") == "_Capital"
    assert set(schemas) <= {"judge"}  # its own schema; the panel has none


def test_response_format_reaches_the_writer_alone(
    client: openai.OpenAI, models: ModelServer
) -> None:
    wanted: Any = {"type": "json_object"}
    client.chat.completions.create(model=FUSION, messages=ASKED, response_format=wanted)

    asked_for = {call["model"]: call.get("response_format") for call in models.calls}
    assert asked_for["writer"] == wanted
    assert asked_for["judge"] != wanted
    assert asked_for["alpha"] is asked_for["beta"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_unknown_model_is_a_404_that_names_near_ones(
    client: openai.OpenAI, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'vllm-sr/fusion'") as raised:
        client.chat.completions.create(model="vllm-sr/fusio", messages=ASKED, stream=stream)

    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"
    assert (gateway.requests, models.called) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
def test_failed_panel_is_a_502_that_is_not_tried_again(
    client: openai.OpenAI, gateway: LiveGateway, models: ModelServer, stream: bool
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=FUSION, messages=ASKED, stream=stream)

    assert raised.value.status_code == 502
    assert raised.value.code == "panel_failed"
    assert "alpha" in str(raised.value)
    assert LOGS_NOTHING_OF not in str(raised.value)
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


def test_failed_plain_model_is_tried_again_by_the_gateway_alone(
    client: openai.OpenAI, gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(writer=DOWN)
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=PLAIN, messages=ASKED)

    assert raised.value.status_code == 502
    assert (gateway.requests, models.called) == (1, [PLAIN] * ATTEMPTS)


@pytest.mark.parametrize("failing", [DOWN, Answer(PIECES, breaks_after=2)])
def test_failed_synthesis_is_not_tried_again_when_errors_count(
    client: openai.OpenAI, gateway: LiveGateway, models: ModelServer, failing: Answer
) -> None:
    models.answer(writer=failing)
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=FUSION, messages=ASKED, extra_body=UNFORGIVING)

    assert raised.value.status_code == 502
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert (gateway.requests, models.called) == (1, CALLS[FUSION] + ["writer"] * (ATTEMPTS - 1))


@pytest.mark.parametrize("stream", [False, True])
def test_failed_synthesis_falls_back_to_a_panel_answer_and_says_so(
    client: openai.OpenAI, models: ModelServer, stream: bool
) -> None:
    models.answer(writer=DOWN)
    given = client.chat.completions.create(
        model=FUSION, messages=ASKED, stream=stream, stream_options=WITH_USAGE if stream else None
    )

    if isinstance(given, ChatCompletion):
        text, extra = given.choices[0].message.content, given.model_extra
    else:
        chunks = list(given)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        extra = chunks[-1].model_extra
    assert text in PANEL.values()
    assert extra is not None
    degraded = [(d["stage"], d["reason"]) for d in extra["fusion"]["degraded"]]
    assert ("synthesis", "answered_by_panel") in degraded


@pytest.mark.parametrize("model", MODELS)
def test_stream_that_breaks_raises_after_what_came(
    client: openai.OpenAI, gateway: LiveGateway, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    pieces = []
    with pytest.raises(openai.APIError, match="model 'writer'"):
        for chunk in client.chat.completions.create(model=model, messages=ASKED, stream=True):
            assert chunk.choices[0].finish_reason is None
            pieces.append(chunk.choices[0].delta.content)

    assert tuple(pieces) == PIECES[:2]
    assert (gateway.requests, models.called) == (1, CALLS[model])


@pytest.mark.parametrize("model", MODELS)
def test_stream_helper_raises_when_the_stream_breaks(
    client: openai.OpenAI, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    with (
        pytest.raises(openai.APIError, match="model 'writer'"),
        client.chat.completions.stream(model=model, messages=ASKED) as stream,
    ):
        stream.get_final_completion()


def test_comments_before_the_answer_are_not_noticed(eager_client: openai.OpenAI) -> None:
    stream = eager_client.chat.completions.create(model=FUSION, messages=ASKED, stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == ANSWER


def test_error_after_the_stream_opened_raises(
    eager_client: openai.OpenAI, eager_gateway: LiveGateway, models: ModelServer
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    stream = eager_client.chat.completions.create(model=FUSION, messages=ASKED, stream=True)

    with pytest.raises(openai.APIError) as raised:
        list(stream)
    assert raised.value.code == "panel_failed"
    assert (eager_gateway.requests, models.called) == (1, FAILED_PANEL)


def test_progress_chunks_do_not_disturb_the_stream_helper(client: openai.OpenAI) -> None:
    watching: Any = {"plugins": [{"id": "fusion", "stream_progress": True}]}
    with client.chat.completions.stream(
        model=FUSION, messages=ASKED, extra_body=watching
    ) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        completion = stream.get_final_completion()

    assert completion.choices[0].message.content == ANSWER
    news = [(chunk.model_extra or {}).get("fusion", {}).get("event") for chunk in chunks]
    assert news.count("panel_answered") == 2
    assert "synthesis_started" in news


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert FUSION in [model.id for model in client.models.list()]
