"""The connection itself: slow bodies, half bodies, hang-ups, and its use after an error."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from urllib.parse import urlsplit

import pytest

from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import CHAT, HELLO, eventually
from support.live import fusion_yaml, live_gateway

HEAD = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
JSON = {"content-type": "application/json"}


def _connected(url: str) -> http.client.HTTPConnection:
    address = urlsplit(url)
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)


def test_a_body_that_never_comes_is_a_408() -> None:
    with live_gateway(fusion_yaml(gateway="client_body_seconds: 0.1")) as url:
        connection = _connected(url)
        connection.putrequest("POST", CHAT)
        for name, value in {**JSON, "content-length": "50"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        response = connection.getresponse()
        assert response.status == 408
        assert json.loads(response.read())["error"]["code"] == "request_timeout"
        connection.close()


def test_half_a_body_and_a_hang_up_ask_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    upstream = ScriptedUpstream()
    with live_gateway(fusion_yaml(), upstream) as url:
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as raw:
            raw.sendall(f"{HEAD}content-length: 500\r\n\r\n".encode() + b'{"model":"a"')
        assert eventually(lambda: [r for r in caplog.records if r.getMessage() == "request"])
    (line,) = [r for r in caplog.records if r.getMessage() == "request"]
    assert getattr(line, "fields", {})["status"] == 499
    assert upstream.calls == []


def test_a_connection_serves_on_after_errors_and_streams(gateway_url: str) -> None:
    good = json.dumps({"model": "a", "messages": HELLO})
    streamed = json.dumps({"model": "a", "messages": HELLO, "stream": True})
    connection = _connected(gateway_url)
    connection.connect()
    opened = connection.sock
    seen = []
    for said in ("{", good, streamed, '{"model":"zzz","messages":[]}', streamed, good):
        connection.request("POST", CHAT, said, JSON)
        response = connection.getresponse()
        response.read()
        seen.append(response.status)
    assert seen == [400, 200, 200, 400, 200, 200]
    assert connection.sock is opened
    connection.close()


def test_a_hang_up_with_unread_tokens_cancels_the_model() -> None:
    upstream = ScriptedUpstream(Reply("x" * 64_000_000, pieces=1000))
    with live_gateway(fusion_yaml(), upstream) as url:
        body = json.dumps({"model": "a", "messages": HELLO, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as raw:
            raw.sendall(f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body)
            assert raw.recv(100)
            assert eventually(lambda: upstream.in_flight == 1)
        assert eventually(lambda: upstream.in_flight == 0)
    assert upstream.cancelled == 1
