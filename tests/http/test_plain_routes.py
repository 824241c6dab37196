"""Routes to one of several models, and to none that we have, over HTTP and real upstreams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from consilience.upstream.scripted import ScriptedUpstream
from support.chat_server import chat_server, refusal
from support.client import Response, ask, post
from support.live import live_gateway, model_yaml
from support.raw_server import CLOSE, RESET, Step, json_answer, raw_server

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def config(refs: str, *, base_url: str, algorithm: str = "", cards: str = "") -> str:
    models = "".join(model_yaml(name, base_url) for name in ("a", "b", "c"))
    return (
        f"version: v0.3\nlisteners: [{{port: 0}}]\nproviders:\n  models:\n{models}"
        f"routing:\n  modelCards: [{cards}]\n  decisions:\n"
        f"    - {{name: plain, modelRefs: [{refs}]{algorithm}}}\n"
    )


def answered(
    refs: str,
    said: Mapping[str, str | Sequence[Step]],
    *,
    cards: str = "",
    gateway: str = "retry_base_seconds: 0.01",
    **fields: Any,
) -> tuple[Response, list[str]]:
    """The response to a request, and the models that were asked in turn."""
    with raw_server(chat_server(said)) as server:
        text = config(refs, base_url=server.base_url, cards=cards)
        text += f"global: {{gateway: {{{gateway}}}}}\n"
        with live_gateway(text) as url:
            reply = ask(url, "auto", **fields)
        return reply, [request.json["model"] for request in server.requests]


def text_in(reply: Response) -> str:
    if reply.headers["content-type"].startswith("application/json"):
        return str(reply.json["choices"][0]["message"]["content"])
    deltas = [c["delta"] for e in reply.events if e != "[DONE]" for c in e["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@BOTH
@pytest.mark.parametrize(
    "failure",
    [refusal(429), refusal(500), refusal(503), [CLOSE], [RESET]],
    ids=["429", "500", "503", "closed", "reset"],
)
def test_next_model_stands_in_when_the_first_fails(failure: list[Step], stream: bool) -> None:
    reply, asked = answered("{model: a}, {model: b}, {model: c}", {"a": failure}, stream=stream)

    assert (reply.status, text_in(reply)) == (200, "says b")
    assert asked == ["a", "a", "a", "b"]  # the first one and its two retries
    assert reply.headers["x-vsr-selected-model"] == "b"
    assert reply.headers["x-vsr-degraded"].startswith("single=")


@BOTH
def test_next_model_does_not_wait_until_the_first_one_may_be_asked_again(stream: bool) -> None:
    later = [json_answer({}, status=429, headers="retry-after: 30\r\n")]

    reply, asked = answered("{model: a}, {model: b}", {"a": later}, stream=stream)

    assert (text_in(reply), asked) == ("says b", ["a", "b"])


@BOTH
def test_next_model_stands_in_at_once_when_nothing_is_asked_again(stream: bool) -> None:
    reply, asked = answered(
        "{model: a}, {model: b}",
        {"a": refusal(503)},
        gateway="retry_count: 0",
        stream=stream,
    )

    assert (text_in(reply), asked) == ("says b", ["a", "b"])


@BOTH
def test_no_model_stands_in_when_the_request_is_refused(stream: bool) -> None:
    reply, asked = answered("{model: a}, {model: b}", {"a": refusal(400)}, stream=stream)

    assert (reply.status, asked) == (400, ["a"])
    assert reply.error["message"] == "model 'a': answered with status 400"


def test_last_failure_is_told_when_all_fail() -> None:
    said = {"a": refusal(500), "b": refusal(429)}

    reply, asked = answered("{model: a}, {model: b}", said)

    assert (reply.status, list(dict.fromkeys(asked))) == (429, ["a", "b"])


def test_nothing_is_degraded_when_the_first_answers() -> None:
    reply, asked = answered("{model: a}, {model: b}", {})

    assert (asked, "x-vsr-degraded" in reply.headers) == (["a"], False)


def test_model_of_weight_0_only_stands_in() -> None:
    refs = "{model: a, weight: 0}, {model: b, weight: 2}"

    reply, asked = answered(refs, {"b": refusal(503)})

    assert (text_in(reply), list(dict.fromkeys(asked))) == ("says a", ["b", "a"])


def test_conversations_are_shared_out_and_each_stays_with_its_model() -> None:
    upstream = ScriptedUpstream(lambda request: f"says {request.model}")
    refs = "{model: a, weight: 1}, {model: b, weight: 1}"
    first: list[str] = []
    later: list[str] = []
    with live_gateway(config(refs, base_url="http://127.0.0.1:9/v1"), upstream) as url:
        for number in range(12):
            turns = [{"role": "user", "content": f"question {number}"}]
            grown = [
                *turns,
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": "?"},
            ]
            first.append(post(url, {"model": "auto", "messages": turns}).json["model"])
            later.append(post(url, {"model": "auto", "messages": grown}).json["model"])

    assert first == later
    assert set(first) == {"a", "b"}


def test_dry_run_names_the_model_that_is_then_asked() -> None:
    upstream = ScriptedUpstream(lambda request: f"says {request.model}")
    refs = "{model: a, weight: 1}, {model: b, weight: 3}, {model: c, weight: 0}"
    with live_gateway(config(refs, base_url="http://127.0.0.1:9/v1"), upstream) as url:
        for number in range(6):
            body = {"model": "auto", "messages": [{"role": "user", "content": f"q{number}"}]}
            told = post(url, body, path="/api/v1/eval").json
            assert told["selected_model"] == post(url, body).json["model"]
            assert [call["model"] for call in told["calls"]] == [told["selected_model"]]
            assert told["recommended_models"][0] == told["selected_model"]
            assert set(told["recommended_models"]) == {"a", "b", "c"}


@BOTH
def test_lora_is_what_the_backend_is_asked_for(stream: bool) -> None:
    cards = "{name: a, loras: [{name: a-law}]}"

    reply, asked = answered("{model: a, lora_name: a-law}", {}, cards=cards, stream=stream)

    assert (text_in(reply), asked) == ("says a-law", ["a-law"])
    assert reply.headers["x-vsr-selected-model"] == "a-law"


@BOTH
def test_algorithm_that_we_do_not_have_is_named_in_a_501(stream: bool) -> None:
    text = config(
        "{model: a}, {model: b}",
        base_url="http://127.0.0.1:9/v1",
        algorithm=", algorithm: {type: router_dc}",
    )
    with live_gateway(text, ScriptedUpstream("never")) as url:
        reply = ask(url, "auto", stream=stream)
        told = post(url, {"model": "auto", "text": "hi"}, path="/api/v1/eval").json

    assert (reply.status, reply.error["code"]) == (501, "unsupported_algorithm")
    assert "'plain'" in reply.error["message"]
    assert "'router_dc'" in reply.error["message"]
    assert (told["selection_status"], told["algorithm"]) == ("unavailable", "router_dc")
    assert told["error"]["message"] == reply.error["message"]
