"""Nobody but the operator chooses where a call goes, with which key, and how often it goes round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from consilience.allowance import MAX_DEPTH
from consilience.app import app_of
from consilience.chat.request import FORBIDDEN_FIELDS, ChatRequest
from consilience.config import parse_config
from consilience.errors import InvalidRequestError
from consilience.gateway import Gateway
from support.chat_server import chat_server
from support.client import HELLO, ask, post
from support.live import fusion_yaml, live_gateway, model_yaml, serve
from support.raw_server import RawServer, answer, raw_server

KEY = "sk-operator-0123456789"
NAMES = sorted({*FORBIDDEN_FIELDS, "baseURL", "apiKey", "API_BASE", "Api-Key", "defaultHeaders"})
PASSING: Mapping[str, Any] = {
    "top_k": 4,
    "chat_template_kwargs": {"base_url": "http://127.0.0.1:1", "enable_thinking": False},
    "provider": {"order": ["x"], "allow_fallbacks": False},
    "extra_body": {"guided_choice": ["a"]},
    "fallbacks": ["b"],
    "models": ["b"],
    "transforms": ["middle-out"],
    "project": "p",
    "never_heard_of": {"url": "http://127.0.0.1:1/v1", "key": "k"},
    "integer": 2**70,
}


@pytest.fixture(scope="module")
def operator() -> Iterator[RawServer]:
    """The one server that the configuration names."""
    with raw_server(chat_server()) as server:
        yield server


@pytest.fixture(scope="module")
def attacker() -> Iterator[RawServer]:
    """A server that requests name."""
    with raw_server(chat_server()) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(operator: RawServer) -> Iterator[str]:
    config = fusion_yaml(base_url=operator.base_url).replace("}]}", f", api_key: {KEY}}}]}}")
    with live_gateway(config) as url:
        yield url


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["a", "vllm-sr/fusion"])
def test_a_field_that_would_choose_a_target_or_a_key_is_refused(
    gateway: str, operator: RawServer, attacker: RawServer, name: str, model: str
) -> None:
    before = len(operator.requests)
    refused = post(gateway, {"model": model, "messages": HELLO, name: attacker.base_url})
    assert refused.status == 400
    assert refused.error["param"] == name
    assert name in refused.error["message"]
    assert attacker.base_url not in refused.error["message"]
    assert (len(operator.requests), attacker.connections) == (before, 0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"extra_body": {"api_base": "x"}}, "extra_body.api_base"),
        ({"extra_body": {"extra_body": {"apiKey": "x"}}}, "extra_body.extra_body.apiKey"),
        ({"fallbacks": [{"model": "a", "base_url": "x"}]}, "fallbacks[0].base_url"),
        ({"provider": {"headers": {}}}, "provider.headers"),
        ({"optional_params": {"proxy": "x"}}, "optional_params.proxy"),
    ],
)
def test_nor_does_it_get_through_inside_a_field_that_others_unfold(
    gateway: str, fields: dict[str, Any], param: str
) -> None:
    refused = ask(gateway, "a", **fields)
    assert (refused.status, refused.error["param"]) == (400, param)


@pytest.mark.parametrize("entry", [{"api_base": "x"}, {"analysis_models": [{"base_url": "x"}]}])
def test_nor_inside_the_plugin(gateway: str, operator: RawServer, entry: dict[str, Any]) -> None:
    before = len(operator.requests)
    refused = ask(gateway, "vllm-sr/fusion", plugins=[{"id": "fusion", **entry}])
    assert refused.status == 400
    assert len(operator.requests) == before


@given(st.sampled_from(NAMES), st.sampled_from(["", "_", "-"]), st.data())
def test_any_spelling_is_refused(name: str, joint: str, data: st.DataObject) -> None:
    words = name.replace("-", "_").split("_")
    spelt = joint.join(
        data.draw(st.sampled_from([w, w.upper(), w.capitalize(), f" {w}"])) for w in words
    ).strip()
    if " " in spelt:
        return
    with pytest.raises(InvalidRequestError) as caught:
        ChatRequest.from_body({"model": "a", "messages": HELLO, spelt: None})
    assert caught.value.param == spelt


@pytest.mark.parametrize("name", PASSING)
def test_other_fields_pass_and_change_neither_target_nor_key(
    gateway: str, operator: RawServer, attacker: RawServer, name: str
) -> None:
    headers = {
        "authorization": "Bearer sk-client-0123456789",
        "x-api-key": "sk-client-0123456789",
        "api-key": "sk-client-0123456789",
        "x-api-base": attacker.base_url,
        "x-forwarded-host": f"127.0.0.1:{attacker.port}",
        "openai-organization": "org-client",
        "cookie": "a=b",
    }
    assert ask(gateway, "a", headers, **{name: PASSING[name]}).status == 200
    sent = operator.requests[-1]
    assert sent.json[name] == PASSING[name]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["host"] == f"127.0.0.1:{operator.port}"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert "client" not in str(sent.headers)
    assert "cookie" not in sent.headers
    assert attacker.connections == 0


@pytest.mark.parametrize("model", ["http://127.0.0.1:1/v1", "../a", "a@127.0.0.1", "file:///etc"])
def test_a_model_that_is_an_address_is_not_known(gateway: str, model: str) -> None:
    assert ask(gateway, model).status == 404


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["other host", "file", "itself"])
def test_redirects_are_not_followed(
    attacker: RawServer, stream: bool, status: int, to: str
) -> None:
    places = {"other host": attacker.url, "file": "file:///etc/passwd", "itself": "/v1/models"}
    before = attacker.connections
    steps = [answer(b"", status=status, headers=f"location: {places[to]}\r\n")]
    with (
        raw_server(steps) as server,
        live_gateway(fusion_yaml(base_url=server.base_url)) as url,
    ):
        refused = ask(url, "a", stream=stream)
        assert (refused.status, refused.error["code"]) == (502, "upstream_protocol_error")
        assert places[to] not in refused.body.decode()
        assert {request.path for request in server.requests} == {"/v1/chat/completions"}
    assert attacker.connections == before


INTERNAL = {
    "x-vsr-selected-model": "b",
    "x-vsr-selected-decision": "forged",
    "x-vsr-fusion-seed": "1",
    "x-vsr-looper-request": "true",
    "x-vsr-looper-secret": "canary",
    "x-vsr-looper-decision": "panel",
    "x-vsr-destination-endpoint": "127.0.0.1:1",
    "x-vsr-cache-hit": "true",
    "x-selected-model": "b",
}


@pytest.mark.parametrize("name", INTERNAL)
def test_internal_headers_from_outside_have_no_effect(
    gateway: str, operator: RawServer, name: str
) -> None:
    plain, forged = (ask(gateway, "a", headers) for headers in ({}, {name: INTERNAL[name]}))
    kept = [
        {k: v for k, v in reply.headers.items() if k.startswith("x-vsr")}
        for reply in (plain, forged)
    ]
    assert kept[0] == kept[1]
    assert operator.requests[-1].headers == operator.requests[-2].headers
    assert operator.requests[-1].json == operator.requests[-2].json


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("0", "1"),
        ("1", "2"),
        ("3", "4"),
        ("-5", "1"),
        ("nonsense", "1"),
        ("", "1"),
        ("1, 2", "3"),
        ("0x1", "1"),
    ],
)
def test_a_depth_from_outside_can_only_shorten_the_way(
    gateway: str, operator: RawServer, said: str, sent: str
) -> None:
    assert ask(gateway, "a", {"x-vsr-fusion-depth": said}).status == 200
    assert operator.requests[-1].headers["x-vsr-fusion-depth"] == sent


@pytest.mark.parametrize("said", ["4", "9", "99999999999999999999", "1, 7"])
def test_a_depth_at_the_limit_ends_the_way(gateway: str, operator: RawServer, said: str) -> None:
    before = len(operator.requests)
    assert ask(gateway, "a", {"x-vsr-fusion-depth": said}).status == 400
    assert len(operator.requests) == before


# -- loops


class Address:
    """An ASGI application that has its address before there is a gateway to answer at it."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.app: ASGIApp | None = None
        self.calls = 0

    def answers_with(self, config: str) -> None:
        self.gateway = Gateway(parse_config(config))
        self.app = app_of(self.gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                if phase == "shutdown" and self.gateway is not None:
                    await self.gateway.aclose()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        self.calls += 1
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.mark.parametrize("model", ["loop", "vllm-sr/fusion"])
def test_two_gateways_that_point_at_each_other_end_soon(model: str) -> None:
    first, second = Address(), Address()
    with serve(first) as a, serve(second) as b:
        for here, other in ((first, b), (second, a)):
            base_url, retries = f"{other}/v1", "retry_count: 0"
            more = model_yaml("loop", base_url)
            here.answers_with(fusion_yaml(base_url=base_url, gateway=retries, models=more))
        refused = ask(a, model)
        calls = first.calls + second.calls
    assert refused.status in (400, 502)
    assert calls <= 1 + 2 * 4
    assert second.calls > 0


def test_a_fusion_that_asks_a_fusion_is_cut_at_the_second() -> None:
    here = Address()
    with serve(here) as url:
        to = "provider_model_id: vllm-sr/fusion, backend_refs:"
        config = fusion_yaml(base_url=f"{url}/v1", gateway="retry_count: 0")
        here.answers_with(config.replace("backend_refs:", to))
        refused = ask(url, "vllm-sr/fusion")
    assert refused.status == 502
    assert here.calls == 1 + 2


def test_a_loop_through_a_helper_model_ends() -> None:
    here = Address()
    with serve(here) as url, raw_server(chat_server()) as server:
        config = (
            fusion_yaml(base_url=server.base_url, gateway="retry_count: 0")
            .replace("providers:\n", "providers:\n  defaults: {default_model: a}\n")
            .replace("      algorithm", f"      {ASKING_RULE}\n      algorithm")
            .replace("routing:\n", ASKING_SIGNAL)
        )
        here.answers_with(config + HELPER.format(port=url.rpartition(":")[2]))
        assert ask(url, "auto").status == 200
    assert here.calls == MAX_DEPTH + 1
    assert len(server.requests) == MAX_DEPTH


ASKING_RULE = "rules: {operator: OR, conditions: [{type: classifier, name: 'c:yes'}]}"
ASKING_SIGNAL = """routing:
  signals:
    classifiers: [{name: c, type: llm, model: helper, labels: ['yes', 'no']}]
"""
HELPER = """  model_catalog:
    external:
      - name: helper
        llm_endpoint: {{address: 127.0.0.1, port: {port}}}
        llm_model_name: auto
"""
