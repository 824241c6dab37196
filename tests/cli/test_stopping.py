"""How the server ends: what clients see of it, in flight and new."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.client import Response, ask, eventually, get, opened
from support.command import environment, run_module, started, written
from support.live import fusion_yaml
from support.raw_server import HANG, RawServer, completion, json_answer, raw_server
from support.serving import serving

FUSION = "vllm-sr/fusion"
_TESTS = Path(__file__).parents[1]


@contextmanager
def _asked(url: str, model: str, upstream: RawServer, calls: int) -> Iterator[list[Response]]:
    """A request that is in flight when the block begins; its response when the block has ended."""
    got: list[Response] = []
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(ask, url, model)
        assert upstream.wait_for(lambda server: len(server.requests) == calls)
        yield got
        got.append(answer.result())


def _gone(url: str) -> bool:
    try:
        get(url, "/health")
    except OSError:
        return True
    return False


def test_sigterm_makes_unready_at_once_and_still_answers(tmp_path: Path) -> None:
    with (
        raw_server([json_answer(completion("hi"))]) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 60, shutdown_seconds: 90") as (process, url),
    ):
        assert get(url, "/ready").status == 200
        process.signal(signal.SIGTERM)
        assert eventually(lambda: get(url, "/ready").status == 503)
        assert get(url, "/ready").json == {"status": "stopping"}
        assert get(url, "/health").json["status"] == "stopping"
        answered = ask(url, "a")
        assert (answered.status, answered.headers["connection"]) == (200, "close")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_sigterm_lets_what_is_in_flight_finish(tmp_path: Path) -> None:
    with (
        raw_server([0.5, json_answer(completion("hi"))]) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0") as (process, url),
    ):
        with _asked(url, "a", upstream, 1) as got:
            process.signal(signal.SIGTERM)
            assert eventually(lambda: _gone(url))
        assert got[0].status == 200
        assert process.wait() == 0


@pytest.mark.parametrize("model", ["a", FUSION])
def test_what_does_not_finish_ends_with_an_error(tmp_path: Path, model: str) -> None:
    limits = "drain_seconds: 0, shutdown_seconds: 0.3, stream_start_seconds: 0"
    calls = 1 if model == "a" else 2
    with (
        raw_server([HANG]) as upstream,
        serving(tmp_path, upstream, limits) as (process, url),
        _asked(url, model, upstream, calls) as got,
        opened(url, model) as stream,
    ):
        assert upstream.wait_for(lambda server: len(server.requests) == 2 * calls)
        process.signal(signal.SIGTERM)
        events = list(stream.data())
        assert [event["error"]["code"] for event in events] == ["shutting_down"]
        assert process.wait() == 0
        assert upstream.wait_for(lambda server: server.aborted == 2 * calls)
    (whole,) = got
    assert (whole.status, whole.error["code"]) == (503, "shutting_down")
    assert whole.headers["x-should-retry"] == "false"  # the models had been asked


def test_ctrl_c_takes_nothing_new_and_lets_what_is_in_flight_finish(tmp_path: Path) -> None:
    with (
        raw_server([0.5, json_answer(completion("hi"))]) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 60") as (process, url),
    ):
        with _asked(url, "a", upstream, 1) as got:
            process.signal(signal.SIGINT)
            process.said("stopping: 1 request in flight, 5 seconds at most")
            assert eventually(lambda: _gone(url))
        assert got[0].status == 200
        assert process.wait() == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    limits = "drain_seconds: 0, shutdown_seconds: 90, stream_start_seconds: 0"
    with (
        raw_server([HANG]) as upstream,
        serving(tmp_path, upstream, limits) as (process, url),
        opened(url, FUSION) as _,
    ):
        process.signal(signal.SIGTERM)
        process.said("stopping: 1 request in flight, 90 seconds at most")
        process.signal(number)
        assert process.wait() == 128 + number
        assert upstream.wait_for(lambda server: server.aborted == len(server.requests) == 2)


@pytest.mark.parametrize("workers", [[], ["--workers", 2]], ids=["alone", "workers"])
def test_a_reload_that_is_asked_for_right_behind_the_address_is_done(
    tmp_path: Path, workers: list[Any]
) -> None:
    config = written(tmp_path, fusion_yaml(gateway="drain_seconds: 0"))
    for _ in range(3):
        with started("serve", "-c", config, "--port", 0, *workers, cwd=tmp_path) as process:
            process.said(r"url +http://127\.0\.0\.1:\d+/v1\n")
            process.signal(signal.SIGHUP)
            process.said("config_reloaded")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        assert "worker_died" not in process.err


@pytest.mark.parametrize(
    ("numbers", "times", "code"),
    [("SIGTERM", 20, 0), ("SIGINT", 3, 130), ("SIGHUP,SIGTERM", 3, 0), ("SIGHUP", 3, 0)],
)
def test_a_signal_right_behind_the_address_is_heard(
    tmp_path: Path, numbers: str, times: int, code: int
) -> None:
    config = written(tmp_path, fusion_yaml(gateway="drain_seconds: 0"))
    path = {"PYTHONPATH": os.pathsep.join([environment(tmp_path)["PYTHONPATH"], str(_TESTS)])}
    result = run_module("support.signalled", times, numbers, config, cwd=tmp_path, env=path)
    assert result.code == 0
    assert result.out.split() == [str(code)] * times
