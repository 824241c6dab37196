"""Whole answers over HTTP: the body, the headers, and what must never get into them."""

from __future__ import annotations

import json

import pytest

from consilience.chat.completion import Usage
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import ask, post
from support.golden import assert_golden
from support.live import fusion_yaml, live_gateway, model_yaml
from support.routing_parts import PROJECTED
from support.scripts import ANALYSIS, fusion_script

FUSION = "vllm-sr/fusion"


def test_a_fusion_answer_is_whole() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        reply = ask(url, FUSION)
    assert reply.status == 200
    assert_golden("fusion.json", json.dumps(reply.json, indent=1) + "\n")


def test_a_plain_answer_is_the_model_s_own() -> None:
    fields = {"system_fingerprint": "fp", "service_tier": "x", "error": None, "object": "odd"}
    said = Reply("Hi.", fields=fields, usage=Usage(7, 3, 10, {"cached_tokens": 2}))
    with live_gateway(fusion_yaml(), ScriptedUpstream(said)) as url:
        reply = ask(url, "a")
    assert_golden("plain.json", json.dumps(reply.json, indent=1) + "\n")


def test_usage_is_the_sum_over_every_call_when_some_do_not_say() -> None:
    script = fusion_script(a=Reply("one", usage=None), b=Reply("two", usage=Usage(100, 50, 150)))
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        usage = ask(url, FUSION).json["usage"]
    assert usage == {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180}


def test_usage_is_absent_when_nobody_says() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(Reply("hi", usage=None))) as url:
        assert "usage" not in ask(url, "a").json


def test_an_unusable_synthesis_counts_and_is_replaced() -> None:
    script = fusion_script(final=Reply("", usage=Usage(1000, 0, 1000)))
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        reply = ask(url, FUSION)
    assert reply.json["choices"][0]["message"]["content"] == "one"
    assert reply.json["usage"]["prompt_tokens"] == 1030


def test_tool_calls_come_back_with_their_finish_reason() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    final = Reply(None, tool_calls=[call], finish_reason="stop")
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script(final=final))) as url:
        tools = [{"type": "function", "function": {"name": "f"}}]
        choice = ask(url, FUSION, tools=tools).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == call["function"]


def test_hidden_parts_of_the_trace_are_not_there() -> None:
    plugin = {"id": "fusion", "include_analysis": False, "include_intermediate_responses": False}
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        assert "fusion" not in ask(url, FUSION, plugins=[plugin]).json


def test_the_headers_tell_the_route() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        fused, plain = ask(url, FUSION).headers, ask(url, "a").headers
    assert _ours(fused) == {
        "x-vsr-schema-version": "2",
        "x-vsr-response-path": "looper",
        "x-vsr-request-model": FUSION,
        "x-vsr-selected-recipe": "default",
        "x-vsr-selected-decision": "panel",
        "x-vsr-selected-confidence": "0.0000",
        "x-vsr-selected-algorithm": "fusion",
        "x-vsr-selected-model": "j",
    }
    assert _ours(plain) == {
        "x-vsr-schema-version": "2",
        "x-vsr-response-path": "upstream",
        "x-vsr-request-model": "a",
        "x-vsr-selected-model": "a",
    }
    assert fused["content-type"] == "application/json"


def test_the_debug_headers_tell_the_calls() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        headers = _ours(ask(url, FUSION, {"x-vsr-debug": "true"}).headers)
    assert int(headers.pop("x-vsr-looper-latency-ms")) >= 0
    assert {k: v for k, v in headers.items() if "looper-" in k} == {
        "x-vsr-looper-model": "j",
        "x-vsr-looper-models-used": "a,b,j",
        "x-vsr-looper-iterations": "4",
        "x-vsr-looper-algorithm": "fusion",
        "x-vsr-looper-prompt-tokens": "40",
        "x-vsr-looper-completion-tokens": "20",
        "x-vsr-looper-total-tokens": "60",
    }


def test_the_debug_headers_tell_signals_and_projections_that_matched() -> None:
    with live_gateway(PROJECTED, ScriptedUpstream("hi")) as url:
        text = [{"role": "user", "content": "compare tea and coffee"}]
        sent = {"model": "auto", "messages": text}
        told, silent = post(url, sent, {"x-vsr-debug": "true"}).headers, post(url, sent).headers
    assert {k: v for k, v in told.items() if "matched" in k} == {
        "x-vsr-matched-keyword": "weigh",
        "x-vsr-matched-projection": "hard",
    }
    assert not [name for name in silent if "matched" in name]


def test_what_is_not_acted_on_is_named() -> None:
    plugin = {"id": "fusion", "preset": "budget"}
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        warning = ask(url, FUSION, plugins=[plugin]).headers["x-vsr-response-warnings"]
    assert warning == "plugins.fusion.preset is not acted on"


def test_lost_seats_show_in_header_and_trace() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script(b=Reply("")))) as url:
        reply = ask(url, FUSION)
    assert reply.headers["x-vsr-degraded"] == "panel=b: empty"
    assert reply.json["fusion"]["degraded"] == [{"stage": "panel", "reason": "b: empty"}]
    assert reply.json["fusion"]["failed_models"][0]["reason"] == "empty"


@pytest.mark.parametrize("given", ["abc", "req-1.2:3_x", "A" * 128])
def test_a_good_request_id_comes_back(given: str) -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream()) as url:
        assert ask(url, "a", {"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a,b", "<script>"])
def test_a_bad_request_id_is_replaced(given: str) -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream()) as url:
        got = ask(url, "a", {"x-request-id": given}).headers["x-request-id"]
    assert got.startswith("req-")
    assert len(got) == 20


def test_names_cannot_smuggle_headers() -> None:
    models = model_yaml('"né™ 模型 \\u2028x"')
    with live_gateway(fusion_yaml(models=models), ScriptedUpstream("hi")) as url:
        reply = ask(url, "né™ 模型 \u2028x")
    assert reply.status == 200
    assert reply.headers["x-vsr-selected-model"] == "n?? ?? ?x"
    assert reply.json["model"] == "né™ 模型 \u2028x"


def test_a_client_s_text_comes_through_unchanged() -> None:
    said = 'h\u00e9 \u6a21 \u2028 \U0001f600 \\ " \x7f'
    with live_gateway(fusion_yaml(), ScriptedUpstream({"a": lambda r: r.user_text})) as url:
        reply = post(url, {"model": "a", "messages": [{"role": "user", "content": said}]})
    assert reply.json["choices"][0]["message"]["content"] == said
    assert reply.headers["content-length"] == str(len(reply.body))


def test_the_analysis_names_models_not_labels() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        trace = ask(url, FUSION).json["fusion"]
    assert ANALYSIS["unique_insights"] == [{"model": "A", "insight": "B is polite."}]
    assert trace["analysis"]["unique_insights"][0]["model"] == trace["labels"]["A"]


def _ours(headers: object) -> dict[str, str]:
    assert isinstance(headers, dict)
    return {name: value for name, value in headers.items() if name.startswith("x-vsr")}
