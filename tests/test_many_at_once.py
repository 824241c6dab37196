"""Two hundred fused requests in flight: all complete, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random

import anyio
import pytest

from consilience import Gateway, ScriptedReply, ScriptedUpstream, parse_config
from consilience.chat.request import ChatRequest
from consilience.errors import ConsilienceError
from support.client import HELLO
from support.live import fusion_yaml

pytestmark = pytest.mark.anyio

COUNT = 200
ASKED = {"model": "vllm-sr/fusion", "messages": HELLO}


def _upstream() -> ScriptedUpstream:
    rng = random.Random(7)  # noqa: S311  # delays

    def reply(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply(f"says {request.model}", delay_s=rng.random() / 100)

    return ScriptedUpstream(reply)


async def test_all_complete_and_no_task_or_reservation_is_left() -> None:
    upstream = _upstream()
    answers: list[str] = []
    async with Gateway(parse_config(fusion_yaml()), upstream=upstream) as gateway:
        before = len(asyncio.all_tasks())

        async def ask(position: int) -> None:
            if position % 2:
                answers.append((await gateway.complete(ASKED)).text)
                return
            async with gateway.stream(ASKED) as events:
                answers.append("".join([getattr(event, "text", "") async for event in events]))

        async with anyio.create_task_group() as group:
            for position in range(COUNT):
                group.start_soon(ask, position)
        assert len(asyncio.all_tasks()) == before
        assert gateway.in_flight == 0
    assert answers == ["says j"] * COUNT
    assert upstream.in_flight == 0
    assert len(upstream.calls) == COUNT * 4


async def test_requests_given_up_at_any_moment_leave_nothing_either() -> None:
    upstream, rng = _upstream(), random.Random(11)  # noqa: S311  # moments
    async with Gateway(parse_config(fusion_yaml()), upstream=upstream) as gateway:
        before = len(asyncio.all_tasks())

        async def ask(patience_s: float) -> None:
            with anyio.move_on_after(patience_s):
                async with gateway.stream(ASKED) as events:
                    try:
                        async for _ in events:
                            pass
                    except ConsilienceError as exc:
                        pytest.fail(f"failed in place of being cancelled: {exc}")

        async with anyio.create_task_group() as group:
            for _ in range(COUNT):
                group.start_soon(ask, rng.random() / 20)
        # who is cancelled does not wait for the request's end, which is some turns of the loop away
        with anyio.fail_after(10):
            while len(asyncio.all_tasks()) != before:  # noqa: ASYNC110  # nobody tells of the last one
                await anyio.sleep(0.01)
        assert gateway.in_flight == 0
    assert upstream.in_flight == 0
