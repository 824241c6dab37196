"""F25 and F32: the process itself is told to stop, is killed, runs out of files, or stands still."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.chat_server import chat_server
from support.client import Response, ask, eventually, get
from support.command import started
from support.held import HeldModels
from support.raw_server import RawServer, raw_server
from support.serving import connections_to, is_gone, pids_of, serving, workers_seen

FUSION = "vllm-sr/fusion"
STREAMS, FUSIONS = 50, 10
CALLS = STREAMS + 2 * FUSIONS
"""Upstream calls in flight: one a stream, and the two seats of each panel."""
ERRORS = {"shutting_down"}
FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
BLOCKING = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(2))"
"""The handler runs in the thread of the event loop, as anything would that blocks it."""

Answers = list[Future[Response]]


@contextmanager
def _under_load(url: str, upstream: RawServer) -> Iterator[Answers]:
    """Fifty streams behind their first word and ten panels that wait; their answers."""
    with ThreadPoolExecutor(STREAMS + FUSIONS) as threads:
        answers = [threads.submit(ask, url, "a", stream=True) for _ in range(STREAMS)]
        answers += [threads.submit(ask, url, FUSION) for _ in range(FUSIONS)]
        assert upstream.wait_for(lambda server: server.active == CALLS, 60)
        yield answers


def _said(reply: Response) -> str:
    """What a stream said."""
    chunks = [e for e in reply.events if isinstance(e, dict) and e.get("choices")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


def _is_whole(reply: Response, models: HeldModels) -> bool:
    if reply.status != 200 or not reply.events:
        return reply.status == 200 and bool(reply.json["choices"][0]["message"]["content"])
    return reply.events[-1] == "[DONE]" and _said(reply) == f"held, {models.said}"


def _code(reply: Response) -> str:
    """Of the error that ended a stream; a stream without a word has a status in its place."""
    error = reply.events[-1]["error"] if reply.events else reply.error
    return str(error["code"])


def _gone(url: str) -> bool:
    try:
        get(url, "/health")
    except OSError:
        return True
    return False


def _came_to(answer: Callable[[], Response]) -> int | None:
    """The status; None when there was no answer, or none to its end."""
    try:
        return answer().status
    except (OSError, http.client.HTTPException):
        return None


def test_F25_what_is_in_flight_at_sigterm_finishes(tmp_path: Path) -> None:  # noqa: N802
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0, shutdown_seconds: 90") as (process, url),
    ):
        with _under_load(url, upstream) as answers:
            process.signal(signal.SIGTERM)
            process.said("stopping: 60 requests in flight")
            assert eventually(lambda: _gone(url))
            models.release()
        assert [_is_whole(answer.result(), models) for answer in answers] == [True] * len(answers)
        assert process.wait() == 0


def test_F25_new_requests_are_taken_while_load_balancers_look_away(  # noqa: N802
    tmp_path: Path,
) -> None:
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 60, shutdown_seconds: 90") as (process, url),
        _under_load(url, upstream) as answers,
    ):
        process.signal(signal.SIGTERM)
        assert eventually(lambda: get(url, "/ready").status == 503)
        models.release()
        assert [ask(url, "a").status for _ in range(5)] == [200] * 5
        assert [_is_whole(answer.result(), models) for answer in answers] == [True] * len(answers)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_F25_what_does_not_finish_ends_with_an_error(tmp_path: Path) -> None:  # noqa: N802
    with (
        raw_server(HeldModels()) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0, shutdown_seconds: 0.2") as (process, url),
    ):
        with _under_load(url, upstream) as answers:
            process.signal(signal.SIGTERM)
        assert process.wait() == 0
        streams = [answer.result() for answer in answers[:STREAMS]]
        assert {_code(reply) for reply in streams} == ERRORS
        whole = [answer.result() for answer in answers[STREAMS:]]
        assert {(reply.status, reply.error["code"]) for reply in whole} == {(503, *ERRORS)}
        assert {reply.headers["x-should-retry"] for reply in whole} == {"false"}
        assert upstream.wait_for(lambda server: server.active == 0)
        assert len(upstream.requests) == CALLS


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGTERM, signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGKILL], -signal.SIGKILL),
    ],
    ids=["a second SIGTERM", "SIGKILL"],
)
def test_F25_an_end_at_once_leaves_no_call_behind(  # noqa: N802
    tmp_path: Path, numbers: list[signal.Signals], code: int
) -> None:
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0, shutdown_seconds: 90") as (process, url),
    ):
        with _under_load(url, upstream) as answers:
            for number in numbers[:-1]:
                process.signal(number)
                process.said("stopping: 60 requests in flight")
            process.signal(numbers[-1])
            assert process.wait() == code
            assert upstream.wait_for(lambda server: server.active == 0)
        ends = [answer.exception() is not None for answer in answers]
        whole = [
            not e and _is_whole(a.result(), models) for a, e in zip(answers, ends, strict=True)
        ]
        assert not any(whole)
        models.release()
        port = url.rsplit(":", 1)[1]
        config = tmp_path / "gateway.yaml"
        with started("serve", "-c", config, "--port", port, cwd=tmp_path) as again:
            again.said(r"\nurl ")
            assert ask(url, "a").status == 200


def test_F32_a_killed_worker_comes_back_and_the_other_one_answers(  # noqa: N802
    tmp_path: Path,
) -> None:
    with (
        raw_server(chat_server()) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0", workers=2) as (process, url),
    ):
        (victim,) = pids_of(process, 2)
        os.kill(victim, signal.SIGKILL)
        process.said("worker_died worker=2 exit=-9")
        assert [ask(url, "a").status for _ in range(10)] == [200] * 10
        assert eventually(lambda: len(pids_of(process, 2)) == 2)
        assert eventually(lambda: workers_seen(url) == {1, 2})
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert all(is_gone(pid) for worker in (1, 2) for pid in pids_of(process, worker))


def test_F32_a_killed_worker_loses_only_what_it_had_in_flight(  # noqa: N802
    tmp_path: Path,
) -> None:
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, "drain_seconds: 0", workers=2) as (process, url),
    ):
        with _under_load(url, upstream) as answers:
            (victim,) = pids_of(process, 1)
            calls = connections_to(victim, upstream.port)
            os.kill(victim, signal.SIGKILL)
            assert upstream.wait_for(lambda server: server.aborted == calls)
            models.release()
        lost = [number for number, answer in enumerate(answers) if answer.exception() is not None]
        assert sum(1 if number < STREAMS else 2 for number in lost) == calls
        kept = [a.result() for number, a in enumerate(answers) if number not in lost]
        assert [_is_whole(reply, models) for reply in kept] == [True] * len(kept)
        assert eventually(lambda: len(pids_of(process, 1)) == 2)


def test_F32_out_of_files_is_a_refusal_and_passes(tmp_path: Path) -> None:  # noqa: N802
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, first=FEW_FILES) as (process, url),
    ):
        with ThreadPoolExecutor(150) as threads:
            model = ["a", FUSION]
            answers = [threads.submit(ask, url, model[n % 2], stream=n % 4 > 1) for n in range(150)]
            assert eventually(lambda: sum(answer.done() for answer in answers) >= 50)
            models.release()
            ends = {_came_to(answer.result) for answer in answers}
        assert ends <= {200, 502, 503, None}
        assert not process.ended
        assert eventually(lambda: _came_to(lambda: ask(url, FUSION)) == 200)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_F32_an_event_loop_that_stands_still_loses_nothing(tmp_path: Path) -> None:  # noqa: N802
    models = HeldModels()
    with (
        raw_server(models) as upstream,
        serving(tmp_path, upstream, first=BLOCKING) as (process, url),
        _under_load(url, upstream) as answers,
    ):
        process.signal(signal.SIGUSR1)
        models.release()
        assert [_is_whole(answer.result(), models) for answer in answers] == [True] * len(answers)
        assert get(url, "/ready").status == 200
