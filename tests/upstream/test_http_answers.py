"""Whole answers: what is sent, what is accepted, what is refused."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable

import pytest

from consilience.chat.headers import HeaderChanges
from consilience.chat.request import ChatRequest
from consilience.errors import UpstreamError, UpstreamProtocolError
from consilience.upstream.http import HttpUpstream, Limits
from support.raw_server import answer, completion, json_answer, raw_server

pytestmark = pytest.mark.anyio
Connect = Callable[..., HttpUpstream]


async def test_complete_gives_the_answer_under_the_configured_name(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([json_answer(completion("Paris", system_fingerprint="fp"))]) as server:
        got = await connect(server.url).complete(hello)
    assert (got.text, got.model, got.finish_reason) == ("Paris", "small", "stop")
    assert got.usage is not None
    assert got.usage.total_tokens == 5
    assert got.body["system_fingerprint"] == "fp"


async def test_complete_sends_every_field_as_the_client_wrote_it(connect: Connect) -> None:
    raw = (
        b'{"model":"small","messages":[{"role":"user","content":"h\\u00e9"}],'
        b'"stream":false,"stream_options":{"x":1},"top_k":7,"temperature":0.10,'
        b'"seed":123456789012345678901234567890,"chat_template_kwargs":{"a":[null,true]}}'
    )
    with raw_server([json_answer(completion())]) as server:
        await connect(server.url, authorization="Bearer k-1").complete(ChatRequest.parse(raw))
    sent = server.requests[0]
    expected = {**json.loads(raw), "model": "upstream-name"}
    del expected["stream"], expected["stream_options"]
    assert sent.json == expected
    assert b"123456789012345678901234567890" in sent.body
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == "Bearer k-1"
    assert sent.headers["content-type"] == "application/json"
    assert "x-vsr-fusion-depth" not in sent.headers


async def test_complete_sends_the_depth_when_the_request_has_one(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([json_answer(completion())]) as server:
        await connect(server.url).complete(hello.at_depth(2))
    assert server.requests[0].headers["x-vsr-fusion-depth"] == "2"


async def test_complete_sends_the_headers_that_the_request_changes(
    connect: Connect, hello: ChatRequest
) -> None:
    changes = HeaderChanges({"x-team": "red"}, {"x-tier": "gold"}, frozenset(("x-trace",)))
    own = {"authorization": "Bearer k-1", "X-Tier": "free", "X-Trace": "on"}
    with raw_server([json_answer(completion())]) as server:
        upstream = connect(server.url, **own)
        await upstream.complete(hello.with_headers(changes))
        await upstream.complete(hello)
    changed, plain = (request.headers for request in server.requests)
    kept = {name: changed[name] for name in ("authorization", "x-team", "x-tier")}
    assert kept == {"authorization": "Bearer k-1", "x-team": "red", "x-tier": "gold"}
    assert "x-trace" not in changed
    assert (plain["x-tier"], plain["x-trace"], plain.get("x-team")) == ("free", "on", None)


async def test_upstream_words_in_the_log_lack_values_of_changed_headers(
    connect: Connect, hello: ChatRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="consilience")
    changes = HeaderChanges(updated={"x-tier": "canary-4711"})
    told = answer(b"you sent canary-4711", status=400)
    with raw_server([told]) as server, pytest.raises(UpstreamError):
        limits = Limits(logs_refusals=True)
        await connect(server.url, limits).complete(hello.with_headers(changes))
    (said,) = (r for r in caplog.records if r.message == "upstream_said")
    assert vars(said)["fields"]["body"] == "you sent [redacted]"


async def test_complete_reuses_its_connection(connect: Connect, hello: ChatRequest) -> None:
    with raw_server([json_answer(completion())]) as server:
        upstream = connect(server.url)
        for _ in range(3):
            await upstream.complete(hello)
        assert (len(server.requests), server.connections) == (3, 1)


WRONG = {
    "html under 200": (answer(b"<html>login</html>", kind="text/html"), "content_type"),
    "events for a whole answer": (
        answer(b"data: {}\n\n", kind="text/event-stream"),
        "content_type",
    ),
    "an empty body": (answer(b""), "protocol"),
    "cut JSON": (answer(b'{"choices":['), "protocol"),
    "an array": (json_answer([completion()]), "protocol"),
    "a number": (json_answer(5), "protocol"),
    "no choices": (json_answer({"id": "x"}), "protocol"),
    "empty choices": (json_answer(completion(choices=[])), "protocol"),
    "choices that are no array": (json_answer(completion(choices={"0": 1})), "protocol"),
    "a choice without message": (json_answer(completion(choices=[{"index": 0}])), "protocol"),
    "a choice that is no object": (json_answer(completion(choices=[None])), "protocol"),
    "an error under 200": (json_answer({"error": {"message": "overloaded"}}), "error_body"),
    "a choice that failed": (
        json_answer({"choices": [{"message": {"content": "par"}, "finish_reason": "error"}]}),
        "error_body",
    ),
    "an error beside choices": (json_answer(completion(error={"code": 1})), "error_body"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9\r\n\r\n", "protocol"),
    "deep nesting": (
        answer(b'{"choices":[{"message":{}}],"x":' + b"[" * 300 + b"]" * 300 + b"}"),
        "protocol",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_complete_refuses_what_is_no_completion(
    connect: Connect, hello: ChatRequest, case: str
) -> None:
    said, reason = WRONG[case]
    with raw_server([said]) as server, pytest.raises(UpstreamError) as caught:
        await connect(server.url).complete(hello)
    assert caught.value.reason == reason
    assert (caught.value.status, caught.value.model) == (502, "small")


async def test_complete_takes_json_of_an_odd_content_type(
    connect: Connect, hello: ChatRequest
) -> None:
    body = json.dumps(completion("hi")).encode()
    with raw_server([answer(b" \n" + body, kind="text/plain; charset=utf-8")]) as server:
        assert (await connect(server.url).complete(hello)).text == "hi"


async def test_complete_keeps_a_null_content_for_the_caller_to_judge(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([json_answer(completion(None, usage=None))]) as server:
        got = await connect(server.url).complete(hello)
    assert (got.text, got.usage) == ("", None)


async def test_complete_refuses_a_body_that_announces_too_many_bytes(
    connect: Connect, hello: ChatRequest
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999999999\r\n\r\n"
    with raw_server([head, 60.0]) as server, pytest.raises(UpstreamProtocolError) as caught:
        await connect(server.url, Limits(max_body_bytes=1000)).complete(hello)
    assert caught.value.reason == "too_large"


async def test_complete_stops_reading_a_body_that_grows_too_large(
    connect: Connect, hello: ChatRequest
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    endless = [b"10000\r\n" + b" " * 65536 + b"\r\n"] * 10_000
    with raw_server([head, *endless]) as server:
        with pytest.raises(UpstreamProtocolError) as caught:
            await connect(server.url, Limits(max_body_bytes=200_000)).complete(hello)
        assert caught.value.reason == "too_large"
        assert await server.until(lambda s: s.aborted == 1)


async def test_complete_stops_at_the_limit_inside_a_compressed_bomb(
    connect: Connect, hello: ChatRequest
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(b" " * (100 << 20)) + packer.flush()
    said = answer(bomb, headers="content-encoding: gzip\r\n")
    with raw_server([said]) as server, pytest.raises(UpstreamProtocolError) as caught:
        await connect(server.url, Limits(max_body_bytes=1 << 20)).complete(hello)
    assert caught.value.reason == "too_large"


async def test_complete_asks_for_uncompressed_answers(connect: Connect, hello: ChatRequest) -> None:
    with raw_server([json_answer(completion())]) as server:
        await connect(server.url).complete(hello)
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_complete_sends_no_cookie_back(connect: Connect, hello: ChatRequest) -> None:
    with raw_server([json_answer(completion(), headers="set-cookie: a=b\r\n")]) as server:
        upstream = connect(server.url)
        await upstream.complete(hello)
        await upstream.complete(hello)
    assert "cookie" not in server.requests[1].headers
