"""What a client is told when models fail: before the first byte, and after it."""

from __future__ import annotations

import logging
import math
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from consilience.errors import OverloadedError, UpstreamStatusError, UpstreamTimeoutError
from consilience.http.errors import error_body, error_event
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import Response, ask, eventually, get, opened, pending
from support.live import fusion_yaml, live_gateway
from support.raw_server import CLOSE, Step, answer, completion, json_answer, raw_server
from support.scripts import fusion_script, is_judge_call

FUSION = "vllm-sr/fusion"
CANARY = "sk-canary-9876543210"
NEVER = Reply("x", delay_s=math.inf)


def _status(code: int, *, model: str = "a", retry_after_s: float | None = None) -> Exception:
    return UpstreamStatusError(
        f"answered with status {code}", model=model, status_code=code, retry_after_s=retry_after_s
    )


def _asked(
    script: Any, *, config: str | None = None, model: str = FUSION, **fields: Any
) -> Response:
    with live_gateway(config or fusion_yaml(), ScriptedUpstream(script)) as url:
        return ask(url, model, **fields)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("code", "status"), [(400, 400), (401, 502), (404, 404), (422, 422), (500, 502), (504, 504)]
)
def test_a_plain_model_s_status_is_passed_on_in_our_words(
    code: int, status: int, stream: bool
) -> None:
    reply = _asked({"a": _status(code)}, model="a", stream=stream)
    assert reply.status == status
    assert reply.error["message"] == f"model 'a': answered with status {code}"
    assert "x-should-retry" not in reply.headers


def test_a_plain_429_says_when_to_come_back() -> None:
    reply = _asked({"a": _status(429, retry_after_s=1.2)}, model="a")
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    assert reply.error["type"] == "rate_limit_error"


def test_a_panel_of_429s_says_when_to_come_back_and_that_nothing_was_spent() -> None:
    script = fusion_script(a=_status(429, retry_after_s=30), b=_status(429, retry_after_s=7))
    reply = _asked(script)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert "x-should-retry" not in reply.headers


def test_one_seat_of_many_that_is_rate_limited_does_not_call_the_client_back() -> None:
    script = fusion_script(a=NEVER, b=_status(429, model="b", retry_after_s=7))
    reply = _asked(script, config=fusion_yaml(fusion="on_error: fail"))
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")
    assert "retry-after" not in reply.headers


def test_a_panel_that_timed_out_is_a_504() -> None:
    slow = UpstreamTimeoutError("did not answer in time", model="a")
    reply = _asked(fusion_script(a=slow, b=slow))
    assert (reply.status, reply.error["code"]) == (504, "panel_failed")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_failed_panel_names_every_reason(stream: bool) -> None:
    reply = _asked(fusion_script(a=_status(500), b=Reply("")), stream=stream)
    assert (reply.status, reply.error["code"]) == (502, "panel_failed")
    for words in ("a: answered with status 500", "b: the answer is empty"):
        assert words in reply.error["message"]
    assert reply.headers["x-vsr-response-path"] == "error"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_error_after_spending_asks_not_to_be_repeated(stream: bool) -> None:
    config = fusion_yaml(fusion="on_error: fail")
    reply = _asked(fusion_script(final=_status(500, model="j")), config=config, stream=stream)
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (_status(429, model="j", retry_after_s=7), 502),
        (_status(400, model="j"), 502),
        (UpstreamTimeoutError("did not answer in time", model="j"), 504),
    ],
    ids=["429", "400", "timeout"],
)
def test_a_synthesis_that_fails_for_good_is_a_502_or_a_504(
    failure: Exception, status: int, stream: bool
) -> None:
    config = fusion_yaml(fusion="on_error: fail")
    reply = _asked(fusion_script(final=failure), config=config, stream=stream)
    assert (reply.status, reply.error["type"]) == (status, "upstream_error")
    assert reply.error["message"] == f"model 'j': {failure}"
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    "silent", [Reply("", reasoning="hm"), Reply(" \n"), Reply("<think>hm</think>")]
)
def test_a_streamed_synthesis_without_a_word_is_answered_by_the_panel(
    silent: Reply, reason: str
) -> None:
    script = fusion_script(final=replace(silent, finish_reason=reason))
    reply = _asked(script, stream=True, stream_options={"include_usage": True})
    *chunks, done = reply.events
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert (reply.status, done) == (200, "[DONE]")
    assert "".join(d.get("content") or "" for d in deltas).endswith("one")
    assert chunks[-1]["fusion"]["degraded"] == [
        {"stage": "synthesis", "reason": "empty"},
        {"stage": "synthesis", "reason": "answered_by_panel"},
    ]
    assert chunks[-1]["fusion"]["synthesis_model"] == "a"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_failed_synthesis_is_written_by_a_fallback(stream: bool) -> None:
    config = fusion_yaml(fusion="fallback_models: [b]")
    script = fusion_script(final=_status(500, model="j"))
    reply = _asked(script, config=config, stream=stream)
    body = reply.events[0] if stream else reply.json
    assert reply.headers["x-vsr-selected-model"] == body["model"] == "b"
    assert reply.headers["x-vsr-degraded"] == "synthesis=server_error"
    assert body["fusion"]["degraded"] == [{"stage": "synthesis", "reason": "server_error"}]
    assert body["fusion"]["synthesis_model"] == "b"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("final", [_status(500, model="j"), Reply("")], ids=["status", "empty"])
