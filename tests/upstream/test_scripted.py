"""The scripted upstream, which users' tests stand on too."""

from __future__ import annotations

import math
from contextlib import aclosing

import anyio
import pytest

from consilience.chat.codec import Body
from consilience.chat.completion import Usage
from consilience.chat.request import ChatRequest
from consilience.errors import UpstreamConnectionError, UpstreamTimeoutError
from consilience.upstream.scripted import Reply, ScriptedUpstream

pytestmark = pytest.mark.anyio


async def _chunks(upstream: ScriptedUpstream, request: ChatRequest) -> list[Body]:
    return [chunk async for chunk in upstream.stream(request)]


def _deltas(chunks: list[Body]) -> list[str]:
    return [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]


async def test_a_text_is_the_answer_of_every_model(hello: ChatRequest) -> None:
    got = await ScriptedUpstream("Paris.").complete(hello)
    assert (got.text, got.model, got.usage) == ("Paris.", "small", Usage(10, 5, 15))


async def test_a_mapping_answers_by_model_and_calls_functions(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream({"small": "S", "echo": lambda request: request.user_text})
    assert (await upstream.complete(hello)).text == "S"
    assert (await upstream.complete(hello.replace(model="echo"))).text == "hello"
    assert [call.model for call in upstream.calls] == ["small", "echo"]


async def test_a_model_that_is_not_in_the_mapping_is_unreachable(hello: ChatRequest) -> None:
    with pytest.raises(UpstreamConnectionError):
        await ScriptedUpstream({"other": "x"}).complete(hello)


async def test_an_exception_is_raised_whole_and_streamed(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream({"small": UpstreamTimeoutError("too slow", model="small")})
    with pytest.raises(UpstreamTimeoutError):
        await upstream.complete(hello)
    with pytest.raises(UpstreamTimeoutError):
        await _chunks(upstream, hello)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [(0, ["", "one", " two", " three", ""]), (2, ["", "one two", " three", ""])],
)
async def test_a_streamed_text_comes_in_pieces(
    hello: ChatRequest, pieces: int, expected: list[str]
) -> None:
    chunks = await _chunks(ScriptedUpstream(Reply("one two three", pieces=pieces)), hello)
    assert _deltas(chunks) == expected
    assert chunks[-1]["usage"]["total_tokens"] == 15


async def test_tool_calls_refusals_and_reasoning_are_scripted(hello: ChatRequest) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = await ScriptedUpstream(Reply(None, tool_calls=[call])).complete(hello)
    assert (tools.tool_calls, tools.finish_reason) == ([call], "tool_calls")
    refusal = await ScriptedUpstream(Reply("x", refusal="no")).complete(hello)
    assert (refusal.refusal, refusal.text) == ("no", "")
    thought = await ScriptedUpstream(Reply("x", reasoning="hm")).complete(hello)
    assert thought.reasoning == "hm"


async def test_usage_may_be_unknown(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream(Reply("x", usage=None))
    assert (await upstream.complete(hello)).usage is None
    assert not any(chunk.get("usage") for chunk in await _chunks(upstream, hello))


async def test_a_stream_breaks_where_it_is_told_to(hello: ChatRequest) -> None:
    got: list[Body] = []
    with pytest.raises(UpstreamConnectionError):
        async for chunk in ScriptedUpstream(Reply("a b c", breaks_after=3)).stream(hello):
            got.append(chunk)  # noqa: PERF401  # it fails on the way
    assert _deltas(got) == ["", "a", " b"]


@pytest.mark.parametrize("how", ["complete", "stream"])
async def test_cancelled_calls_are_counted(hello: ChatRequest, how: str) -> None:
    upstream = ScriptedUpstream(Reply("x", delay_s=math.inf))
    asking = upstream.complete if how == "complete" else lambda r: _chunks(upstream, r)
    async with anyio.create_task_group() as group:
        group.start_soon(asking, hello)
        await anyio.wait_all_tasks_blocked()
        assert upstream.in_flight == 1
        group.cancel_scope.cancel()
    assert (upstream.cancelled, upstream.in_flight) == (1, 0)


async def test_a_stream_left_early_counts_as_cancelled(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream("a b c")
    async with aclosing(upstream.stream(hello)) as chunks:
        await anext(chunks)
    assert (upstream.cancelled, upstream.in_flight) == (1, 0)


async def test_calls_that_end_are_not_cancelled(hello: ChatRequest) -> None:
    upstream = ScriptedUpstream("a b c")
    await upstream.complete(hello)
    await _chunks(upstream, hello)
    assert (upstream.cancelled, upstream.in_flight) == (0, 0)
