"""F26, F27: a disk that is full, files that are locked, read-only or gone: requests go on."""

from __future__ import annotations

import logging
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consilience import ScriptedUpstream
from consilience.keys.held import held_path
from consilience.keys.rate_file import rate_path
from consilience.keys.store import EVERYTHING, KeyStore
from support.client import ask, eventually, get
from support.command import started, written
from support.keys import bearer, keyed_yaml, made_key
from support.live import live_gateway
from support.raw_server import completion, json_answer, raw_server

WRITE_VERSION = 18
"""Where a file of SQLite says who may write it; beyond 2: nobody that we know of."""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Not by its mode, which does not keep root from writing."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    _set_byte(copy, WRITE_VERSION, 9)
    copy.replace(path)  # a connection that is open has the byte in its memory
    yield
    _set_byte(path, WRITE_VERSION, 1)


@contextmanager
def gone(path: Path) -> Iterator[None]:
    away = path.rename(path.with_suffix(".away"))
    yield
    away.rename(path)


def _set_byte(path: Path, at: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([value]))


def _health(url: str) -> tuple[str, Any]:
    body = get(url, "/health").json
    return body["status"], body.get("reasons")


def _spent(path: Path) -> Decimal:
    """What all requests together have spent, as far as it is written."""
    with KeyStore(path) as store:
        spend = store.spend_since("2000-01-01")
    return sum((usd for (account, _), usd in spend.items() if account == EVERYTHING), Decimal(0))


def _times(caplog: pytest.LogCaptureFixture, event: str) -> int:
    return sum(record.getMessage() == event for record in list(caplog.records))


@pytest.mark.parametrize("fault", [locked, read_only, gone], ids=["locked", "read-only", "gone"])
@pytest.mark.parametrize("limits", [{}, {"usd_per_day": Decimal(1)}], ids=["no budget", "budget"])
def test_F27_the_file_of_keys_cannot_be_written(  # noqa: N802  # named after the fault
    keys: Path, fault: Callable[[Path], Any], limits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = bearer(made_key(keys, **limits))
    with live_gateway(keyed_yaml(keys), upstream=ScriptedUpstream()) as url:
        assert ask(url, "a", key, max_tokens=50).status == 200
        assert eventually(lambda: _spent(keys) > 0)
        cost = _spent(keys)
        with fault(keys):
            assert ask(url, "a", key, max_tokens=50).status == 200
            assert eventually(lambda: _health(url) == ("degraded", ["key_store"]))
            assert [ask(url, "a", key, max_tokens=50).status for _ in range(5)] == [200] * 5
            assert get(url, "/ready").status == 200
        assert eventually(lambda: _health(url) == ("ok", None))
        assert eventually(lambda: _spent(keys) == 7 * cost)
        assert eventually(lambda: _times(caplog, "key_store_works_again") == 1)
    assert _times(caplog, "key_store_failed") == 1


def test_F27_the_file_of_held_money_is_locked(  # noqa: N802  # named after the fault
    keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    free = bearer(made_key(keys, "free", requests_per_minute=100))
    limited = bearer(made_key(keys, "limited", usd_per_day=Decimal(1)))
    with live_gateway(keyed_yaml(keys), upstream=ScriptedUpstream()) as url:
        assert ask(url, "a", limited, max_tokens=50).status == 200
        with locked(held_path(keys)):
            refused = ask(url, "a", limited, max_tokens=50)
            assert (refused.status, refused.json["error"]["code"]) == (503, "budget_unavailable")
            assert "keys" not in refused.json["error"]["message"]
            assert refused.headers["retry-after"] == "1"
            assert ask(url, "a", free, max_tokens=50).status == 200
            assert eventually(lambda: _health(url) == ("degraded", ["held_store"]))
            assert get(url, "/ready").status == 200
        assert eventually(lambda: _health(url) == ("ok", None))
        assert ask(url, "a", limited, max_tokens=50).status == 200
    assert _times(caplog, "held_store_failed") == 1


def test_F27_the_file_of_rates_is_locked(  # noqa: N802  # named after the fault
    keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = bearer(made_key(keys, requests_per_minute=10**6, tokens_per_minute=10**9))
    with live_gateway(keyed_yaml(keys), upstream=ScriptedUpstream()) as url:
        assert ask(url, "a", key, max_tokens=50).status == 200
        with locked(rate_path(keys)):
            assert eventually(
                lambda: (
                    ask(url, "a", key, max_tokens=50).status == 200
                    and _health(url) == ("degraded", ["rate_store"])
                )
            )
            assert get(url, "/ready").status == 200
        assert eventually(lambda: _health(url) == ("ok", None))
        assert ask(url, "a", key, max_tokens=50).status == 200
    assert _times(caplog, "rate_store_failed") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="sets the limits of another process")
def test_F26_the_disk_is_full(keys: Path, tmp_path: Path) -> None:  # noqa: N802  # as above
    free = bearer(made_key(keys, "free", requests_per_minute=1000))
    limited = bearer(made_key(keys, "limited", usd_per_day=Decimal(1)))
    answer = json_answer(completion("hi"))
    with raw_server([answer]) as models:
        config = written(tmp_path, keyed_yaml(keys, base_url=models.base_url))
        with started("serve", "-c", config, "--port", 0, cwd=tmp_path) as process:
            url = process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
            for key in (free, limited):
                assert ask(url, "a", key, max_tokens=50).status == 200
            assert eventually(lambda: _spent(keys) > 0)
            before = _spent(keys)
            pid, room = process.process.pid, resource.RLIMIT_FSIZE
            _, most = resource.prlimit(pid, room)
            resource.prlimit(pid, room, (0, most))

            assert ask(url, "a", free, max_tokens=50).status == 200
            assert eventually(lambda: "key_store" in (_health(url)[1] or ()))
            assert [ask(url, "a", free, max_tokens=50).status for _ in range(5)] == [200] * 5
            assert ask(url, "a", limited, max_tokens=50).status == 503
            assert get(url, "/ready").status == 200
            assert _spent(keys) == before
            resource.prlimit(pid, room, (most, most))

            assert eventually(lambda: _health(url) == ("ok", None))
            assert eventually(lambda: _spent(keys) == len(models.requests) * Decimal("0.000023"))
            assert ask(url, "a", limited, max_tokens=50).status == 200
        assert process.err.count("key_store_failed") == 1
