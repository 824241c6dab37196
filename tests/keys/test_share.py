"""Money set aside over processes: nothing is set aside twice, and a dead one's part is not lost."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from consilience.keys.held import HeldError, held_path
from consilience.keys.ring import KeyRing
from consilience.keys.share import Look, Share
from consilience.keys.store import KeyStore
from support.client import eventually

NOW = 1_795_600_000.0
DAY, MONTH = "2026-11-25", "2026-11"
PATIENCE_S = 10.0


class TooLittleError(Exception):
    """What the checks of these tests raise."""


def at_most(most: str, *, wanted: str) -> Callable[[Look], None]:
    def check(look: Look) -> None:
        if look("k", DAY) + Decimal(wanted) > Decimal(most):
            raise TooLittleError(look("k", DAY))

    return check


def hold(part: Share | KeyRing, usd: str, *, most: str = "1") -> None:
    insist(part, {"k": Decimal(usd)}, at_most(most, wanted=usd))


def taken(part: Share | KeyRing) -> Decimal:
    """All that is spent and set aside, as one process sees it."""
    seen: list[Decimal] = []
    insist(part, {}, lambda look: seen.append(look("k", DAY)))
    return seen[0]


def insist(
    part: Share | KeyRing, wanted: dict[str, Decimal], check: Callable[[Look], None]
) -> None:
    """Holds; again while the thread of another ring is at the file, as the ledger does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return part.hold(wanted, check)
        except HeldError as exc:
            at_work = isinstance(part, KeyRing) and exc.busy
            if not at_work or time.monotonic() > deadline:
                raise


def share(path: Path) -> Share:
    return Share(path, lambda *_: Decimal(0), every_s=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def parts(path: Path) -> Iterator[tuple[Share, Share]]:
    one, two = (share(path) for _ in range(2))
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def rings(path: Path) -> Iterator[tuple[KeyRing, KeyRing]]:
    one, two = (KeyRing(path, every_s=0.01, unix_time=lambda: NOW) for _ in range(2))
    one.open()
    two.open()
    yield one, two
    one.close()
    two.close()


def killed(part: Share) -> None:
    """Does what the end of a process does: its files are closed, and nothing is said."""
    file = part._file
    assert file is not None
    file._alive.close()
    file._db.close()


def test_what_one_process_holds_no_other_can(parts: tuple[Share, Share]) -> None:
    one, two = parts
    hold(one, "0.6")

    with pytest.raises(TooLittleError, match=r"0\.6"):
        hold(two, "0.6")

    hold(two, "0.4")
    with pytest.raises(TooLittleError):
        hold(one, "0.1")


def test_what_is_given_back_others_can_hold_after_it_is_said(parts: tuple[Share, Share]) -> None:
    one, two = parts
    hold(one, "1")
    one.change("k", Decimal("-0.75"))
    assert taken(two) == 1
    with pytest.raises(TooLittleError):
        hold(two, "0.5")

    one.settle(since=MONTH)

    hold(two, "0.75")


def test_what_is_spent_stays_taken_until_and_after_it_is_written(
    parts: tuple[Share, Share],
) -> None:
    one, two = parts
    hold(one, "1")
    one.change("k", Decimal("0.25"))
    one.change("k", Decimal(-1))
    one.settle(since=MONTH)
    assert taken(two) == taken(one) == Decimal("0.25")

    written = {("k", DAY): Decimal("0.25"), ("k", MONTH): Decimal("0.25")}
    one.write({"k": Decimal("0.25")}, written)
    assert taken(two) == Decimal("0.25")
    one.settle(since=MONTH)

    assert taken(two) == taken(one) == Decimal("0.25")


def test_what_a_dead_process_held_is_taken_over_once(
    parts: tuple[Share, Share], path: Path
) -> None:
    dead, heir = parts
    third = share(path)
    hold(dead, "0.6")
    hold(third, "0.1")
    assert heir.settle(since=MONTH) == {}
    killed(dead)

    assert heir.settle(since=MONTH) == {"k": Decimal("0.6")}
    assert third.settle(since=MONTH) == {}

    with pytest.raises(TooLittleError, match=r"0\.7"):
        hold(heir, "0.6")
    third.close()
    assert third.settle(since=MONTH) == {"k": Decimal("0.1")}  # it left with money set aside


def test_a_check_that_fails_holds_nothing(parts: tuple[Share, Share]) -> None:
    one, two = parts
    with pytest.raises(TooLittleError):
        hold(one, "2")

    assert taken(one) == taken(two) == 0


def test_a_locked_file_is_busy_and_a_bad_one_is_not(parts: tuple[Share, Share], path: Path) -> None:
    one, two = parts
    hold(one, "0.1")
    with closing(sqlite3.connect(held_path(path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HeldError) as caught:
            hold(one, "0.1")
    assert caught.value.busy
    hold(one, "0.1")
    assert taken(two) == Decimal("0.2")

    one.close()
    two.close()
    held_path(path).write_bytes(b"not a database" * 100)
    with pytest.raises(HeldError) as caught:
        hold(two, "0.1")
    assert not caught.value.busy


def test_a_lost_file_is_made_anew_with_what_each_has(
    parts: tuple[Share, Share], path: Path
) -> None:
    one, two = parts
    hold(one, "0.5")
    hold(two, "0.25")
    for file in path.parent.iterdir():
        file.unlink()

    assert taken(one) == Decimal("0.5")
    assert taken(two) == Decimal("0.75")
    assert taken(one) == Decimal("0.75")


def test_the_file_is_its_owners_alone_and_who_leaves_leaves_nothing(
    parts: tuple[Share, Share], path: Path
) -> None:
    one, _ = parts
    hold(one, "0.5")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    one.change("k", Decimal("-0.5"))
    one.settle(since=MONTH)
    one.close()

    assert [file.name for file in path.parent.iterdir()] == ["keys.held.sqlite3"]


def test_nothing_is_made_where_nobody_has_a_limit(
    rings: tuple[KeyRing, KeyRing], path: Path
) -> None:
    rings[0].spend("k", DAY, Decimal(1))
    assert eventually(lambda: rings[1].spent("k", DAY) == 1)

    assert not held_path(path).exists()


def test_what_is_spent_is_known_to_all_without_a_gap(rings: tuple[KeyRing, KeyRing]) -> None:
    one, two = rings
    for _ in range(100):
        hold(one, "0.01")
        one.spend("k", DAY, Decimal("0.005"))
        one.release("k", Decimal("0.01"))
        assert taken(two) >= one.spent("k", DAY)

    assert eventually(lambda: taken(two) == taken(one) == Decimal("0.5"))


def test_a_ring_counts_what_a_dead_process_held_as_spent(path: Path) -> None:
    dead = share(path)
    hold(dead, "0.75")
    killed(dead)

    ring = KeyRing(path, every_s=0.01, unix_time=lambda: NOW)
    ring.open()
    assert eventually(lambda: ring.spent("k", DAY) == Decimal("0.75"))
    assert eventually(lambda: taken(ring) == Decimal("0.75"))
    ring.close()

    with KeyStore(path) as store:
        assert store.spend_since(DAY) == {("k", DAY): Decimal("0.75")}
    again = KeyRing(path, unix_time=lambda: NOW)
    again.open()
    assert taken(again) == Decimal("0.75")
    again.close()
