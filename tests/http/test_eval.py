"""`POST /api/v1/eval`: a dry run over HTTP."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.chat.codec import encode
from consilience.config import parse_config
from consilience.errors import InvalidRequestError
from consilience.explain import SelectionStatus, explain
from consilience.gateway import Gateway
from consilience.http.eval import evaluated_request
from consilience.upstream.scripted import ScriptedUpstream
from support.client import Response, eventually, get, post
from support.live import live_gateway
from support.meanings import WordEncoder
from support.raw_server import HANG, RawServer, Received, Step, json_answer, raw_server
from support.routing_parts import routing_yaml

EVAL = "/api/v1/eval"
GATEWAY = Gateway(parse_config(routing_yaml()), upstream=ScriptedUpstream("unused"))
FIELDS = (
    "text", "query", "messages", "model", "options", "plugins", "tools", "metadata", "max_tokens",
    "max_completion_tokens", "stream", "response_format", "functions",
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
COMPARE = [{"role": "user", "content": "compare tea and coffee"}]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    def refuse(*_: object) -> str:
        raise AssertionError("a dry run calls no model")

    with live_gateway(routing_yaml(), ScriptedUpstream(refuse)) as base_url:
        yield base_url


def evaluate(url: str, body: object, query: str = "", **headers: str) -> Response:
    return post(url, body, headers, path=EVAL + query)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": COMPARE},
        {"text": "compare tea and coffee"},
        {"query": "compare tea and coffee", "model": None},
        {"text": "not looked at", "messages": COMPARE, "model": "vllm-sr/auto"},
        {"messages": COMPARE, "model": "vllm-sr/fusion", "stream": True},
    ],
)
def test_request_is_evaluated_in_every_form(url: str, body: dict[str, Any]) -> None:
    reply = evaluate(url, body)

    assert reply.status == 200
    assert reply.json["original_text"] == "compare tea and coffee"
    assert reply.json["routing_decision"] == "deep"
    assert reply.json["selection_status"] == "planned_final"
    assert reply.json["requested_model"] == (body.get("model") or "vllm-sr/auto")


@pytest.mark.parametrize(
    ("query", "options", "traced"),
    [
        ("?trace=true", {}, True),
        ("?trace=1", {}, True),
        ("", {"options": {"trace": True}}, True),
        ("?trace=false", {}, False),
        ("?other=true", {"options": {}}, False),
        ("", {"options": "odd"}, False),
    ],
)
def test_trace_comes_when_it_is_asked_for(
    url: str, query: str, options: dict[str, Any], traced: bool
) -> None:
    reply = evaluate(url, {"messages": COMPARE, **options}, query)

    assert ("eval_trace" in reply.json) is traced


@pytest.mark.parametrize("query", ["?trace=ture", "?trace=", "?trace=2"])
def test_a_trace_that_is_neither_wanted_nor_not_is_refused(url: str, query: str) -> None:
    reply = evaluate(url, {"text": "hi"}, query)

    assert (reply.status, reply.json["error"]["param"]) == (400, "trace")
    assert "must be true or false" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"text": "  "}, "text"),
        ({"query": 3}, "query"),
        ({"text": "a", "model": 7}, "model"),
        ({"text": "a", "max_tokens": "many"}, "max_tokens"),
        ([1], None),
        (b"{", None),
        (b"", None),
    ],
)
def test_what_is_no_request_is_a_400(url: str, body: object, param: str | None) -> None:
    reply = evaluate(url, body)

    assert (reply.status, reply.error["param"]) == (400, param)


def test_unknown_model_is_a_404(url: str) -> None:
    reply = evaluate(url, {"text": "a", "model": "chaep"})

    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert "cheap" in reply.error["message"]


def test_request_that_would_be_refused_is_explained(url: str) -> None:
    reply = evaluate(url, {"text": "hi", "model": "vllm-sr/fusion"})

    assert (reply.status, reply.json["selection_status"]) == (200, "failed")
    assert reply.json["error"]["code"] == "no_matching_decision"


def test_other_methods_and_types_are_refused(url: str) -> None:
    assert get(url, EVAL).status == 405
    assert post(url, b"a=b", {"content-type": "text/plain"}, path=EVAL).status == 415


def test_key_is_wanted_when_there_are_keys() -> None:
    config = routing_yaml(listener=", api_keys: [a-client-key]")
    with live_gateway(config, ScriptedUpstream("unused")) as base_url:
        assert evaluate(base_url, {"text": "hi"}).status == 401
        allowed = evaluate(base_url, {"text": "hi"}, authorization="Bearer a-client-key")
        assert allowed.status == 200


def test_model_must_be_named_when_there_is_no_alias() -> None:
    config = routing_yaml(more="global: {router: {auto_model_names: []}}\n")
    with live_gateway(config, ScriptedUpstream("unused")) as base_url:
        reply = evaluate(base_url, {"text": "hi"})
    assert (reply.status, reply.error["param"]) == (400, "model")


def test_explanation_has_the_documented_fields(url: str) -> None:
    document = get(url, "/openapi.json").json
    schema = document["components"]["schemas"]["Explanation"]
    told = evaluate(url, {"messages": COMPARE}, "?trace=true").json

    assert "post" in document["paths"][EVAL]
    assert set(schema["required"]) <= set(told)
    assert set(schema["properties"]) <= set(told)
    assert schema["properties"]["selection_status"]["enum"] == list(get_args(SelectionStatus))
    for field in ("decisions", "signals", "calls", "eval_trace"):
        required = schema["properties"][field]["items"]["required"]
        assert told[field]
        assert all(set(required) <= set(entry) for entry in told[field])


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.booleans())
def test_any_body_is_explained_or_refused(body: dict[str, Any], sound: bool) -> None:
    usual = {"messages": COMPARE, "model": "auto"} if sound else {}
    try:
        request = evaluated_request({**body, **usual}, GATEWAY)
        told = anyio.run(explain, GATEWAY.router, GATEWAY.config, request, {})
    except InvalidRequestError:
        return
    assert encode(told.as_body(trace=True))


HANGING = """\
version: v0.3
listeners: [{{name: http, port: 0, timeout: {timeout}}}]
providers:
  models: [{{name: m, backend_refs: [{{base_url: 'http://127.0.0.1:9/v1'}}]}}]
