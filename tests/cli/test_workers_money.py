"""Money over several workers: never more than there is, whoever is killed while it is spent."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from consilience.keys.held import held_path
from consilience.keys.store import EVERYTHING, KeyStore
from support.client import ask, eventually, get
from support.command import Running, started, written
from support.keys import keyed_yaml
from support.raw_server import HANG, RawServer, Received, Step, completion, json_answer, raw_server

BUDGET = Decimal("0.5")
MOST = 40
"""Requests of which each of two workers gets some."""


def _script(request: Received) -> list[Step]:
    """Answers as long as it may, so that each call costs its worst case, its prompt apart."""
    if request.json["messages"][0]["content"] == "never":
        return [HANG]
    usage = {"prompt_tokens": 3, "completion_tokens": request.json["max_tokens"]}
    return [0.02, json_answer(completion("hi", usage=usage))]


def _cost(request: Received) -> Decimal:
    return (3 + 10 * Decimal(request.json["max_tokens"])) / 1_000_000


@pytest.fixture
def models() -> Iterator[RawServer]:
    with raw_server(_script) as server:
        yield server


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@contextmanager
def _workers(folder: Path, keys: Path, upstream: RawServer) -> Iterator[tuple[Running, str]]:
    """A server of two workers, both of them serving, that may spend so much a day."""
    text = keyed_yaml(
        keys,
        base_url=upstream.base_url,
        budgets=f"per_day_usd: {BUDGET}",
        gateway="drain_seconds: 0",
    )
    config = written(folder, text)
    with started("serve", "-c", config, "--port", 0, "--workers", 2, cwd=folder) as process:
        url = process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
        assert eventually(lambda: {get(url, "/health").json["worker"] for _ in range(20)} == {1, 2})
        yield process, url


def _ask_long(url: str) -> None:
    ask(url, "a", messages=[{"role": "user", "content": "never"}], max_tokens=100)


def _pids(process: Running) -> list[int]:
    return [int(pid) for pid in re.findall(r"worker_started worker=\d pid=(\d+)", process.err)]


def _held(keys: Path) -> list[Decimal]:
    """What each process has set aside, or spent and not yet written; nothing left out."""
    with closing(sqlite3.connect(held_path(keys))) as file:
        rows = file.execute("SELECT usd FROM held WHERE account = ?", (EVERYTHING,))
        return [Decimal(usd) for (usd,) in rows]


def _spent(keys: Path) -> Decimal:
    with KeyStore(keys) as store:
        spend = store.spend_since("2000-01-01")
    return sum((usd for (account, _), usd in spend.items() if account == EVERYTHING), Decimal(0))


def test_workers_together_never_overshoot_and_leave_nothing_set_aside(
    models: RawServer, tmp_path: Path, keys: Path
) -> None:
    rng = random.Random(7)  # noqa: S311  # how long answers may be
    limits = [rng.choice([100, 400, 1000, 3000]) for _ in range(200)]
    with _workers(tmp_path, keys, models) as (_, url), ThreadPoolExecutor(32) as threads:
        asked = threads.map(lambda limit: ask(url, "a", max_tokens=limit).status, limits)
        statuses = list(asked)
        assert set(statuses) == {200, 402}
        assert len(models.requests) == statuses.count(200)
        cost = sum(map(_cost, models.requests), Decimal(0))
        assert eventually(lambda: not _held(keys))
        assert _spent(keys) == cost
        assert Decimal("0.4") < cost <= BUDGET


def test_what_a_killed_worker_had_set_aside_is_spent(
    models: RawServer, tmp_path: Path, keys: Path
) -> None:
    with _workers(tmp_path, keys, models) as (process, url), ThreadPoolExecutor(MOST) as threads:
        for asked in range(1, MOST):
            threads.submit(_ask_long, url)
            assert eventually(lambda: len(models.requests) == asked)  # noqa: B023  # at once
            if len(_held(keys)) == 2:
                break
        held = _held(keys)
        assert len(held) == 2
        os.kill(_pids(process)[0], signal.SIGKILL)
        process.said("worker_died worker=1 exit=-9")
        process.said("held_taken_over")
        assert eventually(lambda: _spent(keys) in held)
        spent = _spent(keys)
        assert eventually(lambda: sum(_held(keys)) + spent == sum(held))
        assert [ask(url, "a", max_tokens=10).status for _ in range(10)] == [200] * 10
        for pid in _pids(process)[1:]:
            os.kill(pid, signal.SIGKILL)


def test_who_starts_after_all_were_killed_counts_what_they_had_set_aside(
    models: RawServer, tmp_path: Path, keys: Path
) -> None:
    with _workers(tmp_path, keys, models) as (process, url), ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(_ask_long, url)
        assert models.wait_for(lambda server: len(server.requests) == 4)
        held = sum(_held(keys))
        for pid in (process.process.pid, *_pids(process)):
            os.kill(pid, signal.SIGKILL)
    assert sum(_held(keys)) == held > 0

    with _workers(tmp_path, keys, models) as (_, url):
        assert eventually(lambda: _spent(keys) == held and not _held(keys))
        assert ask(url, "a", max_tokens=10).status == 200