def test_without_fallback_the_panel_s_answer_stands_in(final: Any, stream: bool) -> None:
    reply = _asked(fusion_script(final=final), stream=stream)
    body = reply.events[0] if stream else reply.json
    choice = body["choices"][0]
    assert (choice["delta"] if stream else choice["message"])["content"] == "one"
    assert body["model"] == "a"
    assert "synthesis=answered_by_panel" in reply.headers["x-vsr-degraded"]
    assert body["fusion"]["degraded"][-1] == {"stage": "synthesis", "reason": "answered_by_panel"}


def test_a_failure_after_the_first_token_is_one_error_event_and_the_end() -> None:
    reply = _asked(fusion_script(final=Reply("one two three", breaks_after=2)), stream=True)
    *chunks, error = reply.events
    assert reply.status == 200
    assert [c["choices"][0]["delta"]["content"] for c in chunks] == ["one"]
    assert set(error) == {"error", "x-should-retry"}
    assert error["x-should-retry"] is False
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert error["error"]["code"] == "upstream_unreachable"
    assert b"[DONE]" not in reply.body


def test_a_failure_after_the_start_seconds_is_one_error_event() -> None:
    config = fusion_yaml(gateway="stream_start_seconds: 0.05, keepalive_seconds: 0.05")
    slow = Reply("", delay_s=0.3)
    reply = _asked(fusion_script(a=slow, b=slow), config=config, stream=True)
    assert reply.status == 200
    assert reply.body.count(b"\n: ") + reply.body.startswith(b": ") >= 2
    assert [e["error"]["code"] for e in reply.events] == ["panel_failed"]
    assert b"[DONE]" not in reply.body


@pytest.mark.parametrize("spent", [False, True])
def test_an_error_event_says_beside_the_error_when_a_repetition_pays_again(spent: bool) -> None:
    failure = OverloadedError("too many", retry_after_s=1)
    failure.spent = spent

    told = error_event(failure)

    assert told.pop("x-should-retry", True) is not spent
    assert told == error_body(failure)


def test_comments_fill_the_silence_of_panel_and_tokens() -> None:
    config = fusion_yaml(gateway="stream_start_seconds: 0, keepalive_seconds: 0.05")
    script = fusion_script(a=Reply("one", delay_s=0.2), final=Reply("x y", gap_s=0.12))
    reply = _asked(script, config=config, stream=True)
    before, _, after = reply.body.partition(b'"content":"x"')
    assert sum(line.startswith(b": ") for line in before.split(b"\n")) >= 2
    assert after.index(b"\n\n: ") < after.index(b'" y"')
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_a_quick_stream_has_no_comments() -> None:
    lines = _asked("hi", model="a", stream=True).body.split(b"\n")
    assert not any(line.startswith(b":") for line in lines)


@pytest.mark.parametrize("model", ["a", FUSION])
def test_the_deadline_of_the_whole_request_is_a_504(model: str) -> None:
    config = fusion_yaml(listener="timeout: 300ms")
    reply = _asked({"a": NEVER, "b": NEVER}, config=config, model=model)
    assert reply.status == 504
    assert reply.error["code"] in ("deadline_exceeded", "panel_failed")


def test_the_deadline_ends_a_stream_with_an_error_event() -> None:
    config = fusion_yaml(listener="timeout: 300ms")
    reply = _asked(Reply("x " * 1000, gap_s=0.02), config=config, model="a", stream=True)
    assert reply.status == 200
    assert reply.events[-1]["error"]["code"] == "deadline_exceeded"


