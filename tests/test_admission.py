"""Who may start: room, turns, the bounded queue, and what a refusal says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.admission import Admission, Bounds, Turn
from consilience.errors import OverloadedError
from support.virtual_time import run

pytestmark = pytest.mark.anyio


def _admission(capacity: int = 2, queued: int = 9, seconds: float = 4.0) -> Admission:
    return Admission(Bounds(capacity, queued, seconds), jitter=lambda: 0.0)


async def test_turns_come_in_order_and_a_narrow_one_does_not_pass_a_wide_one() -> None:
    admission, order = _admission(), []
    first, second = await admission.enter(1), await admission.enter(1)

    async def enter(name: str, width: int) -> None:
        (await admission.enter(width)).release()
        order.append(name)

    async with anyio.create_task_group() as group:
        for name, width in (("wide", 2), ("narrow", 1), ("late", 1)):
            group.start_soon(enter, name, width)
            await anyio.wait_all_tasks_blocked()
        first.release()  # room for a narrow one, but it is not its turn
        await anyio.wait_all_tasks_blocked()
        assert (order, admission.queued) == ([], 3)
        second.release()
    assert order == ["wide", "narrow", "late"]
    assert (admission.in_flight, admission.queued) == (0, 0)


async def test_a_full_queue_refuses_at_once() -> None:
    admission = _admission(capacity=1, queued=1)
    held = await admission.enter(1)
    admission.refuse_when_full()
    async with anyio.create_task_group() as group:
        group.start_soon(admission.enter, 1)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(OverloadedError):
            await admission.enter(1)
        with pytest.raises(OverloadedError):
            admission.refuse_when_full()
        held.release()
    assert (admission.in_flight, admission.queued) == (1, 0)


def test_a_turn_that_does_not_come_in_time_is_a_refusal_that_estimates_the_wait() -> None:
    async def wait() -> tuple[float, float | None, int]:
        admission = _admission(capacity=2, seconds=4.0)
        for _ in range(60):  # each holds its room for ten seconds
            permit = await admission.enter(2)
            await anyio.sleep(10)
            permit.release()
        held, begun = await admission.enter(2), anyio.current_time()
        with pytest.raises(OverloadedError) as caught:
            await admission.enter(2)
        held.release()
        waited = anyio.current_time() - begun
        return waited, caught.value.retry_after_s, admission.queued

    waited, retry_after_s, queued = run(wait)
    assert (waited, queued) == (4.0, 0)
    assert retry_after_s == pytest.approx(10.0, rel=0.01)


async def test_refused_clients_are_told_different_times_and_none_beyond_a_minute() -> None:
    told = []
    for jitter in (0.0, 0.5, 1.0):
        admission = Admission(Bounds(1), jitter=lambda jitter=jitter: jitter)  # type: ignore[misc]
        await admission.enter(1)
        for width in (5, 1000):
            with pytest.raises(OverloadedError) as caught:
                await admission.enter(width)
            told.append(caught.value.retry_after_s)
    assert told == [5.0, 60.0, 7.5, 60.0, 10.0, 60.0]


async def test_a_cancelled_waiter_lets_the_next_one_pass() -> None:
    admission = _admission()
    await admission.enter(1)
    entered = anyio.Event()

    async def narrow() -> None:
        await admission.enter(1)
        entered.set()

    scope = anyio.CancelScope()

    async def wide() -> None:
        with scope:
            await admission.enter(2)

    async with anyio.create_task_group() as group:
        group.start_soon(wide)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(narrow)
        await anyio.wait_all_tasks_blocked()
        assert not entered.is_set()
        scope.cancel()
    assert entered.is_set()
    assert (admission.in_flight, admission.queued) == (2, 0)


async def test_room_that_comes_together_with_the_cancellation_is_given_back() -> None:
    admission = _admission(capacity=1)
    held = await admission.enter(1)
    waiting = asyncio.create_task(admission.enter(1))  # noqa: TID251  # cancelled as users do
    await anyio.wait_all_tasks_blocked()
    held.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (admission.in_flight, admission.queued) == (0, 0)


async def test_room_that_is_not_needed_any_more_is_the_next_one_s() -> None:
    admission = _admission(capacity=3)
    wide = await admission.enter(3)
    async with anyio.create_task_group() as group:
        group.start_soon(admission.enter, 2)
        await anyio.wait_all_tasks_blocked()
        wide.narrow(2)
        await anyio.wait_all_tasks_blocked()
        assert (admission.in_flight, admission.queued) == (2, 1)
        wide.narrow(1)
        wide.narrow(1)
    assert (admission.in_flight, admission.queued) == (3, 0)
    wide.release()
    assert admission.in_flight == 2


async def test_who_makes_no_call_never_waits() -> None:
    admission = _admission(capacity=1, queued=0)
    await admission.enter(1)
    with admission.turn() as turn:
        await turn.take(0)
        assert admission.in_flight == 1
    assert admission.in_flight == 1


async def test_who_was_let_in_before_comes_before_those_who_wait() -> None:
    admission, order = _admission(capacity=2, queued=9), list[str]()

    async def arrive() -> None:
        with admission.turn() as turn:
            await turn.take(1)
            order.append("arrived")

    async def widen(turn: Turn) -> None:
        await turn.take(2)
        order.append("widened")
        turn.end()

    other = await admission.enter(1)
    with admission.turn() as turn:
        await turn.take(1)
        async with anyio.create_task_group() as group:
            group.start_soon(arrive)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(widen, turn)
            await anyio.wait_all_tasks_blocked()
            other.release()
    assert order == ["widened", "arrived"]
    assert (admission.in_flight, admission.queued) == (0, 0)


async def test_two_that_widen_do_not_wait_for_each_other() -> None:
    admission, done = _admission(capacity=2, queued=0), list[int]()

    async def work(number: int) -> None:
        with admission.turn() as turn:
            await turn.take(1)
            await anyio.lowlevel.checkpoint()
            await turn.take(2)
            done.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(work, 1)
        group.start_soon(work, 2)
    assert sorted(done) == [1, 2]
    assert (admission.in_flight, admission.queued) == (0, 0)


async def test_who_gives_up_while_widening_leaves_nothing() -> None:
    admission = _admission(capacity=2, queued=0)
    other = await admission.enter(1)
    with admission.turn() as turn, anyio.move_on_after(0.01) as scope:
        await turn.take(1)
        await turn.take(2)
    assert scope.cancelled_caught
    assert (admission.in_flight, admission.queued) == (1, 0)
    other.release()


async def test_more_room_lets_those_in_who_wait() -> None:
    admission = _admission(capacity=1)
    await admission.enter(1)
    async with anyio.create_task_group() as group:
        group.start_soon(admission.enter, 1)
        await anyio.wait_all_tasks_blocked()
        admission.resize(Bounds(2))
    assert admission.in_flight == 2


REQUESTS = st.lists(
    st.tuples(
        st.integers(1, 6),  # width
        st.floats(0, 3),  # arrival
        st.floats(0, 3),  # holds its room for
        st.one_of(st.none(), st.floats(0, 4)),  # gives up after
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.integers(1, 6), st.integers(0, 12), st.floats(0, 2))
def test_any_crowd_stays_within_the_bounds_and_leaves_nothing(
    requests: Sequence[tuple[int, float, float, float | None]],
    capacity: int,
    max_queued: int,
    max_queue_s: float,
) -> None:
    async def crowd() -> None:
        admission = Admission(Bounds(capacity, max_queued, max_queue_s))
        inside: list[int] = []
        told: list[float] = []

        async def one(width: int, arrival: float, hold: float, patience: float | None) -> None:
            await anyio.sleep(arrival)
            begun = anyio.current_time()
            with anyio.move_on_after(patience):
                try:
                    permit = await admission.enter(width)
                except OverloadedError as exc:
                    told.append(exc.retry_after_s or 0)
                    return
                assert anyio.current_time() - begun <= max_queue_s + 1e-9
                inside.append(width)
                try:
                    assert sum(inside) <= capacity or inside == [width]
                    assert admission.queued <= max_queued
                    await anyio.sleep(hold)
                finally:
                    inside.remove(width)
                    permit.release()

        async with anyio.create_task_group() as group:
            for request in requests:
                group.start_soon(one, *request)
        assert (admission.in_flight, admission.queued, inside) == (0, 0, [])
        assert all(0 < seconds <= 60 for seconds in told)

    run(crowd)
