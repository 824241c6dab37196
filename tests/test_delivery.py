"""Delivery: the final call whole or streamed, its fallbacks, and what is noted of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest

from consilience.chat.completion import Completion, Usage, said
from consilience.chat.request import ChatRequest
from consilience.delivery import Delivery
from consilience.errors import (
    UnusableAnswerError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from consilience.loopers.base import Outcome, StageRecord
from consilience.reply import Begin, Chunk, Event
from consilience.upstream.balance import Backend, Member
from consilience.upstream.pool import Pool
from consilience.upstream.price import Price
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support import virtual_time

pytestmark = pytest.mark.anyio

BROKEN = UpstreamStatusError("answered with status 500", model="first", status_code=500)
IN_HAND = Completion(
    {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "in hand"},
                "finish_reason": "stop",
            }
        ]
    },
    "panel",
    Usage(1, 1, 2),
)


class Trace:
    """An extension that shows what it was given."""

    def render(self, delivery: Sequence[StageRecord] | None) -> Mapping[str, Any]:
        return {"calls": [f"{r.model}:{r.status}" for r in delivery or ()]}

    def degraded(self, delivery: Sequence[StageRecord] | None) -> Sequence[Any]:
        return ()

    def after(self, before: Sequence[StageRecord]) -> Trace:
        return self


def _request(model: str) -> ChatRequest:
    return ChatRequest.from_body({"model": model, "messages": [{"role": "user", "content": "hi"}]})


def _delivery(script: Any, *finals: Any, stage: Any = "synthesis", **outcome: Any) -> Delivery:
    upstream = ScriptedUpstream(script)
    price = Price(Decimal(1), Decimal(1))
    members = {name: Member([Backend(upstream)], price) for name in ("first", "second")}
    asked = [_request(f) if isinstance(f, str) else f for f in finals]
    made = Outcome(final=asked[0], fallbacks=asked[1:], stage=stage, extension=Trace(), **outcome)
    return Delivery(
        made,
        Pool(members).calls(),
        "chatcmpl-1",
        7,
        headers=lambda model, records, _usage: {
            "model": model,
            "calls": " ".join(f"{r.model}:{r.status}" for r in records),
        },
    )


async def _streamed(delivery: Delivery, *, usage: bool = False) -> list[Event]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    await delivery.stream(emit, include_usage=usage)
    return events


async def _got(delivery: Delivery, *, streamed: bool) -> str:
    return _text(await _streamed(delivery)) if streamed else (await delivery.whole()).text


def _status(model: str, code: int) -> UpstreamStatusError:
    return UpstreamStatusError(f"answered with status {code}", model=model, status_code=code)


def _text(events: Sequence[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Chunk))


async def test_the_final_answer_is_noted_with_usage_and_cost() -> None:
    delivery = _delivery({"first": Reply("yes", usage=Usage(2, 3, 5))}, "first")
    completion = await delivery.whole()
    assert completion.text == "yes"
    (record,) = delivery.records
    assert (record.stage, record.model, record.status) == ("synthesis", "first", "ok")
    assert (record.usage, record.cost_usd) == (Usage(2, 3, 5), Decimal("0.000005"))


async def test_the_body_is_the_upstream_s_with_our_name_id_and_sum() -> None:
    earlier = [StageRecord("panel", "p", "ok", 1, usage=Usage(10, 10, 20))]
    said = Reply("yes", fields={"system_fingerprint": "fp", "fusion": "forged", "nothing": None})
    delivery = _delivery({"first": said}, "first", records=earlier)
    body = delivery.body(await delivery.whole())
    assert (body["id"], body["created"], body["model"]) == ("chatcmpl-1", 7, "first")
    assert body["usage"]["total_tokens"] == 35
    assert (body["system_fingerprint"], "nothing" in body) == ("fp", False)
    assert body["fusion"] == {"calls": ["first:ok"]}


@pytest.mark.parametrize("streamed", [False, True])
async def test_fallbacks_are_tried_in_order(streamed: bool) -> None:
    delivery = _delivery({"first": BROKEN, "second": "rescued"}, "first", "second", IN_HAND)
    text = _text(await _streamed(delivery)) if streamed else (await delivery.whole()).text
    assert text == "rescued"
    assert [(r.model, r.status, r.reason) for r in delivery.records] == [
        ("first", "failed", "server_error"),
        ("second", "ok", None),
    ]


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_a_provider_withheld_is_not_replaced_by_another_answer(streamed: bool) -> None:
    withheld = Reply("", finish_reason="content_filter")
    delivery = _delivery({"first": withheld, "second": "around it"}, "first", "second", IN_HAND)
    if streamed:
        last = [e.body["choices"][0] for e in await _streamed(delivery) if isinstance(e, Chunk)][-1]
    else:
        last = (await delivery.whole()).choice
    assert last["finish_reason"] == "content_filter"
    assert [(r.model, r.status) for r in delivery.records] == [("first", "ok")]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    "silent",
    [
        Reply(""),
        Reply(" \n\t"),
        Reply("<think>What now?</think>\n"),
        Reply("<think>cut off", pieces=7),
        Reply("", reasoning="What now?"),
        Reply(None, reasoning="What now?"),
        Reply(" ", reasoning="What now?"),
    ],
    ids=lambda reply: repr(reply.text or reply.reasoning),
)
async def test_a_synthesis_without_a_word_for_the_reader_has_failed(
    silent: Reply, reason: str, streamed: bool
) -> None:
    script = {"first": replace(silent, finish_reason=reason), "second": "rescued"}
    delivery = _delivery(script, "first", "second")
    assert said({"content": await _got(delivery, streamed=streamed)}) == "rescued"
    assert [(r.model, r.reason) for r in delivery.records] == [("first", "empty"), ("second", None)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_in_hand_is_the_last_resort(streamed: bool) -> None:
    delivery = _delivery({"first": BROKEN, "second": Reply("")}, "first", "second", IN_HAND)
    text = _text(await _streamed(delivery)) if streamed else (await delivery.whole()).text
    assert text == "in hand"
    assert [r.reason for r in delivery.records] == ["server_error", "empty"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_last_failure_is_raised_when_nothing_is_left(streamed: bool) -> None:
    delivery = _delivery({"first": BROKEN, "second": Reply("")}, "first", "second")
    with pytest.raises(UnusableAnswerError):
        await (_streamed(delivery) if streamed else delivery.whole())
    assert not delivery.committed


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_empty_synthesis_is_paid_for_and_counted(streamed: bool) -> None:
    empty = Reply("", usage=Usage(9, 1, 10))
    delivery = _delivery({"first": empty}, "first", IN_HAND)
    await (_streamed(delivery) if streamed else delivery.whole())
    assert delivery.records[0].usage == Usage(9, 1, 10)
    assert delivery.records[0].cost_usd == Decimal("0.00001")
    assert delivery.usage == Usage(9, 1, 10)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_plain_model_s_empty_answer_is_its_answer(streamed: bool) -> None:
    delivery = _delivery({"first": Reply("")}, "first", stage="single")
    if streamed:
        events = await _streamed(delivery)
        last = [e.body for e in events if isinstance(e, Chunk)][-1]
        assert last["choices"][0]["finish_reason"] == "stop"
    else:
        assert (await delivery.whole()).text == ""


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("code", [400, 404, 409, 413, 415, 422])
async def test_a_plain_model_s_refusal_of_the_request_is_final(code: int, streamed: bool) -> None:
    script = {"first": _status("first", code), "second": "never"}
    delivery = _delivery(script, "first", "second", stage="single")

    with pytest.raises(UpstreamStatusError) as caught:
        await _got(delivery, streamed=streamed)

    assert (caught.value.status, caught.value.model) == (code, "first")
    assert [r.model for r in delivery.records] == ["first"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        *(_status("first", code) for code in (401, 408, 429, 500, 503, 504)),
        UpstreamConnectionError("refused", model="first"),
        UpstreamTimeoutError("did not answer in time", model="first"),
        UpstreamProtocolError("not JSON", model="first"),
    ],
    ids=lambda failure: f"{failure.code}-{failure.status_code}",
)
async def test_another_model_stands_in_when_a_plain_one_fails(
    failure: UpstreamError, streamed: bool
) -> None:
    delivery = _delivery({"first": failure, "second": "rescued"}, "first", "second", stage="single")

    assert await _got(delivery, streamed=streamed) == "rescued"
    assert [(r.stage, r.model, r.status != "ok") for r in delivery.records] == [
        ("single", "first", True),
        ("single", "second", False),
    ]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_by_one_that_stands_in_says_nothing_of_the_request(streamed: bool) -> None:
    script = {"first": _status("first", 503), "second": _status("second", 400)}
    delivery = _delivery(script, "first", "second", stage="single")

    with pytest.raises(UpstreamStatusError) as caught:
        await _got(delivery, streamed=streamed)

    assert (caught.value.model, caught.value.status) == ("first", 502)
    assert [r.model for r in delivery.records] == ["first", "second"]


async def test_nothing_is_spliced_in_once_a_token_is_out() -> None:
    script = {"first": Reply("one two", breaks_after=2), "second": "never"}
    delivery = _delivery(script, "first", "second", IN_HAND)
    with pytest.raises(UpstreamConnectionError):
        await _streamed(delivery)
    assert delivery.committed
    assert [r.model for r in delivery.records] == ["first"]


async def test_a_stream_begins_once_and_before_its_chunks() -> None:
    events = await _streamed(_delivery({"first": "a b"}, "first"))
    assert [type(e) for e in events].count(Begin) == 1
    assert isinstance(events[0], Begin)
    assert dict(events[0].headers) == {"model": "first", "calls": ""}


async def test_the_beginning_names_a_fallback_that_writes_as_the_writer() -> None:
    delivery = _delivery({"first": BROKEN, "second": "rescued"}, "first", "second")
    begin, first, *_ = await _streamed(delivery)
    assert isinstance(begin, Begin)
    assert isinstance(first, Chunk)
    assert begin.headers["calls"] == "first:failed second:ok"
    assert first.body["fusion"] == {"calls": ["first:failed", "second:ok"]}
    assert [(r.model, r.status) for r in delivery.records] == [
        ("first", "failed"),
        ("second", "ok"),
    ]


async def test_the_trace_comes_with_the_first_and_the_usage_chunk_only() -> None:
    events = await _streamed(_delivery({"first": "a b c"}, "first"), usage=True)
    chunks = [e.body for e in events if isinstance(e, Chunk)]
    assert ["fusion" in c for c in chunks] == [True, *[False] * (len(chunks) - 2), True]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 15


async def test_an_unknown_usage_is_left_out() -> None:
    events = await _streamed(_delivery({"first": Reply("a", usage=None)}, "first"), usage=True)
    last = events[-1]
    assert isinstance(last, Chunk)
    assert (last.body["choices"], "usage" in last.body) == ([], False)


async def test_a_last_edit_is_made_before_anything_is_sent() -> None:
    delivery = _delivery(
        {"first": Reply("raw", usage=Usage(1, 1, 2))},
        "first",
        finish=lambda c: c.with_text("edited"),
    )
    assert _text(await _streamed(delivery, usage=True)) == "edited"
    assert delivery.usage == Usage(1, 1, 2)


async def test_tool_calls_are_substance() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    delivery = _delivery({"first": Reply(None, tool_calls=[call])}, "first", IN_HAND)
    assert (await delivery.whole()).tool_calls == [call]


async def test_who_takes_over_after_reasoning_goes_on_in_the_same_stream() -> None:
    script = {"first": Reply("", reasoning="hm", finish_reason="length"), "second": "one two"}
    events = await _streamed(_delivery(script, "first", "second", IN_HAND), usage=True)
    chunks = [e.body for e in events if isinstance(e, Chunk)]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [type(e) for e in events].count(Begin) == 1
    assert {(c["id"], c["model"]) for c in chunks} == {("chatcmpl-1", "first")}
    assert choices[0]["delta"]["reasoning_content"] == "hm"
    assert [c["delta"].get("role") for c in choices] == ["assistant", *[None] * (len(choices) - 1)]
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert [c["fusion"]["calls"] for c in chunks if "fusion" in c] == [
        [],
        ["first:failed", "second:ok"],
        ["first:failed", "second:ok"],
    ]


@pytest.mark.parametrize("silent", [Reply("", reasoning="hm"), Reply("\n"), Reply("<think>hm")])
async def test_an_answer_in_hand_takes_over_a_stream_without_a_word(silent: Reply) -> None:
    delivery = _delivery({"first": silent, "second": silent}, "first", "second", IN_HAND)
    events = await _streamed(delivery)
    last = events[-1]
    assert isinstance(last, Chunk)
    assert last.body["choices"][0]["finish_reason"] == "stop"
    assert _text(events).endswith("in hand")
    assert [r.reason for r in delivery.records] == ["empty", "empty"]
    assert not delivery.undisturbed


async def test_a_stream_without_a_word_has_no_end_when_nobody_is_left() -> None:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    delivery = _delivery({"first": Reply("", reasoning="hm")}, "first")
    with pytest.raises(UnusableAnswerError):
        await delivery.stream(emit, include_usage=True)
    choices = [c for e in events if isinstance(e, Chunk) for c in e.body["choices"]]
    assert [c["delta"].get("reasoning_content") for c in choices] == ["hm"]
    assert [c["finish_reason"] for c in choices] == [None]


async def test_a_thought_that_was_cut_off_is_closed_before_another_model_answers() -> None:
    script = {"first": Reply("<think>hm hm"), "second": "rescued"}
    events = await _streamed(_delivery(script, "first", "second"))
    assert _text(events) == "<think>hm hm</think>\n\nrescued"


@pytest.mark.parametrize("thought", [Reply("", reasoning="hm"), Reply("<think>hm")])
async def test_a_stream_that_breaks_before_a_word_is_taken_over(thought: Reply) -> None:
    script = {"first": replace(thought, breaks_after=1), "second": "rescued"}
    delivery = _delivery(script, "first", "second")
    assert _text(await _streamed(delivery)) == "rescued"
    assert [r.reason for r in delivery.records] == ["connection", None]


def test_a_writer_that_only_thinks_is_replaced_in_time() -> None:
    script = {"first": Reply("<think>hm hm", gap_s=math.inf), "second": "rescued"}
    delivery = _delivery(script, "first", "second")

    async def scenario() -> str:
        with anyio.fail_after(10):
            return _text(await _streamed(delivery))

    assert virtual_time.run(scenario) == "rescued"
    assert [(r.model, r.status) for r in delivery.records] == [
        ("first", "timeout"),
        ("second", "ok"),
    ]


def test_a_client_that_takes_its_time_over_thoughts_costs_the_writer_none() -> None:
    thoughts = "<think>" + " hm" * 9 + "</think>"
    script = {"first": f"{thoughts} yes", "second": "never"}
    delivery = _delivery(script, "first", "second")
    events: list[Event] = []

    async def emit(event: Event) -> None:
        await anyio.sleep(3)
        events.append(event)

    async def scenario() -> None:
        with anyio.fail_after(40):  # of which the first writer may take 28
            await delivery.stream(emit, include_usage=False)

    virtual_time.run(scenario)
    assert _text(events) == f"{thoughts} yes"
    assert [(r.model, r.status) for r in delivery.records] == [("first", "ok")]


@pytest.mark.parametrize("beginning", ["<", "<thin", " <reasoning", "<thinker"])
async def test_a_text_that_begins_like_a_tag_is_an_answer(beginning: str) -> None:
    delivery = _delivery({"first": beginning, "second": "never"}, "first", "second")
    assert _text(await _streamed(delivery)) == beginning
    assert [(r.model, r.status) for r in delivery.records] == [("first", "ok")]


async def test_nothing_is_spliced_into_what_may_be_a_text() -> None:
    script = {"first": Reply("<b>bold", pieces=7, breaks_after=2), "second": "never"}
    delivery = _delivery(script, "first", "second")
    with pytest.raises(UpstreamConnectionError):
        await _streamed(delivery)
    assert [r.model for r in delivery.records] == ["first"]


async def test_a_plain_model_s_reasoning_is_its_answer() -> None:
    script = {"first": Reply("", reasoning="hm"), "second": "never"}
    delivery = _delivery(script, "first", "second", stage="single")
    assert _text(await _streamed(delivery)) == ""
    assert [(r.model, r.status) for r in delivery.records] == [("first", "ok")]


async def test_errors_that_are_not_ours_are_not_caught() -> None:
    def bug(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _delivery({"first": bug}, "first", IN_HAND).whole()
