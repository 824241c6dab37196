"""What a connection may cost: slow, endless, idle, too many, and clients that do not read."""

from __future__ import annotations

import json
import logging
import math
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from consilience.http.head import MOST_ADDRESS_BYTES, MOST_HEADERS
from consilience.http.protocol import MOST_HEAD_BYTES, MOST_PIPELINED
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import eventually, get
from support.live import fusion_yaml, live_gateway
from support.raw_client import chat_head, chat_request, connected, exchanged, rest, statuses
from support.scripts import fusion_script

NEVER = Reply("x", delay_s=math.inf)
QUICK = fusion_yaml(gateway="client_head_seconds: 1, client_idle_seconds: 1")
CLOSE = "connection: close\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n\r\n", b"POST", b"GET /health HT", b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: b"],
    ids=["nothing", "blank lines", "a method", "a request line", "half a head"],
)
def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    with live_gateway(QUICK, ScriptedUpstream()) as url:
        assert exchanged(url, sent) == b""


def test_a_head_that_trickles_ends_the_connection_in_time_all_the_same() -> None:
    with live_gateway(QUICK, ScriptedUpstream()) as url, connected(url) as raw:
        raw.settimeout(0.05)
        raw.sendall(b"GET /health HTTP/1.1\r\n")
        sent = 0
        while sent < 1000:
            try:
                raw.sendall(b"x: y\r\n")
                assert raw.recv(1) == b""
                break
            except TimeoutError:
                sent += 1
            except ConnectionError:
                break
        assert 0 < sent < 1000


def test_an_idle_connection_is_kept_for_a_while_and_closed() -> None:
    with live_gateway(QUICK, ScriptedUpstream()) as url:
        said = exchanged(url, chat_request())
        assert statuses(said) == [200]
        with connected(url) as raw:
            for _ in range(2):
                raw.sendall(chat_request())
                assert raw.recv(65536).startswith(b"HTTP/1.1 200")
            assert rest(raw) == b""


def test_the_rest_of_a_refused_body_is_not_waited_for_without_end() -> None:
    with live_gateway(QUICK, ScriptedUpstream()) as url:
        refused = chat_head("content-encoding: gzip\r\ncontent-length: 1000000\r\n")
        assert statuses(exchanged(url, refused, b"x" * 1000)) == [415]


@pytest.mark.parametrize(
    "head",
    [
        b"x-a: " + b"y" * MOST_HEAD_BYTES * 8,
        b"x-a: y\r\n" * (MOST_HEAD_BYTES // 2),
        b"x" * MOST_HEAD_BYTES * 8,
    ],
    ids=["one value", "many headers", "one name"],
)
@pytest.mark.parametrize("behind", [b"", chat_request(model="never")], ids=["first", "pipelined"])
def test_an_endless_head_is_cut(head: bytes, behind: bytes) -> None:
    upstream = ScriptedUpstream({"never": NEVER})
    config = fusion_yaml(models="    - {name: never, backend_refs: [{base_url: 'http://x/v1'}]}\n")
    with live_gateway(config, upstream) as url:
        with connected(url) as raw:
            with suppress(ConnectionError):
                raw.sendall(behind + b"GET /health HTTP/1.1\r\nhost: x\r\n" + head)
            said = rest(raw)
        assert statuses(said) in ([], [431])  # what was not read may cost the reason
        assert eventually(lambda: upstream.in_flight == 0)
        assert get(url, "/health").status == 200


def test_endless_trailers_are_cut() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream()) as url, connected(url) as raw:
        raw.sendall(chat_head("transfer-encoding: chunked\r\n") + b"1\r\n{\r\n0\r\nx-a: ")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                raw.sendall(b"y" * 65536)


