"""How a round ends: order, concurrency, quorum and grace, timeouts, cancellation. Virtual time."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from consilience.loopers.base import Progress, observe_nothing
from consilience.loopers.fusion.options import FusionOptions, seats_of
from consilience.loopers.fusion.panel import PANEL_SHARE, Panel, run_panel
from support.fusion_parts import After, Models, Watcher, asking, status_error

pytestmark = pytest.mark.anyio


async def round_of(
    models: Models, seats: Any, observe: Any = observe_nothing, **given: Any
) -> Panel:
    options = FusionOptions.model_validate({"analysis_models": seats, **given})
    return await run_panel(asking(), seats_of(options.analysis_models), options, models, observe)


def texts(panel: Panel) -> list[tuple[int, str]]:
    return [(r.seat, r.text) for r in panel.responses]


def lost(panel: Panel) -> list[tuple[int, str, str]]:
    return [(f.seat, f.model, f.reason) for f in panel.failures]


async def test_answers_stand_in_seat_order_whatever_the_order_of_arrival() -> None:
    models = Models({"a": After(3, "A"), "b": After(1, "B"), "c": After(2, "C")})
    panel = await round_of(models, ["a", "b", "c"])
    assert texts(panel) == [(0, "A"), (1, "B"), (2, "C")]
    assert anyio.current_time() == pytest.approx(3)
    assert [r.latency_ms for r in panel.responses] == [3000, 1000, 2000]


async def test_no_more_than_max_concurrent_calls_run_at_once_and_no_fewer() -> None:
    models = Models(lambda _: After(1, "x"))
    panel = await round_of(models, [{"model": "m", "count": 8}], max_concurrent=3)
    assert models.most_running == 3
    assert len(panel.responses) == 8
    assert anyio.current_time() == pytest.approx(3)


async def test_all_seats_run_at_once_by_default() -> None:
    models = Models(lambda _: After(1, "x"))
    await round_of(models, [{"model": "m", "count": 8}])
    assert models.most_running == 8


async def test_once_the_quorum_is_there_stragglers_are_cancelled_and_listed() -> None:
    models = Models({"a": After(1, "A"), "b": After(math.inf), "c": After(2, "C")})
    panel = await round_of(models, ["a", "b", "c"], min_successful_responses=2)
    assert texts(panel) == [(0, "A"), (2, "C")]
    assert lost(panel) == [(1, "b", "cancelled")]
    assert models.cancelled == ["b"]
    assert models.running == 0
    assert anyio.current_time() == pytest.approx(2)


async def test_stragglers_may_still_answer_within_the_grace() -> None:
    models = Models({"a": After(1, "A"), "b": After(4, "B"), "c": After(9, "C")})
    panel = await round_of(
        models, ["a", "b", "c"], min_successful_responses=1, quorum_grace_seconds=5
    )
    assert texts(panel) == [(0, "A"), (1, "B")]
    assert lost(panel) == [(2, "c", "cancelled")]
    assert anyio.current_time() == pytest.approx(6)


async def test_a_grace_ends_early_when_everyone_has_settled() -> None:
    models = Models({"a": After(1, "A"), "b": After(2, status_error("b", 500))})
    panel = await round_of(models, ["a", "b"], min_successful_responses=1, quorum_grace_seconds=50)
    assert lost(panel) == [(1, "b", "server_error")]
    assert anyio.current_time() == pytest.approx(2)


async def test_a_quorum_is_not_a_floor_when_the_rest_has_failed() -> None:
    models = Models({"a": "A", "b": status_error("b", 500), "c": status_error("c", 500)})
    panel = await round_of(models, ["a", "b", "c"], min_successful_responses=2)
    assert texts(panel) == [(0, "A")]
    assert lost(panel) == [(1, "b", "server_error"), (2, "c", "server_error")]


async def test_a_seat_cancelled_before_its_turn_was_never_called() -> None:
    models = Models({"a": After(1, "A"), "b": "B"})
    panel = await round_of(models, ["a", "b"], max_concurrent=1, min_successful_responses=1)
    assert lost(panel) == [(1, "b", "cancelled")]
    assert [(r.model, r.status, r.called) for r in panel.records] == [
        ("a", "ok", True),
        ("b", "cancelled", False),
    ]
    assert models.asked_of("b") == []


async def test_the_rounds_end_keeps_what_is_there_and_marks_the_rest_timeout() -> None:
    models = Models({"a": After(1, "A"), "b": After(math.inf), "c": After(5, "C")})
    panel = await round_of(models, ["a", "b", "c"], round_timeout_seconds=3)
    assert texts(panel) == [(0, "A")]
    assert lost(panel) == [(1, "b", "timeout"), (2, "c", "timeout")]
    assert [r.status for r in panel.records] == ["ok", "timeout", "timeout"]
    assert anyio.current_time() == pytest.approx(3)


async def test_seats_that_stop_slowly_after_the_quorum_are_cancelled_not_timed_out() -> None:
    async def slow_to_stop(request: Any) -> Any:
        try:
            return await models(request)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)

    models = Models({"a": After(1, "A"), "b": After(math.inf)})
    options = FusionOptions.model_validate(
        {
            "analysis_models": ["a", "b"],
            "min_successful_responses": 1,
            "round_timeout_seconds": 15,
        }
    )
    seats = seats_of(options.analysis_models)
    panel = await run_panel(asking(), seats, options, slow_to_stop, observe_nothing)
    assert lost(panel) == [(1, "b", "cancelled")]
    assert anyio.current_time() > 15


async def test_without_a_round_timeout_the_panel_has_its_share_of_the_deadline() -> None:
    models = Models({"a": "A", "b": After(math.inf)})
    with anyio.fail_after(100):
        panel = await round_of(models, ["a", "b"])
    assert lost(panel) == [(1, "b", "timeout")]
    assert anyio.current_time() == pytest.approx(100 * PANEL_SHARE)


async def test_a_round_timeout_beyond_the_share_does_not_take_the_judges_time() -> None:
    models = Models({"a": "A", "b": After(math.inf)})
    with anyio.fail_after(100):
        await round_of(models, ["a", "b"], round_timeout_seconds=99)
    assert anyio.current_time() == pytest.approx(100 * PANEL_SHARE)


async def test_a_seats_own_timeout_ends_that_seat_alone() -> None:
    models = Models({"a": After(math.inf), "b": After(5, "B")})
    panel = await round_of(models, [{"model": "a", "timeout_seconds": 2}, "b"])
    assert texts(panel) == [(1, "B")]
    (failure,) = panel.failures
    assert (failure.reason, failure.status, failure.latency_ms) == ("timeout", "timeout", 2000)


async def test_a_seats_time_runs_from_its_turn_not_from_the_rounds_start() -> None:
    models = Models({"a": After(5, "A"), "b": After(2, "B")})
    seats = ["a", {"model": "b", "timeout_seconds": 3}]
    panel = await round_of(models, seats, max_concurrent=1)
    assert texts(panel) == [(0, "A"), (1, "B")]
    assert panel.responses[1].latency_ms == 2000


async def test_cancelling_the_round_cancels_every_call() -> None:
    models = Models(lambda _: After(math.inf))
    async with anyio.create_task_group() as group:
        group.start_soon(round_of, models, ["a", "b", "c"])
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert sorted(models.cancelled) == ["a", "b", "c"]
    assert models.running == 0


async def test_an_unknown_error_is_a_bug_and_ends_the_round() -> None:
    models = Models({"a": ZeroDivisionError("bug"), "b": After(math.inf)})
    with pytest.raises(ExceptionGroup) as caught:
        await round_of(models, ["a", "b"])
    assert caught.group_contains(ZeroDivisionError)
    assert models.running == 0


async def test_watchers_see_each_seat_begin_and_end() -> None:
    models = Models({"a": After(1, "A"), "b": After(2, status_error("b", 429))})
    watcher = Watcher()
    await round_of(models, ["a", "b"], watcher)
    assert [(p.event, p.fields["seat"]) for p in watcher.seen] == [
        ("panel_started", 0),
        ("panel_started", 1),
        ("panel_answered", 0),
        ("panel_failed", 1),
    ]
    assert watcher.seen[2].fields["content"] == "A"
    assert watcher.seen[3].fields == {"seat": 1, "model": "b", "reason": "rate_limited"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"round_timeout_seconds": 5}, "timeout"), ({"min_successful_responses": 1}, "cancelled")],
)
async def test_watchers_hear_of_each_seat_that_the_rounds_end_cut_off(
    given: dict[str, Any], reason: str
) -> None:
    models, watcher = Models({"a": After(1, "A"), "b": After(math.inf)}), Watcher()
    await round_of(models, ["a", "b"], watcher, **given)
    last = watcher.seen[-1]
    assert (last.event, last.fields) == (
        "panel_failed",
        {"seat": 1, "model": "b", "reason": reason},
    )


async def test_watchers_hear_nothing_of_a_seat_that_never_had_its_turn() -> None:
    models, watcher = Models(lambda _: After(1, "x")), Watcher()
    await round_of(models, ["a", "b"], watcher, max_concurrent=1, min_successful_responses=1)
    assert {progress.fields["seat"] for progress in watcher.seen} == {0}


async def test_watchers_do_not_see_texts_that_the_trace_hides() -> None:
    watcher = Watcher()
    await round_of(Models({"a": "secret"}), ["a"], watcher, include_intermediate_responses=False)
    assert all("secret" not in str(p.fields) for p in watcher.seen)


@pytest.mark.parametrize("given", [{}, {"min_successful_responses": 1}])
async def test_every_answer_that_counted_is_told_to_a_slow_observer(given: dict[str, Any]) -> None:
    told: list[int] = []

    async def slowly(progress: Progress) -> None:
        if progress.event == "panel_answered":
            await anyio.sleep(1)
            told.append(progress.fields["seat"])

    models = Models({"a": After(1, "A"), "b": After(1, "B")})
    panel = await round_of(models, ["a", "b"], slowly, **given)
    assert sorted(told) == [r.seat for r in panel.responses]
