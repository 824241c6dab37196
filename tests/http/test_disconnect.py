"""A client that hangs up, in every phase: every upstream call ends, and nothing is an error."""

from __future__ import annotations

import logging
import math

import anyio
import pytest
from starlette.types import Message

from consilience.errors import UpstreamError
from consilience.http.disconnect import ClientGoneError, unless_disconnected
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import ask, eventually, opened, pending
from support.live import fusion_yaml, live_gateway
from support.raw_server import (
    HANG,
    SSE_HEAD,
    Received,
    Step,
    chunked,
    completion,
    json_answer,
    piece,
    raw_server,
)
from support.scripts import REPLY, fusion_script

FUSION = "vllm-sr/fusion"
NEVER = Reply("x", delay_s=math.inf)
ENDLESS = Reply("word " * 2000, gap_s=0.01)

PHASES = {
    "panel": (fusion_script(a=NEVER, b=NEVER), 2),
    "judge": (fusion_script(judge=NEVER), 3),
    "before the first token": (fusion_script(final=NEVER), 4),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_hang_up_cancels_every_call(
    caplog: pytest.LogCaptureFixture, phase: str, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    script, calls = PHASES[phase]
    upstream = ScriptedUpstream(script)
    with live_gateway(fusion_yaml(), upstream) as url:
        with pending(url, FUSION, stream=stream):
            assert eventually(lambda: len(upstream.calls) == calls)
            waiting = upstream.in_flight
        assert eventually(lambda: upstream.in_flight == 0, 1.0)
        assert eventually(lambda: _statuses(caplog) == [499])
    assert upstream.cancelled == waiting > 0
    assert len(upstream.calls) == calls
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("model", [FUSION, "j"])
def test_a_hang_up_in_the_middle_of_a_stream_cancels_it(
    caplog: pytest.LogCaptureFixture, model: str
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = ScriptedUpstream(fusion_script(final=ENDLESS))
    with live_gateway(fusion_yaml(), upstream) as url:
        with opened(url, model) as stream:
            next(stream.data())
            assert upstream.in_flight == 1
        assert eventually(lambda: upstream.in_flight == 0, 1.0)
        assert eventually(lambda: _statuses(caplog) == [499])
    assert upstream.cancelled == 1
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_hang_up_while_comments_keep_the_line_warm_cancels_the_panel() -> None:
    upstream = ScriptedUpstream(fusion_script(a=NEVER, b=NEVER))
    config = fusion_yaml(gateway="stream_start_seconds: 0, keepalive_seconds: 0.05")
    with live_gateway(config, upstream) as url:
        with opened(url, FUSION) as stream:
            for _, line in zip(range(3), stream.lines(), strict=False):
                assert line[1].startswith(b": ")
            assert upstream.in_flight == 2
        assert eventually(lambda: upstream.in_flight == 0, 1.0)
    assert upstream.cancelled == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("phase", ["judge", "synthesis"])
def test_a_hang_up_in_a_later_phase_closes_the_socket_of_a_real_backend(
    phase: str, stream: bool
) -> None:
    def script(request: Received) -> list[Step]:
        is_judge = "response_format" in request.json
        if request.json["model"] == "j" and is_judge == (phase == "judge"):
            return [SSE_HEAD, chunked(piece("x")), HANG] if request.json.get("stream") else [HANG]
        return [json_answer(completion(REPLY))]

    calls = 3 if phase == "judge" else 4
    with raw_server(script) as backend, live_gateway(fusion_yaml(base_url=backend.base_url)) as url:
        with pending(url, FUSION, stream=stream):
            assert backend.wait_for(lambda s: len(s.requests) == calls)
        assert backend.wait_for(lambda s: s.aborted == 1, 1.0)
        assert len(backend.requests) == calls


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_hang_up_while_waiting_for_room_asks_nobody_and_leaves_the_queue(
    caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = ScriptedUpstream({"a": NEVER, "b": "here"})
    config = fusion_yaml(gateway="max_in_flight: 1, max_queued: 1, max_queue_seconds: 60")
    with live_gateway(config, upstream) as url:
        with pending(url, "a"):
            assert eventually(lambda: upstream.in_flight == 1)
            for _ in range(3):  # each finds the place free that the one before it had
                with pending(url, "b", stream=stream):
                    assert eventually(lambda: ask(url, "zzz").status == 503)
                assert eventually(lambda: ask(url, "zzz").status == 404)
        assert eventually(lambda: ask(url, "b").status == 200)
        assert eventually(lambda: _statuses(caplog).count(499) == 4)
    assert [call.model for call in upstream.calls] == ["a", "b"]
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_hang_up_closes_the_sockets_of_real_backends(stream: bool) -> None:
    def script(request: Received) -> list[Step]:
        return [SSE_HEAD, chunked(piece("x")), HANG] if request.json.get("stream") else [HANG]

    with raw_server(script) as backend, live_gateway(fusion_yaml(base_url=backend.base_url)) as url:
        with pending(url, "a", stream=stream), pending(url, FUSION, stream=stream):
            assert backend.wait_for(lambda s: len(s.requests) == 3)
        assert backend.wait_for(lambda s: s.aborted == 3, 1.0)
        assert len(backend.requests) == 3


def test_the_gateway_serves_on_after_a_hang_up() -> None:
    upstream = ScriptedUpstream({"a": NEVER, "b": "here"})
    config = fusion_yaml(gateway="max_in_flight: 1")
    with live_gateway(config, upstream) as url:
        for _ in range(3):
            with pending(url, "a"):
                assert eventually(lambda: upstream.in_flight == 1)
            assert eventually(lambda: upstream.in_flight == 0)
        assert eventually(lambda: ask(url, "b").status == 200)


def test_a_finished_answer_is_not_taken_for_a_hang_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        for stream in (False, True) * 5:
            ask(url, FUSION, stream=stream)
        assert eventually(lambda: len(_statuses(caplog)) == 10)
    assert _statuses(caplog) == [200] * 10


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (UpstreamError("is slow", model="m", reason="timeout"), ClientGoneError),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
    ids=["an upstream's failure", "a defect of ours"],
)
async def test_what_fails_on_its_way_out_is_a_hang_up_unless_it_is_a_defect(
    failure: Exception, told: type[Exception]
) -> None:
    begun = anyio.Event()

    async def receive() -> Message:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def work() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:  # as where a retry finds no time left because it has just been cancelled
            raise failure

    with pytest.raises(told):
        await unless_disconnected(receive, work)


def _statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The statuses of the access lines so far."""
    lines = [r for r in list(caplog.records) if r.getMessage() == "request"]
    return [getattr(line, "fields", {})["status"] for line in lines]
