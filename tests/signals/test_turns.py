"""Evaluations that begin at once share the event loop with everything else."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from consilience.signals.turns import MOST_A_TURN, Turns

pytestmark = pytest.mark.anyio


class Tick:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.turn = 0

    async def __call__(self) -> None:
        while True:
            await checkpoint()
            self.turn += 1


async def taken(turns: Turns, many: int) -> list[int]:
    """Gives in which turn of the loop each of many that begin at once had its own."""
    tick, found = Tick(), list[int]()

    async def one() -> None:
        await turns.take()
        found.append(tick.turn)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with anyio.create_task_group() as takers:
            for _ in range(many):
                takers.start_soon(one)
        group.cancel_scope.cancel()
    return found


async def test_few_go_on_at_once() -> None:
    turns, tick = Turns(), Tick()
    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        for _ in range(MOST_A_TURN):
            await turns.take()
        assert tick.turn == 0
        group.cancel_scope.cancel()


async def test_so_many_begin_in_one_turn_and_all_have_theirs() -> None:
    found = await taken(Turns(), 10 * MOST_A_TURN + 1)
    assert len(found) == 10 * MOST_A_TURN + 1
    assert max(found.count(turn) for turn in found) <= MOST_A_TURN
    assert found == sorted(found)


async def test_turns_do_not_run_out() -> None:
    turns = Turns()
    for _ in range(5):
        assert len(await taken(turns, MOST_A_TURN)) == MOST_A_TURN


async def test_who_leaves_while_waiting_takes_no_turn() -> None:
    turns = Turns()
    for _ in range(MOST_A_TURN):
        await turns.take()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await turns.take()
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        await turns.take()


async def test_each_loop_begins_anew() -> None:
    turns = Turns()

    async def all_of_a_turn() -> None:
        for _ in range(MOST_A_TURN):
            await turns.take()
        with anyio.fail_after(5):
            await turns.take()

    await all_of_a_turn()
    await anyio.to_thread.run_sync(lambda: anyio.run(all_of_a_turn))
