"""Statuses and broken connections: which error comes of each, and that it gives nothing away."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import anyio
import pytest

from consilience.chat.request import ChatRequest
from consilience.errors import (
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from consilience.upstream import http
from consilience.upstream.http import STALE_WITHIN_S, Endpoint, HttpUpstream, new_session
from consilience.upstream.limits import Limits
from consilience.upstream.pool import single_pool
from consilience.upstream.verdict import Verdict, verdict_on
from support.ports import black_hole, closed_port, untrusted_port
from support.raw_server import (
    CLOSE,
    HANG,
    RESET,
    Received,
    Step,
    completion,
    json_answer,
    raw_server,
)

pytestmark = pytest.mark.anyio
Connect = Callable[..., HttpUpstream]

CANARY = "canary0123456789"
SECRET_BODY = {"error": {"message": f"bad key {CANARY} for internal-host", "param": "temperature"}}
HALF = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"

STATUSES = {
    400: (400, "invalid_request_error", "upstream_rejected_request"),
    401: (502, "upstream_error", "upstream_credentials"),
    402: (502, "upstream_error", "upstream_credentials"),
    403: (502, "upstream_error", "upstream_credentials"),
    404: (404, "invalid_request_error", "upstream_rejected_request"),
    408: (504, "upstream_error", "upstream_timeout"),
    413: (413, "invalid_request_error", "upstream_rejected_request"),
    422: (422, "invalid_request_error", "upstream_rejected_request"),
    429: (429, "rate_limit_error", "upstream_rate_limited"),
    500: (502, "upstream_error", "upstream_error"),
    502: (502, "upstream_error", "upstream_error"),
    503: (502, "upstream_error", "upstream_error"),
    504: (504, "upstream_error", "upstream_timeout"),
    529: (502, "upstream_error", "upstream_error"),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_status_becomes_the_error_for_it(
    connect: Connect, hello: ChatRequest, status: int, streamed: bool
) -> None:
    with raw_server([json_answer(SECRET_BODY, status=status)]) as server:
        upstream = connect(server.url, authorization=f"Bearer {CANARY}")
        with pytest.raises(UpstreamStatusError) as caught:
            await _ask(upstream, hello, streamed=streamed)
    exc = caught.value
    assert (exc.status, exc.type, exc.code) == STATUSES[status]
    assert (exc.status_code, exc.rejected_param, exc.model) == (status, "temperature", "small")
    for secret in (CANARY, "internal-host", "127.0.0.1", str(server.port)):
        assert secret not in exc.sentence


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    connect: Connect, hello: ChatRequest, status: int
) -> None:
    with raw_server([json_answer(completion())]) as elsewhere:
        where = f"location: {elsewhere.url}\r\n"
        with (
            raw_server([json_answer({}, status=status, headers=where)]) as server,
            pytest.raises(UpstreamProtocolError) as caught,
        ):
            await connect(server.url, authorization="Bearer k").complete(hello)
        assert elsewhere.connections == 0
    assert (caught.value.reason, caught.value.status) == ("redirect", 502)


WAITS = {
    "retry-after: 7\r\n": 7.0,
    "retry-after: 0.5\r\n": 0.5,
    "retry-after-ms: 250\r\nretry-after: 9\r\n": 0.25,
    "retry-after-ms: x\r\nretry-after: 9\r\n": 9.0,
    "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n": 0.0,
    "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n": 86_400.0,
    "retry-after: soon\r\n": None,
    "retry-after: -5\r\n": None,
    "retry-after: nan\r\n": None,
    "retry-after: 1e99\r\n": None,
    "": None,
}


@pytest.mark.parametrize("line", WAITS)
async def test_a_429_carries_how_long_to_wait(
    connect: Connect, hello: ChatRequest, line: str
) -> None:
    with (
        raw_server([json_answer({}, status=429, headers=line)]) as server,
        pytest.raises(UpstreamStatusError) as caught,
    ):
        await connect(server.url).complete(hello)
    assert caught.value.retry_after_s == WAITS[line]


async def test_a_status_is_told_though_its_body_never_comes(
    connect: Connect, hello: ChatRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ERROR_BODY_SECONDS", 0.1)
    head = b"HTTP/1.1 429 X\r\ncontent-length: 99\r\nretry-after: 3\r\n\r\n{"
    with raw_server([head, HANG]) as server, pytest.raises(UpstreamStatusError) as caught:
        await connect(server.url).complete(hello)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 3.0)


async def test_a_status_is_told_though_its_body_breaks_off(
    connect: Connect, hello: ChatRequest
) -> None:
    head = b"HTTP/1.1 500 X\r\ncontent-length: 99\r\n\r\n{"
    with raw_server([head, CLOSE]) as server, pytest.raises(UpstreamStatusError) as caught:
        await connect(server.url).complete(hello)
    assert caught.value.status_code == 500


BREAKS: dict[str, list[Step]] = {
    "closed before the head": [CLOSE],
    "reset before the head": [RESET],
    "closed in the head": [b"HTTP/1.1 200 OK\r\ncont", CLOSE],
    "closed in the body": [HALF, CLOSE],
    "reset in the body": [HALF, RESET],
}


@pytest.mark.parametrize("case", BREAKS)
async def test_a_broken_connection_is_told_as_one(
    connect: Connect, hello: ChatRequest, case: str
) -> None:
    with raw_server(BREAKS[case]) as server, pytest.raises(UpstreamConnectionError) as caught:
        await connect(server.url).complete(hello)
    assert (caught.value.status, caught.value.sentence) == (
        502,
        "model 'small': the connection broke",
    )
    assert len(server.requests) == 1


async def test_a_refused_connection_is_told_as_one(connect: Connect, hello: ChatRequest) -> None:
    port = closed_port()
    with pytest.raises(UpstreamConnectionError, match="could not be connected to") as caught:
        await connect(f"http://127.0.0.1:{port}/v1/chat/completions").complete(hello)
    assert str(port) not in caught.value.sentence


async def test_an_unknown_host_is_told_without_its_name(
    connect: Connect, hello: ChatRequest
) -> None:
    with pytest.raises(UpstreamConnectionError) as caught:
        await connect("http://no-such-host.invalid/v1/chat/completions").complete(hello)
    assert "invalid" not in caught.value.sentence


async def test_a_server_that_speaks_no_tls_is_told_as_such(
    connect: Connect, hello: ChatRequest
) -> None:
    def speak_plainly() -> None:
        client, _ = listening.accept()
        with client:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=speak_plainly)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions"
        with pytest.raises(UpstreamConnectionError) as caught:
            await connect(url).complete(hello)
        await anyio.to_thread.run_sync(thread.join)
    assert caught.value.reason == "tls"


async def test_a_certificate_that_nobody_trusts_is_told_as_such(
    connect: Connect, hello: ChatRequest
) -> None:
    with untrusted_port() as port, pytest.raises(UpstreamConnectionError) as caught:
        await connect(f"https://127.0.0.1:{port}/v1/chat/completions").complete(hello)
    assert (caught.value.reason, caught.value.sent) == ("tls", False)


async def test_a_connection_that_never_opens_lets_another_backend_try(
    connect: Connect, hello: ChatRequest
) -> None:
    with black_hole() as port, pytest.raises(UpstreamConnectionError, match="in time"):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        await connect(url, Limits(connect_s=0.2)).complete(hello)


DRIP: list[Step] = [b" ", 0.05] * 400
SLOW: dict[str, list[Step]] = {
    "silent": [HANG],
    "silent after the head": [HALF, HANG],
    "dripping its head": [b"HTTP/1.1 200 OK\r\nx: ", *DRIP],
    "dripping its body": [HALF, *DRIP],
}


@pytest.mark.parametrize("case", SLOW)
async def test_a_slow_answer_times_out_and_is_hung_up_on(
    connect: Connect, hello: ChatRequest, case: str
) -> None:
    with raw_server(SLOW[case]) as server:
        with pytest.raises(UpstreamTimeoutError) as caught:
            await connect(server.url, Limits(total_s=0.3)).complete(hello)
        assert (caught.value.status, caught.value.reason) == (504, "timeout")
        assert await server.until(lambda s: s.aborted == 1)


async def test_a_cancelled_call_closes_its_connection(connect: Connect, hello: ChatRequest) -> None:
    with raw_server([HALF, HANG]) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(connect(server.url).complete, hello)
            assert await server.until(lambda s: len(s.requests) == 1)
            group.cancel_scope.cancel()
        assert await server.until(lambda s: s.aborted == 1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_nobody_is_asked_again_when_the_gateway_has_closed(
    hello: ChatRequest, streamed: bool
) -> None:
    async with new_session() as session:
        upstream = HttpUpstream(session, Endpoint("http://127.0.0.1:9/v1", "x"))
    with pytest.raises(UpstreamConnectionError, match="closing") as caught:
        await _ask(upstream, hello, streamed=streamed)
    assert verdict_on(caught.value) == Verdict("none", "never")


async def test_a_new_connection_that_breaks_is_not_stale(
    connect: Connect, hello: ChatRequest
) -> None:
    with raw_server([RESET]) as server, pytest.raises(UpstreamConnectionError) as caught:
        await connect(server.url).complete(hello)
    assert (caught.value.stale, caught.value.sent) == (False, True)


async def test_a_reused_connection_that_breaks_after_some_work_is_not_stale(
    connect: Connect, hello: ChatRequest
) -> None:
    work_s = 2 * STALE_WITHIN_S

    def script(request: Received) -> list[Step]:
        again = any(r.connection == request.connection for r in seen)
        seen.append(request)
        return [work_s, RESET] if again else [json_answer(completion("first"))]

    seen: list[Received] = []
    with raw_server(script) as server:
        calls = single_pool(connect(server.url), ["small"]).calls()
        await calls.complete(hello)
        with pytest.raises(UpstreamConnectionError) as caught:
            await calls.complete(hello)
    assert (caught.value.stale, caught.value.sent, len(seen)) == (False, True, 2)
    assert calls.allowance.paid == 2


async def test_a_stale_connection_is_replaced_without_a_word(
    connect: Connect, hello: ChatRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consilience.upstream.http.STALE_WITHIN_S", 60)  # however busy the machine

    def script(request: Received) -> list[Step]:
        first_on_its_connection = sum(r.connection == request.connection for r in seen) == 0
        seen.append(request)
        return [json_answer(completion("again"))] if first_on_its_connection else [RESET]

    seen: list[Received] = []
    with raw_server(script) as server:
        upstream = single_pool(connect(server.url), ["small"])
        await upstream.complete(hello)
        assert (await upstream.complete(hello)).text == "again"
        assert (len(server.requests), server.connections) == (3, 2)


async def test_failures_are_logged_with_the_address_and_without_the_key(
    connect: Connect, hello: ChatRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "consilience")
    with (
        raw_server([json_answer(SECRET_BODY, status=401)]) as server,
        pytest.raises(UpstreamStatusError),
    ):
        limits = Limits(logs_refusals=True)
        await connect(server.url, limits, authorization=f"Bearer {CANARY}").complete(hello)
    failed = next(r for r in caplog.records if r.getMessage() == "upstream_failed")
    fields = getattr(failed, "fields", {})
    assert (fields["url"], fields["status"], fields["reason"]) == (server.url, 401, "credentials")
    said = next(r for r in caplog.records if r.getMessage() == "upstream_said")
    assert said.levelno == logging.DEBUG
    assert "[redacted]" in str(getattr(said, "fields", {}))
    assert CANARY not in str([vars(r) for r in caplog.records])


async def _ask(upstream: HttpUpstream, request: ChatRequest, *, streamed: bool) -> None:
    if not streamed:
        await upstream.complete(request)
        return
    async for _ in upstream.stream(request):
        pass
