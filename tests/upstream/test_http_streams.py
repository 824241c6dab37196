"""Streams: every legal form is read alike, every way of being cut is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import aclosing

import anyio
import pytest

from consilience.chat.codec import Body
from consilience.chat.request import ChatRequest
from consilience.errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from consilience.upstream.http import HttpUpstream, Limits
from support.raw_server import (
    CLOSE,
    CLOSE_DELIMITED_HEAD,
    DONE,
    HANG,
    LAST,
    RESET,
    SSE_HEAD,
    Received,
    Step,
    chunked,
    completion,
    event,
    json_answer,
    piece,
    raw_server,
    streamed,
)

pytestmark = pytest.mark.anyio
Connect = Callable[..., HttpUpstream]

USAGE = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
PLAIN = [piece("Hé"), piece("llo"), piece(finish="stop"), USAGE]


def _of(index: int, text: str) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


END_OF_FIRST = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


async def _read(upstream: HttpUpstream, request: ChatRequest) -> list[Body]:
    async with aclosing(upstream.stream(request)) as chunks:
        return [chunk async for chunk in chunks]


def _text(chunks: Sequence[Body]) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if c.get("choices")]
    return "".join(d.get("content") or "" for d in deltas)


async def test_stream_asks_for_usage_and_keeps_other_options(connect: Connect) -> None:
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": False, "x": 1},
        "top_k": 3,
    }
    with raw_server(streamed(*PLAIN)) as server:
        chunks = await _read(connect(server.url), ChatRequest.from_body(body))
    sent = server.requests[0].json
    assert (sent["stream"], sent["top_k"], sent["model"]) == (True, 3, "upstream-name")
    assert sent["stream_options"] == {"include_usage": True, "x": 1}
    assert (_text(chunks), chunks[-1]["usage"]["completion_tokens"]) == ("Héllo", 2)


FORMS: dict[str, list[Step]] = {
    "one byte at a time": [SSE_HEAD, *[chunked(bytes([b])) for b in b"".join(PLAIN) + DONE], LAST],
    "CRLF": streamed(*[e.replace(b"\n", b"\r\n") for e in PLAIN]),
    "CR": streamed(*[e.replace(b"\n", b"\r") for e in PLAIN]),
    "a byte order mark": [SSE_HEAD, chunked(b"\xef\xbb\xbf" + b"".join(PLAIN) + DONE), LAST],
    "comments and names": streamed(b": ping\n\n", *[b"event: x\nid: 1\n" + e for e in PLAIN]),
    "no space after the colon": streamed(*[e.replace(b"data: ", b"data:") for e in PLAIN]),
    "data over several lines": streamed(*[e.replace(b', "', b',\ndata: "') for e in PLAIN]),
    "one write": [SSE_HEAD + chunked(b"".join(PLAIN) + DONE) + LAST],
    "the mark without blank line": [SSE_HEAD, chunked(b"".join(PLAIN) + b"data: [DONE]"), LAST],
    "no mark but a finish reason": streamed(*PLAIN, done=False),
    "closed at its end": [CLOSE_DELIMITED_HEAD, *PLAIN, DONE, CLOSE],
    "broken after the mark": [SSE_HEAD, chunked(b"".join(PLAIN) + DONE), RESET],
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_is_read_alike_in_every_form(
    connect: Connect, hello: ChatRequest, form: str
) -> None:
    with raw_server(FORMS[form]) as server:
        chunks = await _read(connect(server.url), hello)
    assert chunks == [json.loads(e.removeprefix(b"data: ")) for e in PLAIN]


CUTS: dict[str, tuple[list[Step], type[UpstreamError], str]] = {
    "EOF inside a chunked body": (
        [SSE_HEAD, chunked(piece("par")), CLOSE],
        UpstreamConnectionError,
        "connection",
    ),
    "a reset": (
        [SSE_HEAD, chunked(piece("par")), 0.05, RESET],
        UpstreamConnectionError,
        "connection",
    ),
    "a clean end without finish": (
        streamed(piece("par"), done=False),
        UpstreamProtocolError,
        "truncated",
    ),
    "a close-delimited end": (
        [CLOSE_DELIMITED_HEAD, piece("par"), CLOSE],
        UpstreamProtocolError,
        "truncated",
    ),
    "half an event": ([SSE_HEAD, chunked(b"data: {"), LAST], UpstreamProtocolError, "protocol"),
    "nothing at all": ([SSE_HEAD, LAST], UpstreamProtocolError, "truncated"),
    "only the mark": (streamed(), UpstreamProtocolError, "protocol"),
    "only usage": (streamed(USAGE), UpstreamProtocolError, "protocol"),
    "an error event": (
        streamed(piece("par"), event({"error": {"message": "boom"}})),
        UpstreamError,
        "error_body",
    ),
    "one of two choices without finish": (
        streamed(_of(0, "par"), _of(1, "ty"), END_OF_FIRST, done=False),
        UpstreamProtocolError,
        "truncated",
    ),
    "a choice that failed": (
        streamed(piece("par"), event({"choices": [{"index": 0, "finish_reason": "error"}]})),
        UpstreamError,
        "error_body",
    ),
    "no JSON": (streamed(b"data: <html>\n\n"), UpstreamProtocolError, "protocol"),
    "no JSON after a proper beginning": (
        streamed(piece("par"), b"data: {\n\n"),
        UpstreamProtocolError,
        "protocol",
    ),
    "no UTF-8": (
        streamed(piece("par"), piece("é").replace(b"\\u00e9", b"\xe9\xff")),
        UpstreamProtocolError,
        "protocol",
    ),
    "no object": (streamed(event([1])), UpstreamProtocolError, "protocol"),
    "choices that are no array": (
        streamed(event({"choices": 1})),
        UpstreamProtocolError,
        "protocol",
    ),
    "too large an event": (streamed(piece("x" * 5000)), UpstreamProtocolError, "too_large"),
    "an event without end": (
        [SSE_HEAD, *[chunked(b"data: " + b"x" * 900)] * 9, LAST],
        UpstreamProtocolError,
        "too_large",
    ),
}


@pytest.mark.parametrize("cut", CUTS)
async def test_a_stream_that_is_cut_never_looks_whole(
    connect: Connect, hello: ChatRequest, cut: str
) -> None:
    steps, kind, reason = CUTS[cut]
    with raw_server(steps) as server, pytest.raises(kind) as caught:
        await _read(connect(server.url, Limits(max_event_bytes=4096)), hello)
    assert (caught.value.reason, caught.value.model) == (reason, "small")
    assert "boom" not in caught.value.sentence


async def test_the_mark_ends_an_answer_that_has_no_finish_reason(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server(streamed(piece("all"))) as server:
        assert _text(await _read(connect(server.url), hello)) == "all"


async def test_every_choice_that_ends_makes_an_answer_without_a_mark(
    connect: Connect, hello: ChatRequest
) -> None:
    second = event({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    said = (_of(0, "a"), _of(1, "b"), END_OF_FIRST, second, USAGE)
    with raw_server(streamed(*said, done=False)) as server:
        assert len(await _read(connect(server.url), hello)) == 5


async def test_a_choice_that_never_began_is_missing_unless_the_mark_came(
    connect: Connect, hello: ChatRequest
) -> None:
    two = hello.replace(n=2)
    said = (_of(0, "a"), END_OF_FIRST, USAGE)
    with (
        raw_server(streamed(*said, done=False)) as server,
        pytest.raises(UpstreamProtocolError) as caught,
    ):
        await _read(connect(server.url), two)
    assert caught.value.reason == "truncated"
    with raw_server(streamed(*said)) as server:
        assert len(await _read(connect(server.url), two)) == 3


async def test_chunks_before_a_failure_are_passed_on(connect: Connect, hello: ChatRequest) -> None:
    got: list[Body] = []
    with (
        raw_server([SSE_HEAD, chunked(piece("par")), 0.05, RESET]) as server,
        pytest.raises(UpstreamConnectionError),
    ):
        async for chunk in connect(server.url).stream(hello):
            got.append(chunk)  # noqa: PERF401  # it fails on the way
    assert _text(got) == "par"


async def test_a_whole_answer_to_a_stream_request_comes_as_chunks(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([json_answer(completion("all at once"))]) as server:
        chunks = await _read(connect(server.url), hello)
    assert _text(chunks) == "all at once"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 5


async def test_chunks_come_one_by_one(connect: Connect, hello: ChatRequest) -> None:
    with raw_server([SSE_HEAD, chunked(piece("first")), HANG]) as server:
        async with aclosing(connect(server.url).stream(hello)) as chunks:
            assert _text([await anext(chunks)]) == "first"
        assert await server.until(lambda s: s.aborted == 1)


async def test_comments_alone_do_not_keep_a_stream_alive(
    connect: Connect, hello: ChatRequest
) -> None:
    pings: list[Step] = [chunked(b": ping\n\n"), 0.05] * 200
    with raw_server([SSE_HEAD, chunked(piece("par")), *pings]) as server:
        with pytest.raises(UpstreamTimeoutError):
            await _read(connect(server.url, Limits(idle_s=0.3)), hello)
        assert await server.until(lambda s: s.aborted == 1)


async def test_events_keep_a_stream_alive_beyond_the_idle_time(
    connect: Connect, hello: ChatRequest
) -> None:
    slowly: list[Step] = [step for _ in range(8) for step in (chunked(piece("x")), 0.25)]
    steps: list[Step] = [SSE_HEAD, *slowly, chunked(piece(finish="stop") + DONE), LAST]
    with raw_server(steps) as server:
        chunks = await _read(connect(server.url, Limits(idle_s=1.5)), hello)
    assert _text(chunks) == "x" * 8


async def test_a_reader_slower_than_the_idle_time_loses_nothing(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server(streamed(*PLAIN)) as server:
        chunks = []
        async for chunk in connect(server.url, Limits(idle_s=0.5)).stream(hello):
            chunks.append(chunk)
            await anyio.sleep(0.6)
    assert _text(chunks) == "Héllo"


@pytest.mark.parametrize("steps", [[HANG], [SSE_HEAD, HANG]], ids=["no head", "no event"])
async def test_a_silent_stream_times_out(
    connect: Connect, hello: ChatRequest, steps: list[Step]
) -> None:
    with raw_server(steps) as server, pytest.raises(UpstreamTimeoutError):
        await _read(connect(server.url, Limits(first_byte_s=0.2)), hello)


async def test_a_stream_whose_head_drips_times_out(connect: Connect, hello: ChatRequest) -> None:
    drop: list[Step] = [b"x", 0.02]
    drip: list[Step] = [b"HTTP/1.1 200 OK\r\nx: ", *drop * 400]
    with raw_server(drip) as server, pytest.raises(UpstreamTimeoutError):
        await _read(connect(server.url, Limits(first_byte_s=0.2)), hello)


async def test_a_stream_has_longer_for_its_first_event_than_for_the_next(
    connect: Connect, hello: ChatRequest
) -> None:
    steps: list[Step] = [SSE_HEAD, 1.5, *[chunked(e) for e in (*PLAIN, DONE)], LAST]
    with raw_server(steps) as server:
        chunks = await _read(connect(server.url, Limits(first_byte_s=10, idle_s=1)), hello)
    assert _text(chunks) == "Héllo"


async def test_a_stream_without_end_is_given_up_at_the_size_of_an_answer(
    connect: Connect, hello: ChatRequest
) -> None:
    endless: list[Step] = [chunked(piece("x" * 1000))] * 5000
    with raw_server([SSE_HEAD, *endless]) as server:
        with pytest.raises(UpstreamProtocolError, match="larger than 100000") as caught:
            await _read(connect(server.url, Limits(max_body_bytes=100_000)), hello)
        assert await server.until(lambda s: s.aborted == 1)
    assert caught.value.reason == "too_large"


async def test_an_endless_stream_ends_with_the_call_s_time(
    connect: Connect, hello: ChatRequest
) -> None:
    endless: list[Step] = [chunked(piece("x")), 0.01] * 5000
    with raw_server([SSE_HEAD, *endless]) as server:
        with pytest.raises(UpstreamTimeoutError):
            await _read(connect(server.url, Limits(total_s=0.4)), hello)
        assert await server.until(lambda s: s.aborted == 1)


async def test_a_cancelled_stream_closes_its_connection(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([SSE_HEAD, chunked(piece("x")), HANG]) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(_read, connect(server.url), hello)
            assert await server.until(lambda s: len(s.requests) == 1)
            group.cancel_scope.cancel()
        assert await server.until(lambda s: s.aborted == 1)


async def test_streams_and_whole_answers_share_connections(
    connect: Connect, hello: ChatRequest
) -> None:
    def script(request: Received) -> Sequence[Step]:
        return streamed(*PLAIN) if request.json.get("stream") else [json_answer(completion())]

    with raw_server(script) as server:
        upstream = connect(server.url)
        for _ in range(2):
            await _read(upstream, hello)
            await upstream.complete(hello)
        assert (len(server.requests), server.connections) == (4, 1)


async def test_a_stream_left_early_does_not_hand_its_connection_on(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server(streamed(*PLAIN)) as server:
        upstream = connect(server.url)
        async with aclosing(upstream.stream(hello)) as chunks:
            await anext(chunks)
        assert _text(await _read(upstream, hello)) == "Héllo"
        assert len(server.requests) == 2
