"""Plugins of decisions over HTTP: the real server, real clients, a real upstream."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from consilience.upstream.scripted import ScriptedUpstream
from support.client import HELLO, ask, eventually, post
from support.live import live_gateway
from support.raw_server import completion, json_answer, raw_server

openai = pytest.importorskip("openai")

KEYS = {"alice": {"authorization": "Bearer key-a"}, "bob": {"authorization": "Bearer key-b"}}


def config(base_url: str = "http://127.0.0.1:9/v1") -> str:
    backend = f"{{base_url: '{base_url}', extra_headers: {{X-Trace: 'on', X-Tier: free}}}}"
    return f"""\
version: v0.3
listeners: [{{name: http, port: 0, api_keys: [key-a, key-b]}}]
providers:
  models:
    - {{name: small, backend_refs: [{backend}]}}
routing:
  signals:
    keywords: [{{name: secret, keywords: [password]}}]
  decisions:
    - name: refused
      priority: 9
      rules: {{type: keyword, name: secret}}
      plugins:
        - {{type: fast_response, configuration: {{message: Not here.}}}}
    - name: plain
      modelRefs: [{{model: small}}]
      plugins:
        - {{type: response_cache, configuration: {{request_controls: {{enabled: true}}}}}}
        - {{type: system_prompt, configuration: {{system_prompt: Be brief.}}}}
        - type: header_mutation
          configuration:
            add: [{{name: X-Team, value: red}}]
            update: [{{name: X-Tier, value: gold}}]
            delete: [X-Trace]
"""


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream("Hello there.")


@pytest.fixture
def url(upstream: ScriptedUpstream) -> Iterator[str]:
    with live_gateway(config(), upstream) as base_url:
        yield base_url


def test_client_reads_a_fixed_answer_whole_and_streamed(url: str) -> None:
    asked: list[Any] = [{"role": "user", "content": "my password"}]
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key-a", max_retries=0) as client:
        whole = client.chat.completions.create(model="auto", messages=asked)
        options = {"include_usage": True}
        chunks = list(
            client.chat.completions.create(
                model="auto", messages=asked, stream=True, stream_options=options
            )
        )

    assert whole.choices[0].message.content == "Not here."
    assert whole.usage.total_tokens == 0
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == "Not here."
    assert (chunks[-2].choices[0].finish_reason, chunks[-1].usage.total_tokens) == ("stop", 0)


def test_client_gets_its_answer_again(url: str, upstream: ScriptedUpstream) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key-a", max_retries=0) as client:
        first = client.chat.completions.create(model="auto", messages=HELLO)
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
        stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert raw.headers["x-vsr-cache-hit"] == "true"
    assert raw.headers["x-vsr-response-path"] == "cache"
    again = raw.parse()
    assert again.choices[0].message.content == said == first.choices[0].message.content
    assert again.usage == first.usage
    assert len(upstream.calls) == 1


def test_client_does_not_get_what_another_key_got(url: str, upstream: ScriptedUpstream) -> None:
    spoofed = {**KEYS["bob"], "x-authz-user-id": "alice"}
    victim = {**KEYS["alice"], "x-authz-user-id": "alice"}

    for headers in (victim, KEYS["bob"], spoofed):
        response = ask(url, "auto", headers)
        assert "x-vsr-cache-hit" not in response.headers

    assert len(upstream.calls) == 3
    assert ask(url, "auto", victim).headers["x-vsr-cache-hit"] == "true"


def test_request_says_that_its_answer_is_to_be_fresh(url: str, upstream: ScriptedUpstream) -> None:
    fresh = {**KEYS["alice"], "x-vsr-cache-control": "no-cache"}

    for headers in (KEYS["alice"], fresh, KEYS["alice"]):
        ask(url, "auto", headers)

    assert len(upstream.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_access_line_tells_who_answered_in_place_of_a_model(
    url: str, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.INFO, "consilience")
    for text in ("hi", "hi", "password"):
        asked = [{"role": "user", "content": text}]
        body = {"model": "auto", "messages": asked, "stream": stream}
        assert post(url, body, KEYS["alice"]).status == 200

    def lines() -> list[Any]:
        return [vars(r)["fields"] for r in caplog.records if r.getMessage() == "request"]

    assert eventually(lambda: len(lines()) == 3)  # a line is written after the last byte
    told = [(f.get("model"), f.get("cache_hit"), f.get("fast_response")) for f in lines()]
    assert told == [("small", None, None), ("small", "true", None), (None, None, "true")]


def test_stream_of_a_hit_has_its_headers(url: str) -> None:
    ask(url, "auto", KEYS["alice"])

    streamed = ask(url, "auto", KEYS["alice"], stream=True)

    assert streamed.headers["x-vsr-cache-hit"] == "true"
    assert streamed.events[-1] == "[DONE]"


def test_headers_of_the_upstream_call_are_changed() -> None:
    with (
        raw_server([json_answer(completion("Hello."))]) as server,
        live_gateway(config(server.url.removesuffix("/chat/completions"))) as url,
    ):
        assert ask(url, "auto", {**KEYS["alice"], "x-other": "mine"}).status == 200
        assert ask(url, "small", KEYS["alice"]).status == 200

    by_decision, by_name = server.requests
    assert by_decision.json["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (by_decision.headers["x-team"], by_decision.headers["x-tier"]) == ("red", "gold")
    assert not by_decision.headers.keys() & {"x-trace", "x-other", "authorization"}
    assert (by_name.headers["x-tier"], by_name.headers["x-trace"]) == ("free", "on")
    assert by_name.json["messages"] == HELLO


def test_dry_run_says_what_plugins_do(url: str, upstream: ScriptedUpstream) -> None:
    told = post(url, {"text": "hi"}, KEYS["alice"], path="/api/v1/eval").json

    assert told["decision_result"]["plugins"] == [
        "response_cache",
        "system_prompt",
        "header_mutation",
    ]
    assert [plugin["type"] for plugin in told["plugins"]] == told["decision_result"]["plugins"]
    assert told["plugins"][1]["effect"] == "adds a system prompt of 9 characters"
    assert told["calls"][0]["prompt_tokens"] > 8
    assert upstream.calls == []


def test_dry_run_of_a_fixed_answer_has_no_calls(url: str) -> None:
    told = post(url, {"text": "password"}, KEYS["alice"], path="/api/v1/eval").json

    assert (told["calls"], told["selected_model"]) == ([], None)
    assert (told["selection_status"], told["routing_decision"]) == ("selected", "refused")
    assert told["recommended_models"] == []
