"""Keys in memory: kept up with the file, which may change, fail or go away at any time."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from consilience.keys.records import KeyLimits, new_secret
from consilience.keys.ring import KeyRing
from consilience.keys.store import KeyStore, KeyStoreError
from support.client import eventually

NOW = 1_795_600_000.0
DAY, MONTH = "2026-11-25", "2026-11"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def ring(path: Path) -> Iterator[KeyRing]:
    ring = KeyRing(path, every_s=0.01, unix_time=lambda: NOW)
    ring.open()
    yield ring
    ring.close()


def test_nothing_is_made_where_nothing_is_kept(ring: KeyRing, path: Path) -> None:
    assert not ring.exists
    assert ring.find(new_secret().digest) is None
    assert not path.exists()


def test_what_the_command_line_does_is_seen(ring: KeyRing, path: Path) -> None:
    first, second = new_secret(), new_secret()
    with KeyStore(path) as store:
        store.create("team", first, KeyLimits(), now=0)
        assert eventually(lambda: ring.find(first.digest))
        store.rotate("team", second, now=0, grace_s=60)
        assert eventually(lambda: ring.find(second.digest))
        assert ring.find(first.digest) == ring.find(second.digest)
        store.revoke("team", now=5)

        assert eventually(lambda: ring.find(second.digest).revoked == 5)  # type: ignore[union-attr]


def test_a_lost_file_opens_no_door(ring: KeyRing, path: Path) -> None:
    secret = new_secret()
    with KeyStore(path) as store:
        store.create("team", secret, KeyLimits(), now=0)
    assert eventually(lambda: ring.exists)

    file = path.rename(path.with_suffix(".lost"))
    ring.spend("key_1", DAY, Decimal(1))

    assert eventually(lambda: ring.troubles == ("key_store",))
    assert ring.exists
    assert ring.find(secret.digest)
    assert not path.exists()

    file.rename(path)

    assert eventually(lambda: not ring.troubles)
    with KeyStore(path) as store:
        assert store.spend_since(DAY) == {("key_1", DAY): 1}


def test_a_file_in_the_place_of_another_is_read(ring: KeyRing, path: Path) -> None:
    old, new = new_secret(), new_secret()
    with KeyStore(path) as store:
        store.create("team", old, KeyLimits(), now=0)
    assert eventually(lambda: ring.find(old.digest))
    with KeyStore(path.with_suffix(".new")) as store:
        store.create("team", new, KeyLimits(), now=0)

    path.with_suffix(".new").replace(path)

    assert eventually(lambda: ring.find(new.digest))
    assert ring.find(old.digest) is None


def test_an_unreadable_file_lets_nobody_in_by_mistake(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)

    with pytest.raises(KeyStoreError):
        KeyRing(path).open()


def test_spend_is_known_at_once_and_written_soon(ring: KeyRing, path: Path) -> None:
    ring.spend("key_1", DAY, Decimal("0.25"))
    ring.spend("key_1", DAY, Decimal("0.50"))

    assert ring.spent("key_1", DAY) == ring.spent("key_1", MONTH) == Decimal("0.75")
    assert ring.spent("key_2", DAY) == ring.spent("key_1", "2026-12") == 0
    assert eventually(path.exists)
    with KeyStore(path) as store:
        at = ("key_1", DAY)
        assert eventually(lambda: store.spend_since(DAY).get(at) == Decimal("0.75"))


def test_spend_outlives_a_restart_and_other_days_count_for_the_month(path: Path) -> None:
    ring = KeyRing(path, unix_time=lambda: NOW)
    ring.open()
    ring.spend("key_1", "2026-11-01", Decimal(2))
    ring.spend("key_1", DAY, Decimal(1))
    ring.close()

    again = KeyRing(path, unix_time=lambda: NOW)
    again.open()

    assert again.spent("key_1", DAY) == 1
    assert again.spent("key_1", MONTH) == 3
    again.close()


def test_what_another_process_spends_counts_here(ring: KeyRing, path: Path) -> None:
    ring.spend("key_1", DAY, Decimal(1))
    assert eventually(path.exists)
    with KeyStore(path) as other:
        other.add_spend({("key_1", DAY): Decimal(2)})

    assert eventually(lambda: ring.spent("key_1", DAY) == 3)
    assert ring.spent("key_1", MONTH) == 3


def test_spend_waits_for_a_file_that_fails(path: Path) -> None:
    path.mkdir()
    ring = KeyRing(path.with_suffix(".later"), every_s=0.01, unix_time=lambda: NOW)
    ring.open()
    ring.path = path
    ring.spend("key_1", DAY, Decimal(1))
    assert ring.spent("key_1", DAY) == 1

    path.rmdir()

    assert eventually(path.is_file)
    ring.close()
    with KeyStore(path) as store:
        assert store.spend_since(DAY) == {("key_1", DAY): 1}


def test_the_last_to_close_ends_it(path: Path) -> None:
    ring = KeyRing(path, every_s=0.01, unix_time=lambda: NOW)
    ring.open()
    ring.open()
    ring.close()
    ring.spend("key_1", DAY, Decimal(1))
    assert eventually(path.exists)

    ring.close()

    with KeyStore(path) as store:
        assert store.spend_since(DAY) == {("key_1", DAY): 1}
