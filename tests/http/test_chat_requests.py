"""Requests that are refused before anything is spent: status, code, param and words."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from consilience.upstream.scripted import ScriptedUpstream
from support.client import CHAT, HELLO, Response, ask, get, post, send
from support.live import fusion_yaml, live_gateway
from support.scripts import fusion_script

FUSION = "vllm-sr/fusion"
NO_RULE_MATCHES = fusion_yaml(
    decision="rules: {operator: AND, conditions: [{type: keyword, name: k}]}"
).replace(
    "routing:\n", "routing:\n  signals: {keywords: [{name: k, operator: OR, keywords: [zzz]}]}\n"
)


def _plugin(**fields: Any) -> dict[str, Any]:
    return {"model": FUSION, "messages": HELLO, "plugins": [{"id": "fusion", **fields}]}


BAD: dict[str, tuple[object, int, str, str | None]] = {
    "no JSON": (b'{"model": ', 400, "invalid_request", None),
    "empty": (b"", 400, "invalid_request", None),
    "not UTF-8": (b'{"model": "\xff"}', 400, "invalid_request", None),
    "an array": ([], 400, "invalid_request", None),
    "null": (None, 400, "invalid_request", None),
    "deep": (
        b'{"model":"a","messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
        400,
        "invalid_request",
        None,
    ),
    "no model": ({"messages": HELLO}, 400, "invalid_request", "model"),
    "a number as model": ({"model": 5, "messages": HELLO}, 400, "invalid_request", "model"),
    "no messages": ({"model": "a"}, 400, "invalid_request", "messages"),
    "empty messages": ({"model": "a", "messages": []}, 400, "invalid_request", "messages"),
    "blank messages": (
        {"model": "a", "messages": [{"role": "user", "content": " "}]},
        400,
        "invalid_request",
        "messages",
    ),
    "too many messages": (
        {"model": "a", "messages": HELLO * 51},
        400,
        "invalid_request",
        "messages",
    ),
    "an odd role": (
        {"model": "a", "messages": [{"role": "boss"}]},
        400,
        "invalid_request",
        "messages[0].role",
    ),
    "a text as stream": (
        {"model": "a", "messages": HELLO, "stream": "yes"},
        400,
        "invalid_request",
        "stream",
    ),
    "a negative temperature": (
        {"model": "a", "messages": HELLO, "temperature": -1},
        400,
        "invalid_request",
        "temperature",
    ),
    "a base_url": (
        {"model": "a", "messages": HELLO, "base_url": "http://x"},
        400,
        "invalid_request",
        "base_url",
    ),
    "a plugin typo": (
        _plugin(analysis_model=["a"]),
        400,
        "invalid_request",
        "plugins[0].analysis_model",
    ),
    "a panel of nine": (
        _plugin(analysis_models=["a"] * 9),
        400,
        "invalid_request",
        "plugins[0].analysis_models",
    ),
    "a seat with a count of nine": (
        _plugin(analysis_models=[{"model": "a", "count": 9}]),
        400,
        "invalid_request",
        "plugins[0].analysis_models[0].count",
    ),
    "a quorum above the panel": (
        _plugin(min_successful_responses=3),
        400,
        "invalid_request",
        "plugins[0].min_successful_responses",
    ),
    "a negative plugin temperature": (
        _plugin(temperature=-0.5),
        400,
        "invalid_request",
        "plugins[0].temperature",
    ),
    "a template without answers": (
        _plugin(analysis_template="Compare."),
        400,
        "invalid_request",
        "plugins[0].analysis_template",
    ),
    "a model that is not configured": (
        _plugin(analysis_models=["gpt-9"]),
        400,
        "invalid_request",
        "plugins[0].analysis_models[0]",
    ),
    "a slug on the panel": (
        _plugin(analysis_models=[FUSION]),
        400,
        "invalid_request",
        "plugins[0].analysis_models[0]",
    ),
    "a plugin without id": (
        {"model": FUSION, "messages": HELLO, "plugins": [{}]},
        400,
        "invalid_request",
        "plugins[0]",
    ),
    "a fusion plugin on a model": (
        {"model": "a", "messages": HELLO, "plugins": [{"id": "fusion"}]},
        400,
        "invalid_request",
        "plugins",
    ),
    "an unknown model": ({"model": "gpt", "messages": HELLO}, 404, "model_not_found", "model"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bad_request_is_told_what_is_wrong(gateway_url: str, case: str, stream: bool) -> None:
    body, status, code, param = BAD[case]
    if isinstance(body, dict) and "stream" not in body:
        body = {**body, "stream": stream}
    reply = post(gateway_url, body)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (status, code, param)
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["message"]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-vsr-response-path"] == "error"
    assert reply.headers["x-request-id"].startswith("req-")
    assert "x-should-retry" not in reply.headers


@pytest.mark.parametrize("asked", ["VLLM-SR/Fusion", "vllm-sr/fuson", "fusion"])
def test_an_unknown_model_is_told_near_names(gateway_url: str, asked: str) -> None:
    assert FUSION in ask(gateway_url, asked).error["message"]


def test_a_typo_is_told_what_was_meant(gateway_url: str) -> None:
    message = post(gateway_url, _plugin(analysis_model=["a"])).error["message"]
    assert "'analysis_models'" in message


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_media_type_is_a_415(gateway_url: str, kind: str) -> None:
    body = json.dumps({"model": "a", "messages": HELLO}).encode()
    reply = send(gateway_url, "POST", CHAT, body, {"content-type": kind})
    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")


def test_a_compressed_body_is_a_415(gateway_url: str) -> None:
    reply = post(gateway_url, b"\x1f\x8b", {"content-encoding": "gzip"})
    assert reply.status == 415


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"]
)
def test_json_by_any_name_is_taken(gateway_url: str, kind: str) -> None:
    body = json.dumps({"model": "a", "messages": HELLO}).encode()
    assert send(gateway_url, "POST", CHAT, body, {"content-type": kind}).status == 200


def test_a_body_announced_too_large_is_a_413(gateway_url: str) -> None:
    address = urlsplit(gateway_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("POST", CHAT)
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(2 << 20))
    connection.endheaders(b"{")
    response = connection.getresponse()
    reply = Response(response.status, {}, response.read())
    connection.close()
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


def test_a_body_that_grows_too_large_is_a_413(gateway_url: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"model":"a","x":"'
        for _ in range(20):
            yield b"x" * 65_536

    address = urlsplit(gateway_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    headers = {"content-type": "application/json"}
    connection.request("POST", CHAT, pieces(), headers, encode_chunked=True)
    response = connection.getresponse()
    reply = Response(response.status, {}, response.read())
    connection.close()
    assert reply.status == 413


def test_a_body_just_below_the_limit_is_taken(gateway_url: str) -> None:
    fill = "x" * ((1 << 20) - 200)
    assert ask(gateway_url, "a", metadata_of_mine=fill).status == 200


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat/completions/", "/v1/completions", "/%00"])
def test_an_unknown_path_is_a_404(gateway_url: str, path: str) -> None:
    reply = get(gateway_url, path)
    assert (reply.status, reply.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", CHAT, "POST"), ("PUT", CHAT, "POST"), ("DELETE", "/v1/models", "GET")],
)
def test_another_method_is_a_405(gateway_url: str, method: str, path: str, allow: str) -> None:
    reply = send(gateway_url, method, path)
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    assert allow in reply.error["message"]
    assert allow in reply.headers["allow"]


def test_a_slug_without_matching_decision_says_why() -> None:
    upstream = ScriptedUpstream(fusion_script())
    with live_gateway(NO_RULE_MATCHES, upstream) as url:
        reply = ask(url, FUSION)
    assert (reply.status, reply.error["code"]) == (400, "no_matching_decision")
    assert "'panel'" in reply.error["message"]
    assert "analysis_models" in reply.error["message"]
    assert upstream.calls == []


def test_a_slug_without_matching_decision_takes_the_request_s_own_panel() -> None:
    with live_gateway(NO_RULE_MATCHES, ScriptedUpstream(fusion_script())) as url:
        reply = post(url, _plugin(analysis_models=["a", "b"], model="j"))
    assert reply.status == 200
    assert reply.headers["x-vsr-selected-decision"] == "fusion_direct"


def test_an_auto_alias_without_match_or_default_is_a_400() -> None:
    with live_gateway(NO_RULE_MATCHES, ScriptedUpstream()) as url:
        reply = ask(url, "auto")
    assert (reply.status, reply.error["code"]) == (400, "no_matching_decision")


@pytest.mark.parametrize(
    ("model", "depth", "status"),
    [
        (FUSION, "0", 200),
        (FUSION, "1", 400),
        (FUSION, "1, 0", 400),
        (FUSION, "99999999999", 400),
        (FUSION, "x", 200),
        ("a", "1", 200),
        ("a", "3", 200),
        ("a", "4", 400),
        ("a", "1000", 400),
    ],
)
def test_a_request_that_went_in_circles_is_refused(
    gateway_url: str, model: str, depth: str, status: int
) -> None:
    assert ask(gateway_url, model, {"x-vsr-fusion-depth": depth}).status == status


def test_keys_are_asked_for_where_there_are_some() -> None:
    config = fusion_yaml(listener="api_keys: [k-one, k-two]")
    with live_gateway(config, ScriptedUpstream(fusion_script())) as url:
        for bad in (
            "",
            "Bearer",
            "Bearer ",
            "Bearer k-three",
            "Basic k-one",
            "k-one",
            "Bearer k-on",
        ):
            reply = ask(url, "a", {"authorization": bad})
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == "Bearer"
        for good in ("Bearer k-one", "bearer k-two", "Bearer  k-one "):
            assert ask(url, "a", {"authorization": good}).status == 200
        assert [get(url, p).status for p in ("/health", "/ready")] == [200, 200]
        for path in ("/v1/models", "/v1/models/a", "/openapi.json", "/nope"):
            assert get(url, path).status == 401