routing:
  signals: {{embeddings: [{{name: refunds, threshold: 0.7, candidates: [money back]}}]}}
  decisions: [{{name: one, rules: {{type: embedding, name: refunds}}, modelRefs: [{{model: m}}]}}]
global:
  model_catalog: {{embeddings: {{semantic: {{endpoint: {{base_url: '{base_url}', model: e}}}}}}}}
"""


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """An embeddings endpoint that learns what is configured, and says nothing to requests."""
    monkeypatch.setattr("consilience.signal_models.cache_dir", lambda: tmp_path / "models")

    def script(request: Received) -> list[Step]:
        rows = WordEncoder().encode(request.json["input"])
        entries = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
        return [json_answer({"data": entries})] if "money back" in request.json["input"] else [HANG]

    with raw_server(script) as server:
        yield server


def test_a_client_that_leaves_a_dry_run_ends_what_it_asked(
    hanging: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text = HANGING.format(base_url=hanging.base_url, timeout="300s")
    with live_gateway(text) as url:
        address = urlsplit(url)
        body = encode({"text": "where is my parcel"})
        head = f"POST {EVAL} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            assert hanging.wait_for(lambda server: server.active == 1)
        assert hanging.wait_for(lambda server: server.active == 0, 1.0)
        assert eventually(lambda: [s for s in _statuses(caplog) if s == 499])


def test_a_dry_run_ends_in_time(hanging: RawServer) -> None:
    text = HANGING.format(base_url=hanging.base_url, timeout="300s")
    with live_gateway(text) as url:
        reply = evaluate(url, {"text": "where is my parcel"}, **{"x-request-timeout-ms": "100"})
        assert (reply.status, reply.error["code"]) == (504, "deadline_exceeded")
        wrong = evaluate(url, {"text": "x"}, **{"x-request-timeout-ms": "soon"})
        assert (wrong.status, wrong.error["param"]) == (400, "x-request-timeout-ms")


def _statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    lines = [r for r in list(caplog.records) if r.getMessage() == "request"]
    return [getattr(line, "fields", {})["status"] for line in lines]
