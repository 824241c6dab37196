"""What keeps requests from waiting for a model that does not answer, on a clock that jumps."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.breaker import (
    REST_S,
    Breaker,
    LateError,
    ModelError,
    RestingError,
    Seldom,
    log_failed,
)
from support import virtual_time

LIMIT_S = 5.0
Call = Callable[[], Awaitable[str]]


def taking(seconds: float, end: Exception | None = None) -> Call:
    """Gives a call that answers, or fails, after a time."""

    async def call() -> str:
        await anyio.sleep(seconds)
        if end is not None:
            raise end
        return "said"

    return call


HANGS, WORKS = taking(1e9), taking(0)
REFUSED = ModelError("the endpoint cannot be reached")


async def asked(breaker: Breaker, call: Call) -> tuple[str, float]:
    """Gives what came of a question, and the seconds that it took."""
    begun = anyio.current_time()
    try:
        said = await breaker.ask(call)
    except ModelError as exc:
        said = str(exc)
    return said, anyio.current_time() - begun


async def many(breaker: Breaker, call: Call, count: int = 50) -> Sequence[tuple[str, float]]:
    ends: list[tuple[str, float]] = []

    async def one() -> None:
        ends.append(await asked(breaker, call))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return ends


def breaker() -> Breaker:
    return Breaker("the model", LIMIT_S, "embed-1")


def test_model_that_hangs_is_waited_for_once() -> None:
    async def scenario() -> None:
        model = breaker()
        ends = await many(model, HANGS)
        assert set(ends) == {("the model gave no answer within 5 s", LIMIT_S)}
        resting = (
            "the model is not asked: it failed (the model gave no answer within 5 s);"
            " asked again in 10 s"
        )
        assert set(await many(model, HANGS)) == {(resting, 0.0)}

    virtual_time.run(scenario)


def test_one_request_asks_again_and_waits_for_a_second_only() -> None:
    async def scenario() -> None:
        model = breaker()
        await asked(model, HANGS)
        await anyio.sleep(REST_S)
        waits = sorted(seconds for _, seconds in await many(model, HANGS))
        assert waits == [0.0] * 49 + [1.0]
        await anyio.sleep(REST_S - 0.5)
        assert (await asked(model, HANGS))[1] == 0
        await anyio.sleep(0.5)
        assert (await asked(model, HANGS))[1] == 2

    virtual_time.run(scenario)


def test_model_is_asked_by_all_again_when_it_answers() -> None:
    async def scenario() -> None:
        model = breaker()
        await asked(model, HANGS)
        await anyio.sleep(REST_S)
        assert await asked(model, WORKS) == ("said", 0)
        assert {said for said, _ in await many(model, taking(4.9))} == {"said"}

    virtual_time.run(scenario)


def test_slow_model_is_given_its_usual_time_when_it_is_asked_again() -> None:
    async def scenario() -> None:
        model = breaker()
        assert (await asked(model, taking(2.4)))[0] == "said"
        await asked(model, HANGS)
        await anyio.sleep(REST_S)
        assert (await asked(model, taking(2.4)))[0] == "said"

    virtual_time.run(scenario)


def test_model_that_never_answered_soon_is_given_more_time_with_each_try() -> None:
    async def scenario() -> None:
        model = breaker()
        await asked(model, HANGS)
        said = []
        for _ in range(4):
            await anyio.sleep(REST_S)
            said.append((await asked(model, taking(4.9)))[0])
        assert said[-1] == "said"
        assert "said" not in said[:-1]

    virtual_time.run(scenario)


def test_three_failures_in_a_row_take_it_down() -> None:
    async def scenario() -> None:
        model = breaker()
        for call in (*[taking(0, REFUSED)] * 2, WORKS, *[taking(0, REFUSED)] * 3):
            said, _ = await asked(model, call)
            assert said in ("said", str(REFUSED))
        with pytest.raises(RestingError, match=r"it failed \(the endpoint cannot be reached\)"):
            await model.ask(WORKS)

    virtual_time.run(scenario)


def test_text_that_is_refused_takes_nothing_down() -> None:
    async def scenario() -> None:
        model = breaker()
        for _ in range(20):
            await asked(model, taking(0, ModelError("answered 400", of_text=True)))
        assert (await asked(model, WORKS))[0] == "said"

    virtual_time.run(scenario)


def test_one_late_answer_takes_nothing_down_while_others_are_answered() -> None:
    async def scenario() -> None:
        model = breaker()
        async with anyio.create_task_group() as group:
            group.start_soon(asked, model, HANGS)
            await anyio.sleep(1)
            await asked(model, WORKS)
        assert (await asked(model, WORKS))[0] == "said"

    virtual_time.run(scenario)


def test_answer_to_an_earlier_call_ends_the_rest() -> None:
    async def scenario() -> None:
        model = breaker()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(asked, model, taking(1, REFUSED))
            group.start_soon(asked, model, taking(4))
            await anyio.sleep(2)
            assert "is not asked" in (await asked(model, WORKS))[0]
            await anyio.sleep(3)
            assert (await asked(model, WORKS))[0] == "said"

    virtual_time.run(scenario)


@pytest.mark.parametrize(("patience_s", "waits"), [(1.0, True), (3.0, False)])
def test_requests_that_leave_early_count_after_half_of_the_limit(
    patience_s: float, waits: bool
) -> None:
    async def scenario() -> None:
        model = breaker()
        for _ in range(3):
            with anyio.move_on_after(patience_s), suppress(ModelError):
                await model.ask(HANGS)
        begun = anyio.current_time()
        with anyio.move_on_after(patience_s), suppress(RestingError):
            await model.ask(HANGS)
        assert (anyio.current_time() > begun) is waits

    virtual_time.run(scenario)


def test_request_that_asks_again_and_leaves_makes_room_for_the_next() -> None:
    async def scenario() -> None:
        model = breaker()
        await asked(model, HANGS)
        await anyio.sleep(REST_S)
        with anyio.move_on_after(0.1):
            await model.ask(HANGS)
        assert (await asked(model, WORKS))[0] == "said"

    virtual_time.run(scenario)


def test_less_time_than_the_limit_is_no_proof_that_it_hangs() -> None:
    async def scenario() -> None:
        model = breaker()
        with pytest.raises(LateError, match=r"within 0\.5 s"):
            await model.ask(HANGS, within_s=0.5)
        assert (await asked(model, WORKS))[0] == "said"

    virtual_time.run(scenario)


def test_log_has_one_line_when_it_goes_down_and_one_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        model = breaker()
        for _ in range(3):
            await many(model, taking(0, REFUSED))
            await anyio.sleep(REST_S)
        await many(model, WORKS)

    with caplog.at_level(logging.INFO):
        virtual_time.run(scenario)
    lines = [(record.message, record.__dict__["fields"]) for record in caplog.records]
    why = {"model": "embed-1", "reason": str(REFUSED), "kind": "ModelError"}
    assert lines == [
        ("signal_model_failed", why),
        ("signal_model_down", why),
        ("signal_model_back", {"model": "embed-1", "away_s": 30.0}),
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_failures_now_and_then_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        model = breaker()
        for _ in range(100):
            await asked(model, taking(0, REFUSED))
            await asked(model, taking(1))

    with caplog.at_level(logging.INFO):
        virtual_time.run(scenario)
    assert [record.message for record in caplog.records] == ["signal_model_failed"] * 2


def test_what_a_bug_raises_is_told_whole_and_what_a_breaker_told_not_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        told = Seldom()
        model = breaker()
        for _ in range(2):
            log_failed("failed", ModelError("of no use"), told, rule="a")
            try:
                await model.ask(taking(0, ModelError("down")))
            except ModelError as exc:
                log_failed("failed", exc, told)
        log_failed("failed", ValueError("x"), told)

    with caplog.at_level(logging.INFO):
        virtual_time.run(scenario)
    assert [(record.message, bool(record.exc_info)) for record in caplog.records] == [
        ("failed", False),
        ("signal_model_failed", False),
        ("failed", True),
    ]


def test_log_names_the_kind_of_the_first_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> str:
        try:
            try:
                raise ConnectionRefusedError("http://10.0.0.1")
            except OSError as exc:
                raise ValueError("10.0.0.1") from exc
        except ValueError as exc:
            raise ModelError("the endpoint cannot be reached") from exc

    with caplog.at_level(logging.INFO):
        virtual_time.run(asked, breaker(), call)
    (record,) = caplog.records
    assert record.__dict__["fields"]["kind"] == "ConnectionRefusedError"
    assert "10.0.0.1" not in str(record.__dict__)


ENDS = st.sampled_from([None, REFUSED, ModelError("no", of_text=True), ValueError("bug")])
CALLS = st.tuples(st.floats(0, 20), st.floats(0, 8), ENDS, st.floats(0.05, 12))


@given(st.lists(CALLS, max_size=30))
def test_whatever_a_model_does_every_request_is_let_go_within_the_limit(
    calls: Sequence[tuple[float, float, Exception | None, float]],
) -> None:
    async def one(model: Breaker, at: float, call: Call, patience_s: float) -> None:
        await anyio.sleep(at)
        begun = anyio.current_time()
        known: Any = (ModelError, ValueError)
        with anyio.move_on_after(patience_s), suppress(known):
            await model.ask(call)
        assert anyio.current_time() - begun <= LIMIT_S + 1e-6

    async def scenario() -> None:
        model = breaker()
        async with anyio.create_task_group() as group:
            for at, seconds, end, patience_s in calls:
                group.start_soon(one, model, at, taking(seconds, end), patience_s)
        # and a model that is well again is asked again
        for _ in range(2):
            await anyio.sleep(REST_S + LIMIT_S)
            said, _ = await asked(model, WORKS)
        assert said == "said"

    virtual_time.run(scenario)
