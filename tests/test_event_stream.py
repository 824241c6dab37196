"""Events as an async iterator: order, back-pressure, failures, and leaving early."""

from __future__ import annotations

import asyncio
import gc

import anyio
import pytest

from consilience.event_stream import Emit, EventStream
from consilience.loopers.base import Progress
from consilience.reply import Event

pytestmark = pytest.mark.anyio


class Producer:
    """Emits numbered events and remembers how it ended."""

    def __init__(self, count: int, *, failure: Exception | None = None) -> None:
        self.count = count
        self.failure = failure
        self.begun = 0
        self.ended = ""

    async def run(self, emit: Emit) -> None:
        try:
            for i in range(self.count):
                self.begun = i + 1
                await emit(Progress(str(i)))
            if self.failure is not None:
                raise self.failure
            self.ended = "done"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


def _names(events: list[Event]) -> list[str]:
    return [e.event for e in events if isinstance(e, Progress)]


async def test_events_come_in_order_and_the_stream_ends() -> None:
    producer = Producer(3)
    events = [event async for event in EventStream(producer.run)]
    assert (_names(events), producer.ended) == (["0", "1", "2"], "done")


async def test_nothing_runs_before_the_first_event_is_asked_for() -> None:
    producer = Producer(3)
    stream = EventStream(producer.run)
    await anyio.lowlevel.checkpoint()
    assert producer.begun == 0
    await stream.aclose()


async def test_a_slow_consumer_slows_the_producer() -> None:
    producer = Producer(100)
    async with EventStream(producer.run) as stream:
        await anext(stream)
        await anyio.wait_all_tasks_blocked()
        assert producer.begun == 2


async def test_a_failure_comes_after_the_events_before_it() -> None:
    got: list[Event] = []
    with pytest.raises(ValueError, match="boom"):
        async for event in EventStream(Producer(2, failure=ValueError("boom")).run):
            got.append(event)  # noqa: PERF401  # it fails on the way
    assert _names(got) == ["0", "1"]


async def test_leaving_the_block_cancels_the_request() -> None:
    producer = Producer(100)
    async with EventStream(producer.run) as stream:
        await anext(stream)
    assert producer.ended == "cancelled"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closing_twice_or_unused_does_nothing() -> None:
    stream = EventStream(Producer(1).run)
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_dropping_the_iterator_cancels_the_request() -> None:
    producer = Producer(100)
    stream = EventStream(producer.run)
    await anext(stream)
    del stream
    gc.collect()
    await anyio.wait_all_tasks_blocked()
    assert producer.ended == "cancelled"


async def test_a_cancelled_consumer_can_still_close() -> None:
    producer = Producer(100)

    async def stuck(_emit: Emit) -> None:
        await producer.run(_emit)

    stream = EventStream(stuck)
    await anext(stream)
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anext(stream)
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
    assert producer.ended == "cancelled"


async def test_closing_does_not_swallow_the_closer_s_own_cancellation() -> None:
    released = anyio.Event()

    async def stubborn(emit: Emit) -> None:
        await emit(Progress("0"))
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await released.wait()

    stream = EventStream(stubborn)
    await anext(stream)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(stream.aclose)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    released.set()
    await anyio.wait_all_tasks_blocked()


async def test_a_failure_while_closing_is_nobody_s_business() -> None:
    async def failing(emit: Emit) -> None:
        await emit(Progress("0"))
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("too late")

    stream = EventStream(failing)
    await anext(stream)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
