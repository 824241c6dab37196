"""Which answers are no answers, and what a round without one comes to."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from consilience.chat.completion import Completion
from consilience.errors import (
    PanelFailedError,
    UnusableAnswerError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from consilience.loopers.base import observe_nothing
from consilience.loopers.fusion.options import FusionOptions, seats_of
from consilience.loopers.fusion.panel import FailedSeat, Panel, run_panel, usable
from support.fusion_parts import USAGE, After, Models, answered, asking, status_error

pytestmark = pytest.mark.anyio


async def round_of(script: Any, **given: Any) -> Panel:
    options = FusionOptions.model_validate({"analysis_models": list(script), **given})
    seats = seats_of(options.analysis_models)
    return await run_panel(asking(), seats, options, Models(script), observe_nothing)


async def failing(script: Any, **given: Any) -> PanelFailedError:
    with pytest.raises(PanelFailedError) as caught:
        await round_of(script, **given)
    return caught.value


def told(error: PanelFailedError) -> list[tuple[str, str]]:
    """Who failed, and why."""
    return [(f.model, f.reason) for f in error.failures if isinstance(f, FailedSeat)]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (answered("m", ""), "empty"),
        (answered("m", " \n"), "empty"),
        (answered("m", None), "empty"),
        (Completion({"choices": [{}]}, "m"), "empty"),
        (answered("m", None, message={"tool_calls": [{"id": "1"}]}), "empty"),
        (answered("m", None, message={"refusal": "I will not."}), "refusal"),
        (answered("m", "", message={"reasoning_content": "hm"}), "reasoning_only"),
        (answered("m", "<think>hm"), "reasoning_only"),
        (answered("m", "", finish_reason="content_filter"), "content_filter"),
        (answered("m", "half an", finish_reason="error"), "error"),
        (answered("m", "half an", error={"code": 502, "message": "secret"}), "error"),
    ],
)
def test_an_answer_that_no_reader_could_use_is_a_failure(
    completion: Completion, reason: str
) -> None:
    with pytest.raises(UnusableAnswerError) as caught:
        usable(completion)
    assert caught.value.reason == reason
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", None])
def test_an_answer_with_text_is_usable(reason: str | None) -> None:
    completion = answered("m", "Hi", finish_reason=reason)
    assert usable(completion) is completion


async def test_an_unusable_answer_is_listed_with_what_it_cost() -> None:
    panel = await round_of({"a": "A", "b": answered("b", "", cost="0.25")})
    (failure,) = panel.failures
    assert (failure.model, failure.reason, failure.usage) == ("b", "empty", USAGE)
    record = panel.records[1]
    assert (record.status, record.reason, record.usage) == ("failed", "empty", USAGE)
    assert str(record.cost_usd) == "0.25"


async def test_a_truncated_answer_is_kept_and_flagged() -> None:
    panel = await round_of({"a": answered("a", "half an", finish_reason="length"), "b": "B"})
    assert [r.truncated for r in panel.responses] == [True, False]


async def test_failures_are_listed_with_model_error_reason_and_status() -> None:
    panel = await round_of(
        {
            "a": "A",
            "b": status_error("b", 500),
            "c": UpstreamConnectionError("cannot be reached", model="c"),
            "d": UpstreamTimeoutError("did not answer in time", model="d"),
            "e": UpstreamProtocolError("did not answer with JSON", model="e", status_code=200),
        }
    )
    assert [f.as_body() for f in panel.failures] == [
        {
            "model": "b",
            "error": "answered with status 500",
            "reason": "server_error",
            "status_code": 500,
        },
        {"model": "c", "error": "cannot be reached", "reason": "connection"},
        {"model": "d", "error": "did not answer in time", "reason": "timeout"},
        {
            "model": "e",
            "error": "did not answer with JSON",
            "reason": "protocol",
            "status_code": 200,
        },
    ]
    assert [f.status for f in panel.failures] == ["failed", "failed", "timeout", "failed"]


async def test_all_429_is_429_with_the_smallest_wait() -> None:
    error = await failing(
        {
            "a": status_error("a", 429, retry_after=30),
            "b": status_error("b", 429, retry_after=7),
            "c": status_error("c", 429),
        }
    )
    assert (error.status, error.retry_after_s, error.code) == (429, 7, "panel_failed")


async def test_all_429_without_a_wait_names_none() -> None:
    error = await failing({"a": status_error("a", 429)})
    assert (error.status, error.retry_after_s) == (429, None)


async def test_all_timed_out_is_504_however_they_did() -> None:
    error = await failing(
        {
            "a": UpstreamTimeoutError("did not answer in time", model="a"),
            "b": After(math.inf),
            "c": status_error("c", 504),
        },
        round_timeout_seconds=5,
    )
    assert error.status == 504


async def test_mixed_failures_are_502_with_every_reason() -> None:
    error = await failing(
        {"a": status_error("a", 429, retry_after=7), "b": answered("b", ""), "c": After(math.inf)},
        round_timeout_seconds=5,
    )
    assert (error.status, error.retry_after_s) == (502, None)
    assert error.message == (
        "3 of 3 panel models failed: a: answered with status 429; b: the answer is empty;"
        " c: the panel round's time was up"
    )
    assert told(error) == [("a", "rate_limited"), ("b", "empty"), ("c", "timeout")]


async def test_an_upstreams_own_key_trouble_is_not_the_clients() -> None:
    error = await failing({"a": status_error("a", 401)})
    assert error.status == 502
    assert told(error) == [("a", "credentials")]


async def test_under_fail_the_first_failure_cancels_the_rest() -> None:
    error = await failing(
        {"a": After(math.inf), "b": After(2, status_error("b", 500)), "c": After(1, "C")},
        on_error="fail",
    )
    assert told(error) == [("b", "server_error")]
    assert "1 of 3" in error.message
    assert anyio.current_time() == pytest.approx(2)


async def test_under_fail_a_timeout_of_the_round_fails_it() -> None:
    error = await failing(
        {"a": "A", "b": After(math.inf)}, on_error="fail", round_timeout_seconds=3
    )
    assert (error.status, told(error)) == (504, [("b", "timeout")])


async def test_under_fail_failures_after_the_quorum_do_not_matter() -> None:
    panel = await round_of(
        {"a": After(1, "A"), "b": After(2, status_error("b", 500)), "c": After(3, "C")},
        on_error="fail",
        min_successful_responses=1,
        quorum_grace_seconds=5,
    )
    assert [r.model for r in panel.responses] == ["a", "c"]
    assert [f.reason for f in panel.failures] == ["server_error"]


async def test_under_skip_one_answer_is_enough() -> None:
    panel = await round_of({"a": status_error("a", 500), "b": After(9, "B")})
    assert [r.model for r in panel.responses] == ["b"]
