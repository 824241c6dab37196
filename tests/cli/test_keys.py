"""`consilience keys`: made once, shown once; and a gateway that counts them as keys."""

from __future__ import annotations

import json
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from consilience.keys.records import digest_of
from consilience.keys.store import KeyStore
from support.client import ask
from support.command import invoke, run, started, written
from support.keys import bearer, keyed_yaml, made_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


def test_a_new_key_alone_is_on_standard_output(path: Path) -> None:
    result = invoke("keys", "create", "team a", "--store", path)

    assert result.code == 0
    key = result.out.strip()
    assert key.startswith("csl-")
    assert "it is not shown again" in result.err
    assert key not in result.err
    with KeyStore(path) as store:
        assert [record.digest for record in store.records()] == [digest_of(key)]


def test_limits_are_kept_and_listed(path: Path) -> None:
    limits = "--models a,vllm-sr/fusion --requests-per-minute 5 --tokens-per-minute 900"
    money = "--usd-per-day 2.50 --usd-per-month $40 --expires 30d"
    invoke("keys", "create", "team", *limits.split(), *money.split(), "--store", path)
    with KeyStore(path) as store:
        (record,) = store.records()
        store.add_spend({(record.id, "2999-01-01"): Decimal("0.25")})

    (entry,) = json.loads(invoke("keys", "list", "--json", "--store", path).out)
    shown = invoke("keys", "list", "--store", path)

    assert entry["models"] == ["a", "vllm-sr/fusion"]
    assert (entry["requests_per_minute"], entry["tokens_per_minute"]) == (5, 900)
    assert (entry["usd_per_day"], entry["usd_per_month"]) == ("2.50", "40")
    assert entry["expires"] - entry["created"] == 30 * 86400
    assert entry["spent_this_month_usd"] == "0.25"
    assert "team" in shown.out
    assert "1 key; all requests spent $0 today" in shown.err


def test_nothing_is_made_by_listing(path: Path) -> None:
    result = invoke("keys", "list", "--json", "--store", path)

    assert (result.code, result.out, path.exists()) == (0, "[]\n", False)


def test_a_piped_list_breaks_no_line(path: Path) -> None:
    invoke("keys", "create", "a team with a long name", "--models", "a,b,c", "--store", path)
    with KeyStore(path) as store:
        (record,) = store.records()

    result = run("keys", "list", "--store", path, cwd=path.parent, env={"COLUMNS": "40"})

    lines = result.out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"a team with a long name  {record.id}  ")


def test_rotating_twice_within_the_grace_must_be_wanted(path: Path) -> None:
    invoke("keys", "create", "team", "--store", path)
    invoke("keys", "rotate", "team", "--grace", "1h", "--store", path)

    refused = invoke("keys", "rotate", "team", "--store", path)
    forced = invoke("keys", "rotate", "team", "--now", "--store", path)

    assert (refused.code, refused.out) == (1, "")
    assert "say --now to end it at once" in refused.err
    assert forced.code == 0


def test_rotating_shows_a_new_key_and_revoking_ends_it(path: Path) -> None:
    first = invoke("keys", "create", "team", "--store", path).out.strip()
    rotated = json.loads(
        invoke("keys", "rotate", "team", "--grace", "1h", "--json", "--store", path).out
    )
    ended = invoke("keys", "revoke", rotated["id"], "--store", path)
    again = invoke("keys", "revoke", "team", "--store", path)

    assert rotated["key"] not in ("", first)
    assert (ended.code, ended.err) == (0, f"revoked team ({rotated['id']})\n")
    assert (again.code, again.out) == (1, "")
    assert "no key in use is called 'team'" in again.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--usd-per-day", "-1"], "--usd-per-day must be an amount of dollars"),
        (["--usd-per-month", "lots"], "--usd-per-month must be an amount of dollars"),
        (["--usd-per-month", "NaN"], "--usd-per-month must be an amount of dollars"),
        (["--expires", "soon"], "--expires must be a time such as 90m"),
        (["--expires", "0d"], "--expires must be a time such as 90m"),
        (["--models", " , "], "--models names no model"),
    ],
)
def test_wrong_limits_are_refused(path: Path, arguments: list[str], told: str) -> None:
    result = invoke("keys", "create", "team", *arguments, "--store", path)

    assert (result.code, result.out, path.exists()) == (2, "", False)
    assert told in result.err


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\x1b[31m"])
def test_a_name_is_short_and_printable(path: Path, name: str) -> None:
    result = invoke("keys", "create", name, "--store", path)

    assert (result.code, result.out) == (2, "")
    assert "1 to 100 printable characters" in result.err


def test_the_configuration_says_where_keys_are(path: Path, tmp_path: Path) -> None:
    config = written(tmp_path, keyed_yaml(path))

    assert invoke("keys", "create", "team", "-c", config).code == 0
    assert path.exists()


def test_virtual_keys_let_the_gateway_listen_beyond_this_machine(
    path: Path, tmp_path: Path
) -> None:
    config = written(tmp_path, keyed_yaml(path))
    refused = invoke("serve", "-c", config, "--host", "0.0.0.0", "--port", 0)
    key = made_key(path)

    with started("serve", "-c", config, "--host", "0.0.0.0", "--port", 0, cwd=tmp_path) as gateway:
        url = gateway.said(r"url +(http://[\d.]+:\d+)/v1")[1]
        statuses = [ask(url, "nothing").status, ask(url, "nothing", bearer(key)).status]
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0

    assert (refused.code, statuses) == (2, [401, 404])
    assert "consilience keys create NAME" in refused.err


def test_a_file_of_keys_that_cannot_be_read_starts_nothing(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"something else" * 100)
    config = written(tmp_path, keyed_yaml(path))

    for host in ("127.0.0.1", "0.0.0.0"):
        result = invoke("serve", "-c", config, "--host", host, "--port", 0)

        assert result.code == 1
        assert "cannot be used: file is not a database" in result.err
