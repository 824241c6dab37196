"""Streams over HTTP: what is on the wire, and when it gets there."""

from __future__ import annotations

import threading
from typing import Any

import anyio

from consilience.chat.completion import Usage
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import ask, opened
from support.golden import assert_golden
from support.live import fusion_yaml, live_gateway
from support.scripts import fusion_script

FUSION = "vllm-sr/fusion"
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def test_a_fusion_stream_is_whole() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        reply = ask(url, FUSION, **WITH_USAGE)
    assert reply.status == 200
    assert_golden("fusion.sse", reply.body.decode())


def test_a_plain_stream_is_whole() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream("One two.")) as url:
        reply = ask(url, "a", stream=True)
    assert_golden("plain.sse", reply.body.decode())


def test_a_stream_says_that_nobody_is_to_keep_it_back() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream("hi")) as url:
        headers = ask(url, "a", stream=True).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-vsr-selected-model"] == "a"


def test_a_stream_and_a_whole_answer_say_the_same() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        whole, events = ask(url, FUSION).json, ask(url, FUSION, **WITH_USAGE).events
    deltas = [e["choices"][0]["delta"] for e in events[:-1] if e["choices"]]
    assert "".join(d.get("content", "") for d in deltas) == "The answer."
    assert events[-1] == "[DONE]"
    last = events[-2]
    assert last["usage"] == whole["usage"]
    assert set(last["fusion"]) == set(whole["fusion"])
    assert last["fusion"]["iterations"] == whole["fusion"]["iterations"] == 4


def test_every_chunk_is_of_one_answer_and_only_one_finishes() -> None:
    plugin = {"id": "fusion", "stream_progress": True}
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        *chunks, done = ask(url, FUSION, plugins=[plugin], **WITH_USAGE).events
    assert done == "[DONE]"
    assert len({(c["id"], c["created"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl-")
    reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
    assert [r for r in reasons if r] == ["stop"]
    assert all("error" not in c for c in chunks)


def test_no_usage_chunk_comes_unasked() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        chunks = ask(url, FUSION, stream=True).events[:-1]
    assert all(chunk["choices"] for chunk in chunks)
    assert not any("usage" in chunk for chunk in chunks)
    assert "fusion" in chunks[0]


def test_usage_that_an_upstream_repeats_is_told_once() -> None:
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    with live_gateway(fusion_yaml(), ScriptedUpstream(Reply("a b", fields=usage))) as url:
        chunks = ask(url, "a", **WITH_USAGE).events[:-1]
    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_the_first_token_is_there_before_the_last_is_written() -> None:
    proceed = threading.Event()
    upstream = ScriptedUpstream(fusion_script(final=Reply("one two three", gap_s=0.02)))
    slow = _Gated(upstream, proceed)
    with live_gateway(fusion_yaml(), slow) as url, opened(url, FUSION) as stream:
        data = stream.data()
        first = next(data)
        assert not proceed.is_set()
        proceed.set()
        rest = list(data)
    assert first["choices"][0]["delta"]["content"] == "one"
    assert rest[-1] == "[DONE]"


def test_tokens_are_never_put_together() -> None:
    words = " ".join(f"w{i}" for i in range(20))
    script = fusion_script(final=Reply(words, gap_s=0.01))
    with (
        live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url,
        opened(url, FUSION) as stream,
    ):
        times = [at for at, line in stream.lines() if line.startswith(b"data: ")]
    assert len(set(times)) >= 20


def test_progress_comes_as_chunks_without_choices() -> None:
    plugin = {"id": "fusion", "stream_progress": True}
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        events = ask(url, FUSION, stream=True, plugins=[plugin]).events
    news = [e["fusion"] for e in events[:-1] if not e["choices"]]
    assert [n["event"] for n in news] == [
        "panel_started",
        "panel_started",
        "panel_answered",
        "panel_answered",
        "judge_started",
        "judge_finished",
        "synthesis_started",
    ]
    assert [n.get("content") for n in news if n["event"] == "panel_answered"] == ["one", "two"]


def test_progress_hides_what_the_trace_hides() -> None:
    plugin = {
        "id": "fusion",
        "stream_progress": True,
        "include_intermediate_responses": False,
        "include_analysis": False,
    }
    script = fusion_script(a="secret one", b="secret two")
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        reply = ask(url, FUSION, plugins=[plugin], **WITH_USAGE)
    assert b"panel_answered" in reply.body
    assert b"secret" not in reply.body
    assert b"Both greet" not in reply.body


def test_progress_is_not_sent_unasked() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        assert b"panel_started" not in ask(url, FUSION, stream=True).body


def test_progress_keeps_the_status_open_until_an_answer_is_there() -> None:
    plugin = {"id": "fusion", "stream_progress": True}
    script = fusion_script(a=Reply(""), b=Reply(""))
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        reply = ask(url, FUSION, stream=True, plugins=[plugin])
    assert (reply.status, reply.error["code"]) == (502, "panel_failed")


def test_an_answer_with_a_contract_is_edited_before_it_is_sent() -> None:
    contract = (
        "output_contract_spec: {type: choice, choice_set: {values: [A, B]},"
        " extract: {sources: [content]}, render: {mode: template, template: 'It is {{choice}}.'}}"
    )
    config = fusion_yaml(decision=contract)
    script = fusion_script(final=Reply("A", usage=Usage(1, 1, 2)))
    with live_gateway(config, ScriptedUpstream(script)) as url:
        events = ask(url, FUSION, **WITH_USAGE).events
        whole = ask(url, FUSION).json
    assert whole["choices"][0]["message"]["content"] == "It is A."
    assert events[0]["choices"][0]["delta"]["content"] == "It is A."
    assert events[-2]["usage"]["total_tokens"] == whole["usage"]["total_tokens"] == 47


class _Gated:
    """Lets a stream go on after its first token only when a test says so."""

    def __init__(self, upstream: ScriptedUpstream, proceed: threading.Event) -> None:
        self._upstream = upstream
        self._proceed = proceed
        self.complete = upstream.complete

    async def stream(self, request: Any) -> Any:
        told = 0
        async for chunk in self._upstream.stream(request):
            yield chunk
            told += 1
            if told == 2:
                await anyio.to_thread.run_sync(self._proceed.wait, 10)
