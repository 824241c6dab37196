"""`x-request-timeout-ms`: a client may have less time than the listener gives, never more."""

from __future__ import annotations

import math

import pytest

from consilience.deadline import request_seconds
from consilience.errors import InvalidRequestError
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import ask
from support.live import fusion_yaml, live_gateway

HEADER = "x-request-timeout-ms"
NEVER = Reply("x", delay_s=math.inf)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1500", 1.5), (" 20 ", 0.02), ("1", 0.001), ("999999999999", 300.0), ("300001", 300.0)],
)
def test_the_header_only_shortens(text: str, seconds: float) -> None:
    assert request_seconds({HEADER: text}, 300.0) == seconds


def test_without_the_header_the_listener_s_timeout_holds() -> None:
    assert request_seconds({}, 300.0) == 300.0


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "soon", "१", "9" * 13, "5, 5"])
def test_what_is_no_number_of_milliseconds_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=HEADER) as caught:
        request_seconds({HEADER: text}, 300.0)
    assert (caught.value.status, caught.value.param) == (400, HEADER)


@pytest.mark.parametrize("model", ["a", "vllm-sr/fusion"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_s_deadline_ends_its_request(model: str, stream: bool) -> None:
    upstream = ScriptedUpstream({"a": NEVER, "b": NEVER})
    with live_gateway(fusion_yaml(), upstream) as url:
        reply = ask(url, model, {HEADER: "200"}, stream=stream)
    assert (reply.status, upstream.in_flight) == (504, 0)
    assert reply.error["code"] in ("deadline_exceeded", "panel_failed")


def test_a_malformed_deadline_is_a_400_before_any_call() -> None:
    upstream = ScriptedUpstream("hi")
    with live_gateway(fusion_yaml(), upstream) as url:
        reply = ask(url, "a", {HEADER: "soon"})
    assert (reply.status, reply.error["param"], upstream.calls) == (400, HEADER, [])
