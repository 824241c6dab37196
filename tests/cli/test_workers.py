"""Several workers behind one port, as processes: they come back, hear signals, and end together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consilience.cli.workers import LONGEST_PAUSE_S, Workers, pause_s
from support import dying
from support.client import ask, eventually, get, pending
from support.command import Running, run, written
from support.metrics import scraped
from support.raw_server import HANG, RawServer, Received, Step, completion, json_answer, raw_server
from support.serving import is_gone, pids_of, serving, workers_seen

LOCAL = """\
version: v0.3
providers:
  models:
    - {name: tiny, provider_model_id: smollm2-135m-instruct, backend_refs: [{provider: local}]}
"""


def _script(request: Received) -> list[Step]:
    slow = request.json["messages"][0]["content"] == "slowly"
    if request.json["messages"][0]["content"] == "never":
        return [HANG]
    return [*([0.7] if slow else []), json_answer(completion("hi"))]


@pytest.fixture
def models() -> Iterator[RawServer]:
    with raw_server(_script) as server:
        yield server


@contextmanager
def _two_workers(
    folder: Path, upstream: RawServer, gateway: str = "drain_seconds: 0"
) -> Iterator[tuple[Running, str]]:
    """A server of two workers, both of them serving, and its address."""
    with serving(folder, upstream, gateway, workers=2) as (process, url):
        yield process, url


def _slowly(url: str) -> int:
    return ask(url, "a", messages=[{"role": "user", "content": "slowly"}]).status


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_to_all_of_them_counts_once(
    models: RawServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """As from a service manager or a terminal: the parent passes on what its workers got, too."""
    with _two_workers(tmp_path, models) as (process, url), ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(_slowly, url) for _ in range(4)]
        assert models.wait_for(lambda server: len(server.requests) == 4)
        for worker in (1, 2):
            os.kill(pids_of(process, worker)[0], number)
        process.signal(number)
        assert [answer.result() for answer in answers] == [200] * 4
        assert process.wait() == code


def test_a_second_signal_ends_all_at_once(models: RawServer, tmp_path: Path) -> None:
    never: list[Any] = [{"role": "user", "content": "never"}]
    with (
        _two_workers(tmp_path, models, "drain_seconds: 60, shutdown_seconds: 90") as (process, url),
        pending(url, "a", messages=never),
        pending(url, "a", messages=never),
    ):
        assert models.wait_for(lambda server: len(server.requests) == 2)
        process.signal(signal.SIGTERM)
        process.said("stopping: ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert models.wait_for(lambda server: server.aborted == 2)


def test_every_worker_reloads_once_on_sighup_and_once_on_a_changed_file(
    models: RawServer, tmp_path: Path
) -> None:
    with _two_workers(tmp_path, models) as (process, url):
        process.signal(signal.SIGHUP)
        assert eventually(lambda: process.err.count("config_reloaded") == 2)
        file = tmp_path / "gateway.yaml"
        file.write_text(file.read_text() + "# changed\n")
        assert eventually(lambda: process.err.count("config_reloaded") == 4)
        assert {get(url, "/health").json["config"]["reloads"] for _ in range(20)} == {2}


def test_metrics_are_summed_and_those_of_a_dead_worker_stay(
    models: RawServer, tmp_path: Path
) -> None:
    with _two_workers(tmp_path, models) as (process, url):
        assert [ask(url, "a").status for _ in range(20)] == [200] * 20
        assert {scraped(url).value("upstream_calls_total", model="a") for _ in range(10)} == {20}
        with pending(url, "a", messages=[{"role": "user", "content": "never"}]):
            assert eventually(lambda: scraped(url).value("calls_in_flight") == 1)
            victims = (*pids_of(process, 1), *pids_of(process, 2))
            environment = Path(f"/proc/{victims[0]}/environ").read_bytes().split(b"\0")
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            process.said("worker_died worker=1")
            process.said("worker_died worker=2")
        assert eventually(lambda: len(pids_of(process, 1)) == len(pids_of(process, 2)) == 2)
        assert eventually(lambda: workers_seen(url) == {1, 2})
        after = scraped(url)
        assert after.value("upstream_calls_total", model="a", outcome="ok") == 20
        assert after.value("calls_in_flight") == 0
        assert after.value("build_info") == 1
        (named,) = (line for line in environment if line.startswith(b"PROMETHEUS_MULTIPROC_DIR="))
        folder = Path(named.partition(b"=")[2].decode())
        assert folder.stat().st_mode & 0o777 == 0o700
        places = {file.stem.rpartition("_")[2] for file in folder.iterdir()}
        assert places == {"consilience-worker-1", "consilience-worker-2"}
        assert [ask(url, "a").status for _ in range(20)] == [200] * 20
        assert scraped(url).value("upstream_calls_total", model="a", outcome="ok") == 40
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not folder.exists()


def test_workers_end_when_their_parent_is_killed(models: RawServer, tmp_path: Path) -> None:
    with _two_workers(tmp_path, models) as (process, _):
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        pids = [*pids_of(process, 1), *pids_of(process, 2)]
        assert eventually(lambda: all(is_gone(pid) for pid in pids))


def test_what_is_wrong_at_the_start_is_said_once(tmp_path: Path) -> None:
    file = written(tmp_path, LOCAL)
    result = run("serve", "-c", file, "--port", 0, "--workers", 3, cwd=tmp_path)
    assert result.code == 1
    assert result.err.count("consilience models pull smollm2-135m-instruct") == 1
    assert "error: a worker ended before it could serve (exit code 1)" in result.err
    assert "url " not in result.err


def _run(target: Any, bound: socket.socket) -> tuple[int, list[str]]:
    announced: list[str] = []
    workers = Workers(
        2, target, bound, 1.0, lambda: announced.append("serving"), buried=lambda _: None
    )
    return workers.run(), announced


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        (dying.dies_at_start, 7, "exit code 7"),
        (dying.is_killed_at_start, 1, "signal 6"),
    ],
)
def test_the_parent_gives_up_when_the_first_worker_dies_at_the_start(
    target: Any, code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        assert _run(target, bound) == (code, [])
    assert told in capfd.readouterr().err


def test_the_parent_gives_up_when_every_worker_dies_again_and_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        socket.create_connection(bound.getsockname()),
    ):
        assert _run(dying.serves_once, bound) == (9, ["serving"])
    assert "exit code 9" in capfd.readouterr().err


def test_pauses_grow_and_end_somewhere() -> None:
    pauses = [pause_s(deaths) for deaths in range(200)]
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert sorted(pauses) == pauses
    assert pauses[-1] == LONGEST_PAUSE_S
