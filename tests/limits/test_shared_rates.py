"""Rates over processes: together they let in no more than one would, and the file may fail."""

from __future__ import annotations

import logging
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from consilience.errors import RateLimitedError
from consilience.keys.rate_file import rate_path
from consilience.keys.records import KeyLimits, VirtualKey
from consilience.limits.rates import WINDOW_S
from consilience.limits.shared_rates import SharedRates

pytestmark = pytest.mark.anyio
KEY = VirtualKey(
    id="key_1",
    name="team",
    hint="abcd",
    created=0,
    limits=KeyLimits(requests_per_minute=5, tokens_per_minute=100),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def both(path: Path) -> Iterator[tuple[SharedRates, SharedRates]]:
    one, two = SharedRates(path), SharedRates(path)
    yield one, two
    one.close()
    two.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(rate_path(path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def let_in(rates: SharedRates, now: float, *, tries: int = 1) -> int:
    admitted = 0
    for _ in range(tries):
        with suppress(RateLimitedError):
            await rates.take_request(KEY, now)
            admitted += 1
    return admitted


async def test_processes_count_requests_together(both: tuple[SharedRates, SharedRates]) -> None:
    one, two = both

    assert [await let_in(each, 100.0) for each in (one, two, one, two, one, two, one)] == [
        1
    ] * 5 + [0] * 2
    assert await let_in(two, 100.0 + WINDOW_S + 1, tries=9) == 5


async def test_processes_count_tokens_together(both: tuple[SharedRates, SharedRates]) -> None:
    one, two = both
    held = await one.hold_tokens(KEY, 80, 100.0)
    with pytest.raises(RateLimitedError, match="100 tokens a minute") as refused:
        await two.hold_tokens(KEY, 80, 100.0)
    assert refused.value.retry_after_s == WINDOW_S + 1

    await one.settle_tokens(KEY, held, 100.0, 10, 110.0)

    assert await two.hold_tokens(KEY, 80, 110.0) == (80, True)
    assert two.headers(KEY, 110.0)["x-ratelimit-remaining-tokens"] == "10"


async def test_who_is_refused_tells_what_all_have_left(
    both: tuple[SharedRates, SharedRates],
) -> None:
    one, two = both
    assert await let_in(one, 100.0, tries=5) == 5

    assert await let_in(two, 100.0) == 0

    assert two.headers(KEY, 100.0)["x-ratelimit-remaining-requests"] == "0"


async def test_a_restart_forgets_nothing(path: Path) -> None:
    first = SharedRates(path)
    assert await let_in(first, 100.0, tries=5) == 5
    first.close()

    again = SharedRates(path)
    assert await let_in(again, 101.0) == 0
    again.close()


async def test_nothing_is_made_for_a_key_without_rates(path: Path) -> None:
    rates = SharedRates(path)
    key = VirtualKey(id="free", name="free", hint="abcd", created=0)
    await rates.take_request(key, 0.0)
    await rates.settle_tokens(key, await rates.hold_tokens(key, 9, 0.0), 0.0, 9, 1.0)

    assert rates.headers(key, 1.0) == {}
    assert list(path.parent.iterdir()) == []


async def test_the_file_is_its_owners_alone(
    both: tuple[SharedRates, SharedRates], path: Path
) -> None:
    await let_in(both[0], 100.0)

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_a_process_counts_for_itself_while_another_locks_the_file(
    both: tuple[SharedRates, SharedRates], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, two = both
    assert await let_in(one, 100.0, tries=2) == 2
    assert await let_in(two, 100.0) == 1
    with locked(path):
        assert await let_in(two, 100.5, tries=9) == 2
        assert two.troubles(100.5) == two.troubles(101.0) == ("rate_store",)
    assert two.troubles(101.1) == ("rate_store",)  # it is left alone for a while
    assert two.troubles(101.5) == ()
    assert await let_in(one, 101.5, tries=9) == 2  # what was counted meanwhile others do not know
    said = [record.getMessage() for record in caplog.records]
    assert said == ["rate_store_failed", "rate_store_works_again"]


async def test_a_file_that_is_busy_for_a_moment_is_waited_for(
    both: tuple[SharedRates, SharedRates], path: Path
) -> None:
    one, two = both
    assert await let_in(one, 100.0, tries=4) == 4
    async with anyio.create_task_group() as tasks:
        with locked(path):
            for _ in range(9):
                tasks.start_soon(let_in, two, 100.0)
            await anyio.sleep(0.01)
    assert two.troubles(100.0) == ()
    assert await let_in(one, 100.0) == 0


async def test_what_one_process_counted_alone_is_not_taken_back_from_all(
    both: tuple[SharedRates, SharedRates], path: Path
) -> None:
    one, two = both
    theirs = await two.hold_tokens(KEY, 40, 100.0)
    with locked(path):
        alone = await one.hold_tokens(KEY, 40, 100.0)
        assert (alone.tokens, alone.shared, theirs.shared) == (40, False, True)

    await one.settle_tokens(KEY, alone, 100.0, 5, 101.0)

    assert one.headers(KEY, 101.0)["x-ratelimit-remaining-tokens"] == "55"
    await two.settle_tokens(KEY, theirs, 100.0, 10, 101.0)
    assert two.headers(KEY, 101.0)["x-ratelimit-remaining-tokens"] == "85"


async def test_what_is_counted_alone_is_settled_alone(
    both: tuple[SharedRates, SharedRates], path: Path
) -> None:
    one, _ = both
    await one.hold_tokens(KEY, 10, 100.0)
    with locked(path):
        alone = await one.hold_tokens(KEY, 40, 100.0)
        await one.settle_tokens(KEY, alone, 100.0, 5, 100.1)
        assert one.headers(KEY, 100.1)["x-ratelimit-remaining-tokens"] == "85"


async def test_who_is_cancelled_has_counted_what_was_used(
    both: tuple[SharedRates, SharedRates], path: Path
) -> None:
    one, two = both
    held = await one.hold_tokens(KEY, 80, 100.0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await one.settle_tokens(KEY, held, 100.0, 10, 100.0)

    assert await two.hold_tokens(KEY, 90, 100.0) == (90, True)


@pytest.mark.parametrize("damage", [b"not a database" * 100, None], ids=["rubbish", "lost"])
async def test_a_file_that_was_spoiled_or_lost_lets_requests_in(
    path: Path, damage: bytes | None
) -> None:
    rates = SharedRates(path)
    assert await let_in(rates, 100.0, tries=2) == 2
    for file in path.parent.iterdir():
        file.unlink()
    if damage is not None:
        rate_path(path).write_bytes(damage)

    admitted = await let_in(rates, 101.0, tries=9)

    assert admitted == (3 if damage is not None else 5)  # a lost file is begun anew
    assert rates.troubles(101.0) == (("rate_store",) if damage is not None else ())
    rates.close()


@pytest.mark.parametrize("text", ["no json", "{}", "[[1]]", "[[1, 2, 3]]", '[["x", 2]]', "[null]"])
async def test_what_somebody_else_wrote_into_the_file_counts_as_nothing(
    path: Path, text: str
) -> None:
    rates = SharedRates(path)
    assert await let_in(rates, 100.0) == 1
    with closing(sqlite3.connect(rate_path(path), isolation_level=None)) as other:
        other.execute("UPDATE minutes SET requests = ?", (text,))

    assert await let_in(rates, 101.0, tries=9) == 5
    assert rates.troubles(101.0) == ()
    rates.close()
