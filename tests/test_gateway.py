"""The gateway in process: what the library's users call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest

from consilience.backends import build_pool, limits_of, price_of
from consilience.chat.request import ChatRequest
from consilience.config import Config, parse_config
from consilience.errors import (
    ConsilienceError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    PanelFailedError,
    UpstreamStatusError,
)
from consilience.gateway import Gateway
from consilience.loopers.base import Progress
from consilience.reply import Begin, Chunk, Event, Routed
from consilience.upstream.http import Limits, new_session
from consilience.upstream.price import Price
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import HELLO
from support.live import fusion_yaml, model_yaml
from support.raw_server import completion, json_answer, raw_server
from support.scripts import fusion_script
from support.virtual_time import run

pytestmark = pytest.mark.anyio

ASKED = {"model": "vllm-sr/fusion", "messages": HELLO}
NEVER = Reply("x", delay_s=math.inf)
PLAIN = (
    "priority: 0\n    - {name: plain, priority: 9, modelRefs: [{model: a}, {model: b}, {model: j}]}"
)


def _config(**parts: str) -> Config:
    return parse_config(fusion_yaml(**parts))


def _status(code: int, model: str) -> UpstreamStatusError:
    return UpstreamStatusError(f"answered with status {code}", model=model, status_code=code)


def _kinds(events: Sequence[Event]) -> list[type]:
    return list(dict.fromkeys(type(e) for e in events))


async def test_complete_answers_a_mapping_and_leaves_it_alone() -> None:
    body = {**ASKED, "plugins": [{"id": "fusion", "temperature": 0.5}]}
    before = repr(body)
    async with Gateway(_config(), upstream=ScriptedUpstream(fusion_script())) as gateway:
        reply = await gateway.complete(body)
    assert reply.text == "The answer."
    assert reply.fusion is not None
    assert reply.headers["x-vsr-selected-decision"] == "panel"
    assert repr(body) == before


async def test_complete_takes_bytes_and_parsed_requests_too() -> None:
    async with Gateway(_config(), upstream=ScriptedUpstream("hi")) as gateway:
        raw = b'{"model":"a","messages":[{"role":"user","content":"x"}]}'
        assert (await gateway.complete(raw)).text == "hi"
        assert (await gateway.complete(gateway.parse(raw))).text == "hi"


async def test_ids_and_times_come_from_outside() -> None:
    gateway = Gateway(
        _config(), upstream=ScriptedUpstream(), new_id=lambda: "chatcmpl-9", unix_time=lambda: 12.9
    )
    reply = await gateway.complete({"model": "a", "messages": HELLO})
    assert (reply.body["id"], reply.body["created"]) == ("chatcmpl-9", 12)


async def test_stream_gives_the_route_the_progress_and_the_chunks() -> None:
    async with Gateway(_config(), upstream=ScriptedUpstream(fusion_script())) as gateway:
        events = [event async for event in gateway.stream(ASKED)]
    assert _kinds(events) == [Routed, Progress, Begin, Chunk]
    assert "".join(e.text for e in events if isinstance(e, Chunk)) == "The answer."
    ids = {e.body["id"] for e in events if isinstance(e, Chunk)}
    assert ids == {e.id for e in events if isinstance(e, Routed)}


async def test_leaving_a_stream_cancels_every_call() -> None:
    upstream = ScriptedUpstream(fusion_script(a=NEVER, b=NEVER))
    async with Gateway(_config(), upstream=upstream) as gateway:
        async with gateway.stream(ASKED) as stream:
            for _ in range(3):  # the route, and both seats
                await anext(stream)
            await anyio.wait_all_tasks_blocked()
            assert upstream.in_flight == 2
        assert (upstream.in_flight, upstream.cancelled) == (0, 2)
        assert gateway.in_flight == 0


async def test_cancelling_complete_cancels_every_call() -> None:
    upstream = ScriptedUpstream(fusion_script(a=NEVER, b=NEVER))
    async with Gateway(_config(), upstream=upstream) as gateway:
        async with anyio.create_task_group() as group:
            group.start_soon(gateway.complete, ASKED)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert (upstream.in_flight, upstream.cancelled, gateway.in_flight) == (0, 2, 0)


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        (fusion_script(a=_status(429, "a"), b=_status(429, "b")), False),
        (fusion_script(a=NEVER, b=_status(429, "b")), True),
        (fusion_script(final=_status(500, "j")), True),
    ],
    ids=["turned away", "a model had begun to work", "the panel was paid for"],
)
async def test_an_error_says_whether_money_was_spent(
    script: Mapping[str, Any], spent: bool
) -> None:
    config = _config(fusion="on_error: fail")
    async with Gateway(config, upstream=ScriptedUpstream(script)) as gateway:
        with pytest.raises(ConsilienceError) as caught:
            await gateway.complete(ASKED)
    assert caught.value.spent is spent
    assert caught.value.__cause__ is not caught.value


async def test_a_failed_panel_keeps_its_failures() -> None:
    script = fusion_script(a=_status(500, "a"), b=_status(503, "b"))
    async with Gateway(_config(), upstream=ScriptedUpstream(script)) as gateway:
        with pytest.raises(PanelFailedError) as caught:
            await gateway.complete(ASKED)
    assert len(caught.value.failures) == 2


def _answered(script: Any, *, streamed: bool, **parts: str) -> tuple[str, Mapping[str, Any]]:
    """The text and the last trace of a Fusion request on a clock that jumps."""

    async def ask() -> tuple[str, Mapping[str, Any]]:
        async with Gateway(_config(**parts), upstream=ScriptedUpstream(script)) as gateway:
            if not streamed:
                reply = await gateway.complete(ASKED)
                return reply.text, reply.fusion or {}
            body = {**ASKED, "stream_options": {"include_usage": True}}
            chunks = [e for e in [e async for e in gateway.stream(body)] if isinstance(e, Chunk)]
            return "".join(c.text for c in chunks), chunks[-1].body["fusion"]

    return run(ask)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("judge", ["{}", NEVER], ids=["judged", "judge hangs too"])
def test_a_writer_that_hangs_does_not_cost_the_panels_answers(judge: Any, streamed: bool) -> None:
    script = fusion_script(judge=judge, final=NEVER)
    text, trace = _answered(script, streamed=streamed, listener="timeout: 100s")
    assert text == "one"
    assert trace["degraded"][-2:] == [
        {"stage": "synthesis", "reason": "timeout"},
        {"stage": "synthesis", "reason": "answered_by_panel"},
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_fallback_has_time_left_when_a_writer_hangs(streamed: bool) -> None:
    script = {**fusion_script(final=NEVER), "k": Reply("rescued", delay_s=10)}
    parts = {"fusion": "fallback_models: [k]", "models": model_yaml("k", "http://127.0.0.1:9/v1")}
    text, trace = _answered(script, streamed=streamed, listener="timeout: 100s", **parts)
    assert (text, trace["synthesis_model"]) == ("rescued", "k")
    assert trace["degraded"] == [{"stage": "synthesis", "reason": "timeout"}]


def test_a_writer_that_has_begun_has_all_the_time_there_is() -> None:
    slow = Reply("w " * 90, delay_s=5, gap_s=1)
    text, trace = _answered(fusion_script(final=slow), streamed=True, listener="timeout: 100s")
    assert text == "w " * 90
    assert "degraded" not in trace


@pytest.mark.parametrize("streamed", [False, True])
def test_a_writer_that_hangs_is_waited_for_when_nothing_can_stand_in(streamed: bool) -> None:
    parts = {"listener": "timeout: 100s", "fusion": "on_error: fail"}
    with pytest.raises(DeadlineExceededError) as caught:
        _answered(fusion_script(final=NEVER), streamed=streamed, **parts)
    assert caught.value.spent


@pytest.mark.parametrize("streamed", [False, True])
def test_a_plain_route_has_time_left_for_the_next_model_when_one_hangs(streamed: bool) -> None:
    script = {"a": NEVER, "b": Reply("rescued", delay_s=20), "j": "never"}
    config = _config(listener="timeout: 100s", decision=PLAIN)

    async def asked() -> tuple[str, float]:
        async with Gateway(config, upstream=ScriptedUpstream(script)) as gateway:
            body = {"model": "auto", "messages": HELLO}
            if not streamed:
                return (await gateway.complete(body)).text, anyio.current_time()
            events = [event async for event in gateway.stream(body)]
        return "".join(e.text for e in events if isinstance(e, Chunk)), anyio.current_time()

    text, seconds = run(asked)
    assert text == "rescued"
    assert seconds == pytest.approx(90, abs=1)


async def test_the_deadline_holds_for_the_whole_request() -> None:
    config = _config(listener="timeout: 200ms")
    upstream = ScriptedUpstream({"a": NEVER})
    async with Gateway(config, upstream=upstream) as gateway:
        with pytest.raises(DeadlineExceededError, match=r"0\.2 seconds"):
            await gateway.complete({"model": "a", "messages": HELLO})
    assert upstream.cancelled == 1


async def test_a_wide_request_needs_room_for_all_its_calls() -> None:
    upstream = ScriptedUpstream(fusion_script(a=NEVER))
    async with (
        Gateway(_config(gateway="max_in_flight: 2, max_queued: 0"), upstream=upstream) as gateway,
        anyio.create_task_group() as group,
    ):
        group.start_soon(gateway.complete, {"model": "a", "messages": HELLO})
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(OverloadedError):
            await gateway.complete(ASKED)
        assert (await gateway.complete({"model": "b", "messages": HELLO})).text == "two"
        group.cancel_scope.cancel()


async def test_waiting_for_room_counts_into_the_deadline() -> None:
    upstream = ScriptedUpstream({"a": NEVER})
    config = _config(listener="timeout: 200ms", gateway="max_in_flight: 1, max_queue_seconds: 60")
    async with Gateway(config, upstream=upstream) as gateway:
        with gateway.admission.turn() as turn:
            await turn.take(1)
            with pytest.raises(DeadlineExceededError) as caught:
                await gateway.complete({"model": "a", "messages": HELLO})
        assert (caught.value.spent, upstream.calls) == (False, [])
        assert (gateway.in_flight, gateway.admission.queued) == (0, 0)


async def test_a_fused_request_that_writes_takes_the_room_of_one_call() -> None:
    upstream = ScriptedUpstream(fusion_script(final=NEVER))
    async with (
        Gateway(_config(gateway="max_in_flight: 2, max_queued: 0"), upstream=upstream) as gateway,
        anyio.create_task_group() as group,
    ):
        group.start_soon(gateway.complete, ASKED)
        await anyio.wait_all_tasks_blocked()
        assert (await gateway.complete({"model": "b", "messages": HELLO})).text == "two"
        group.cancel_scope.cancel()
    assert gateway.in_flight == 0


async def test_a_request_wider_than_the_limit_runs_alone() -> None:
    upstream = ScriptedUpstream(fusion_script())
    async with Gateway(_config(gateway="max_in_flight: 1"), upstream=upstream) as gateway:
        assert (await gateway.complete(ASKED)).text == "The answer."


async def test_bad_requests_cost_nothing() -> None:
    upstream = ScriptedUpstream()
    async with Gateway(_config(), upstream=upstream) as gateway:
        with pytest.raises(InvalidRequestError) as caught:
            await gateway.complete({"model": "a"})
    assert (caught.value.param, caught.value.spent, upstream.calls) == ("messages", False, [])


async def test_a_gateway_opens_itself_and_closes_for_good() -> None:
    with raw_server([json_answer(completion("over HTTP"))]) as server:
        gateway = Gateway(_config(base_url=server.base_url))
        ready = [gateway.ready]
        assert (await gateway.complete({"model": "a", "messages": HELLO})).text == "over HTTP"
        ready.append(gateway.ready)
        await gateway.aclose()
        assert [*ready, gateway.ready] == [False, True, False]
        assert await server.until(lambda s: s.connections == 1)


async def test_own_plugins_stay_and_others_travel_with_the_final_call_only() -> None:
    upstream = ScriptedUpstream(fusion_script())
    plugins = [{"id": "fusion"}, {"id": "web", "max_results": 3}]
    async with Gateway(_config(), upstream=upstream) as gateway:
        await gateway.complete({**ASKED, "plugins": plugins})
    sent = [call.body.get("plugins") for call in upstream.calls]
    assert sent == [None, None, None, [{"id": "web", "max_results": 3}]]


async def test_a_refused_schema_is_remembered_for_panels_that_requests_bring_along() -> None:
    def picky(request: ChatRequest) -> Any:
        if "response_format" in request.body:
            raise _status(400, "j")
        return "{}" if "comparing answers" in str(request.messages[-1]) else "The answer."

    def judged() -> list[bool]:
        calls = [c for c in upstream.calls if "comparing answers" in str(c.messages[-1])]
        return ["response_format" in call.body for call in calls]

    upstream = ScriptedUpstream({"a": "one", "j": picky})
    plugin = {"id": "fusion", "analysis_models": ["a"], "model": "j"}
    never = _config(
        decision="rules: {operator: NOT, conditions: [{operator: AND, conditions: []}]}"
    )
    async with Gateway(never, upstream=upstream) as gateway:
        reply = await gateway.complete({**ASKED, "plugins": [plugin]})
        assert (reply.fusion or {})["decision"] == "fusion_direct"
        assert judged() == [True, True, False]
        upstream.calls.clear()
        await gateway.complete({**ASKED, "plugins": [plugin]})
    assert judged() == [False]


async def test_every_call_carries_the_depth() -> None:
    upstream = ScriptedUpstream(fusion_script())
    async with Gateway(_config(), upstream=upstream) as gateway:
        await gateway.complete(ASKED)
        await gateway.complete({"model": "a", "messages": HELLO}, {"x-vsr-fusion-depth": "2"})
    assert [call.depth for call in upstream.calls] == [1, 1, 1, 1, 3]


async def test_the_configured_limits_reach_the_upstreams() -> None:
    ours = (
        "connect_timeout_seconds: 1.5, first_byte_timeout_seconds: 9, idle_timeout_seconds: 7,"
        " max_sse_event_kb: 2"
    )
    looper = "{timeout_seconds: 77, max_response_bytes_mb: 3}"
    text = fusion_yaml(gateway=ours) + f"  integrations: {{looper: {looper}}}\n"
    assert limits_of(parse_config(text)) == Limits(
        connect_s=1.5,
        first_byte_s=9,
        idle_s=7,
        total_s=77,
        max_body_bytes=3 << 20,
        max_event_bytes=2048,
    )


async def test_the_looper_endpoint_serves_models_without_backends() -> None:
    with raw_server([json_answer(completion("from afar"))]) as server:
        extra = "    - {name: bare}\n"
        looper = f"{{endpoint: '{server.url}', headers: {{x-team: blue}}}}"
        text = fusion_yaml(models=extra) + f"  integrations: {{looper: {looper}}}\n"
        async with new_session() as session:
            pool = build_pool(parse_config(text), session)
            async with Gateway(parse_config(text)) as gateway:
                assert (
                    await gateway.complete({"model": "bare", "messages": HELLO})
                ).text == "from afar"
        assert pool.serves("bare")
    sent = server.requests[0]
    assert (sent.headers["x-team"], sent.headers["x-vsr-fusion-depth"]) == ("blue", "1")
    assert sent.json["model"] == "bare"


@pytest.mark.parametrize(
    ("pricing", "price"),
    [
        ("{prompt_per_1m: 1.5, completion_per_1m: 2}", Price(Decimal("1.5"), Decimal(2))),
        ("{prompt_per_1m: 0, completion_per_1m: 2}", Price(Decimal(0), Decimal(2))),
        (
            "{prompt_per_1m: 1, completion_per_1m: 2, cache_write_per_1m: 1.25}",
            Price(Decimal(1), Decimal(2), cache_write=Decimal("1.25")),
        ),
        ("{completion_per_1m: 2}", None),
        ("{prompt_per_1m: 2}", None),
        ("{prompt_per_1m: 0, completion_per_1m: 0}", Price(Decimal(0), Decimal(0))),
        ("{currency: EUR, prompt_per_1m: 1, completion_per_1m: 2}", None),
        ("{currency: USD}", None),
    ],
)
async def test_a_price_is_unknown_unless_it_is_given_in_dollars(
    pricing: str, price: Price | None
) -> None:
    config = _config(models=model_yaml("priced", more=f", pricing: {pricing}"))
    model = config.model("priced")
    assert model is not None
    assert price_of(model.pricing) == price