def test_a_body_in_chunks_of_one_byte_is_read() -> None:
    head, _, body = chat_request(headers=CLOSE).partition(b"\r\n\r\n")
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
    with live_gateway(fusion_yaml(), ScriptedUpstream("hi")) as url:
        assert statuses(exchanged(url, head + b"\r\n\r\n", pieces)) == [200]


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v1/models?x=" + "y" * MOST_ADDRESS_BYTES, "", 414),
        ("/v1/models", "x-a: " + "y" * 40_000 + "\r\n", 431),
        ("/v1/models", "x-a: y\r\n" * (MOST_HEADERS + 1), 431),
        ("/v1/models", "x-a: " + "y" * 20_000 + "\r\n", 200),
    ],
    ids=["address", "size", "count", "large enough"],
)
def test_a_whole_head_is_bounded(gateway_url: str, target: str, headers: str, status: int) -> None:
    said = exchanged(gateway_url, f"GET {target} HTTP/1.1\r\n{headers}{CLOSE}\r\n".encode())
    assert statuses(said) == [status]
    if status != 200:
        assert (
            json.loads(said.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
        )


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx y: z\r\n\r\n",
        chat_head("content-length: 5\r\ncontent-length: 6\r\n"),
        chat_head("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        chat_head("content-length: -1\r\n"),
        chat_head("transfer-encoding: chunked\r\n") + b"zz\r\n",
    ],
    ids=["TLS", "version", "path", "name", "lengths", "smuggling", "negative", "chunk"],
)
def test_what_is_not_http_is_a_400_of_ours_and_the_end(gateway_url: str, sent: bytes) -> None:
    head, _, body = exchanged(gateway_url, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert re.search(rb"\r\nx-request-id: req-[0-9a-f]{16}\r\n", head)
    assert json.loads(body)["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("expects", ["", "expect: 100-continue\r\n"], ids=["", "expects"])
@pytest.mark.parametrize("pieces", [[b"zz\r\n"], [b"2\r\n{ \r\n", b"zz\r\n" + b"x" * 300_000]])
def test_a_body_that_breaks_its_framing_is_a_400_and_asks_nobody(
    pieces: list[bytes], expects: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    upstream = ScriptedUpstream()
    head = chat_head(f"transfer-encoding: chunked\r\nx-request-id: mine-7\r\n{expects}")
    with live_gateway(fusion_yaml(), upstream) as url, connected(url) as raw:
        for piece in [head, *pieces]:
            raw.sendall(piece)
        said = rest(raw)
        assert [s for s in statuses(said) if s != 100] == [400]
        assert b"\r\nx-request-id: mine-7\r\n" in said
        assert eventually(lambda: len(_logged(caplog, "mine-7")) == 2)
    assert sorted(_logged(caplog, "mine-7")) == [("refused", 400), ("request", 499)]
    assert upstream.calls == []


def test_broken_framing_behind_a_request_does_not_garble_its_answer() -> None:
    upstream = ScriptedUpstream(Reply("word " * 50, gap_s=0.01))
    with live_gateway(fusion_yaml(), upstream) as url, connected(url) as raw:
        raw.sendall(chat_request(stream=True))
        assert raw.recv(10) == b"HTTP/1.1 2"
        raw.sendall(chat_head("transfer-encoding: chunked\r\n") + b"zz\r\n")
        assert b"HTTP/1.1 400" not in rest(raw)


def test_a_long_stretch_that_is_not_http_is_refused_once(gateway_url: str) -> None:
    assert statuses(exchanged(gateway_url, b"\x16" * MOST_HEAD_BYTES * 2)) == [400]


def test_garbage_behind_a_request_does_not_garble_its_answer() -> None:
    upstream = ScriptedUpstream(Reply("word " * 50, gap_s=0.01))
    with live_gateway(fusion_yaml(), upstream) as url, connected(url) as raw:
        raw.sendall(chat_request(stream=True))
        assert raw.recv(10) == b"HTTP/1.1 2"
        raw.sendall(b"\x00\x01garbage\r\n\r\n")
        assert b"HTTP/1.1 400" not in rest(raw)


def test_pipelined_requests_are_answered_in_order() -> None:
    upstream = ScriptedUpstream({"a": Reply("first", delay_s=0.05), "b": "second"})
    with live_gateway(fusion_yaml(), upstream) as url:
        said = exchanged(url, chat_request() + chat_request(model="b", headers=CLOSE))
    assert statuses(said) == [200, 200]
    assert said.index(b"first") < said.index(b"second")


def test_a_hang_up_behind_pipelined_requests_cancels_the_one_at_work() -> None:
    upstream = ScriptedUpstream({"a": NEVER})
    with live_gateway(fusion_yaml(), upstream) as url:
        with connected(url) as raw:
            raw.sendall(chat_request() * 3)
            assert eventually(lambda: upstream.in_flight == 1)
        assert eventually(lambda: upstream.in_flight == 0, 1.0)
        assert get(url, "/health").status == 200
    assert len(upstream.calls) == 1


def test_too_many_pipelined_requests_end_the_connection() -> None:
    upstream = ScriptedUpstream({"a": NEVER})
    with live_gateway(fusion_yaml(), upstream) as url:
        assert exchanged(url, chat_request() * (MOST_PIPELINED + 2)) == b""
        assert eventually(lambda: upstream.in_flight == 0)


def test_http_1_0_gets_a_whole_answer_and_the_end() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream("hi")) as url:
        said = exchanged(url, chat_request(version="1.0"))
    assert statuses(said) == [200]
    assert b"content-length" in said
    assert b"transfer-encoding" not in said


def test_expect_100_continue_is_answered_only_where_the_body_is_wanted() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream("hi")) as url:
        head, _, body = chat_request(headers=f"expect: 100-continue\r\n{CLOSE}").partition(
            b"\r\n\r\n"
        )
        with connected(url) as raw:
            raw.sendall(head + b"\r\n\r\n")
            assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            raw.sendall(body)
            assert statuses(rest(raw)) == [200]
        refused = head.replace(b"application/json", b"text/plain")
        with connected(url) as raw:
            raw.sendall(refused + b"\r\n\r\n")
            assert statuses(raw.recv(65536)) == [415]


def test_an_upgrade_that_is_not_taken_does_not_cost_the_request() -> None:
    upgrade = (
        "connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"
    )
    with live_gateway(fusion_yaml(gateway="client_body_seconds: 2"), ScriptedUpstream("hi")) as url:
        assert statuses(exchanged(url, chat_request(headers=upgrade))) == [200]


def test_the_connection_idle_longest_makes_room_for_a_new_one() -> None:
    config = fusion_yaml(gateway="max_connections: 3")
    with live_gateway(config, ScriptedUpstream("hi")) as url, ExitStack() as stack:
        idle = [stack.enter_context(connected(url)) for _ in range(3)]
        for raw in idle:
            raw.sendall(chat_request())
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        assert get(url, "/health").status == 200
        assert rest(idle[0]) == b""
        idle[2].sendall(chat_request())
        assert idle[2].recv(65536).startswith(b"HTTP/1.1 200")


def test_where_no_connection_is_idle_a_new_one_is_a_503() -> None:
    upstream = ScriptedUpstream({"a": NEVER})
    with live_gateway(fusion_yaml(gateway="max_connections: 2"), upstream) as url:
        with connected(url) as one, connected(url) as two:
            one.sendall(chat_request())
            two.sendall(chat_request())
            assert eventually(lambda: upstream.in_flight == 2)
            said = exchanged(url, b"")
            assert statuses(said) == [503]
            assert b"retry-after: 1" in said
        assert eventually(lambda: _answers(url))


@contextmanager
def _full() -> Iterator[str]:
    """A gateway whose only connection is at work."""
    upstream = ScriptedUpstream({"a": NEVER})
    with (
        live_gateway(fusion_yaml(gateway="max_connections: 1"), upstream) as url,
        connected(url) as at_work,
    ):
        at_work.sendall(chat_request())
        assert eventually(lambda: upstream.in_flight == 1)
        yield url


def test_who_is_refused_reads_why_though_it_was_still_sending() -> None:
    sent = chat_head("content-length: 300000\r\n") + b" " * 300_000
    with _full() as url:
        assert [statuses(exchanged(url, sent, sent, sent)) for _ in range(10)] == [[503]] * 10


def test_who_is_refused_and_stays_is_cut_off() -> None:
    with _full() as url, connected(url) as raw:
        assert statuses(rest(raw)) == [503]
        assert eventually(lambda: _is_reset(raw))


def _logged(caplog: pytest.LogCaptureFixture, request_id: str) -> list[tuple[str, Any]]:
    """What was logged under an id: event and status."""
    told = [(record.getMessage(), getattr(record, "fields", {})) for record in caplog.records]
    return [
        (event, fields.get("status")) for event, fields in told if fields.get("id") == request_id
    ]


def _answers(url: str) -> bool:
    try:
        return get(url, "/health").status == 200
    except OSError:
        return False


def test_a_thousand_idle_connections_leave_the_gateway_answering() -> None:
    config = fusion_yaml(gateway="max_connections: 200")
    with live_gateway(config, ScriptedUpstream(fusion_script())) as url, ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(connected(url))
        assert statuses(exchanged(url, chat_request("vllm-sr/fusion", headers=CLOSE))) == [200]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_does_not_read_is_cut_off(stream: bool) -> None:
    upstream = ScriptedUpstream(Reply("x" * 30_000_000, pieces=3000))
    config = fusion_yaml(gateway="client_stall_seconds: 0.3, client_idle_seconds: 0.3")
    with live_gateway(config, upstream) as url, connected(url, buffer=4096) as raw:
        raw.sendall(chat_request(stream=stream))
        assert raw.recv(10) == b"HTTP/1.1 2"
        # nothing more is read until the server has given up
        assert eventually(lambda: _is_reset(raw))
        assert eventually(lambda: upstream.in_flight == 0)


def _is_reset(raw: socket.socket) -> bool:
    """Whether the other side has torn the connection down, learnt without reading from it."""
    try:
        raw.sendall(b"\r\n")
    except ConnectionError:
        return True
    return False