def test_calls_in_flight_are_bounded_and_room_comes_back() -> None:
    upstream = ScriptedUpstream({"a": NEVER, "b": "here"})
    config = fusion_yaml(gateway="max_in_flight: 2, max_queued: 0")
    with live_gateway(config, upstream) as url:
        with pending(url, "a"), pending(url, "a"):
            assert eventually(lambda: upstream.in_flight == 2)
            refused = ask(url, "b")
            assert get(url, "/health").status == get(url, "/ready").status == 200
        assert refused.status == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert refused.error["code"] == "overloaded"
        assert "x-should-retry" not in refused.headers
        assert eventually(lambda: ask(url, "b").status == 200)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_who_finds_no_room_waits_for_it_and_who_finds_no_place_is_refused(stream: bool) -> None:
    upstream = ScriptedUpstream({"a": NEVER, "b": "here"})
    config = fusion_yaml(gateway="max_in_flight: 1, max_queued: 1")
    with live_gateway(config, upstream) as url, ThreadPoolExecutor(1) as thread:
        with pending(url, "a"):
            assert eventually(lambda: upstream.in_flight == 1)
            waiting = thread.submit(ask, url, "b", stream=stream)
            # its place is taken once another one is refused
            assert eventually(lambda: ask(url, "zzz").status == 503)
            assert not waiting.done()
        assert waiting.result().status == 200


def test_a_wait_without_end_is_a_503_although_a_stream_was_asked() -> None:
    upstream = ScriptedUpstream({"a": NEVER, "b": "here"})
    config = fusion_yaml(gateway="max_in_flight: 1, max_queue_seconds: 0.05")
    with live_gateway(config, upstream) as url, pending(url, "a"):
        assert eventually(lambda: upstream.in_flight == 1)
        refused = ask(url, "b", stream=True)
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert [call.model for call in upstream.calls] == ["a"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bug_is_told_by_its_request_id_and_logged(
    caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    def bug(_: object) -> None:
        raise ZeroDivisionError(f"secret {CANARY}")

    with live_gateway(fusion_yaml(), ScriptedUpstream({"a": bug})) as url:
        reply = ask(url, "a", {"x-request-id": "req-bug"}, stream=stream)
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert reply.error["message"] == "internal error; the log has it under request id req-bug"
    logged = next(r for r in caplog.records if r.getMessage() == "internal_error")
    assert getattr(logged, "fields", {})["id"] == "req-bug"
    failure = getattr(logged, "failure", "")
    assert "ZeroDivisionError" in failure
    assert "test_chat_failures.py" in failure
    assert CANARY not in failure


LEAKS: dict[str, list[Step]] = {
    "status": [json_answer({"error": {"message": f"bad key {CANARY} at 10.1.2.3"}}, status=401)],
    "error body": [json_answer({"error": {"message": CANARY}})],
    "html": [answer(f"<h1>{CANARY}</h1>".encode(), kind="text/html")],
    "broken": [CLOSE],
    "redirect": [json_answer({}, status=307, headers=f"location: http://x/?k={CANARY}\r\n")],
    "fine": [json_answer(completion("fine"))],
}


@pytest.mark.parametrize("case", LEAKS)
def test_a_key_never_shows(caplog: pytest.LogCaptureFixture, case: str) -> None:
    caplog.set_level(logging.DEBUG, "consilience")
    with raw_server(LEAKS[case]) as backend:
        refs = f"[{{base_url: '{backend.base_url}', api_key: {CANARY}}}]"
        more = f"    - {{name: k, backend_refs: {refs}}}\n"
        with live_gateway(fusion_yaml(models=more)) as url:
            replies = [ask(url, "k", stream=stream) for stream in (False, True)]
    assert backend.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    for reply in replies:
        shown = reply.body.decode() + str(reply.headers)
        assert CANARY not in shown
        assert backend.base_url not in shown
    assert caplog.records
    assert CANARY not in str([vars(record) for record in caplog.records])


def test_an_unreachable_backend_is_a_502_without_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with live_gateway(fusion_yaml(base_url=f"http://127.0.0.1:{port}/v1")) as url:
        reply = ask(url, "a")
    assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")
    assert str(port) not in reply.error["message"]


def test_a_failed_judge_costs_only_the_analysis() -> None:
    reply = _asked(fusion_script(judge=_status(500, model="j")))
    assert reply.status == 200
    assert reply.headers["x-vsr-degraded"] == "judge=server_error"
    assert "analysis" not in reply.json["fusion"]
    assert reply.json["choices"][0]["message"]["content"] == "The answer."


def test_the_judge_is_asked_before_the_writer() -> None:
    upstream = ScriptedUpstream(fusion_script())
    with live_gateway(fusion_yaml(), upstream) as url, opened(url, FUSION) as stream:
        assert list(stream.data())[-1] == "[DONE]"
    assert [is_judge_call(c) for c in upstream.calls if c.model == "j"] == [True, False]
