"""Calls that signals make to helper models count for the cap and the load like any other."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from consilience import Config, Gateway, ScriptedUpstream
from consilience.chat.request import ChatRequest
from consilience.config import build_config
from consilience.errors import OverloadedError
from support.client import HELLO

pytestmark = pytest.mark.anyio

FUSED: dict[str, Any] = {"type": "fusion", "fusion": {"model": "b", "analysis_models": ["a", "b"]}}


def configured(*, gateway: dict[str, Any], algorithm: dict[str, Any] | None = None) -> Config:
    rule = {"name": "tone", "type": "llm", "labels": ["formal", "casual"], "model": "h"}
    asks = {"type": "classifier", "name": "tone", "label": "formal"}
    decision = {"name": "formal", "rules": {"operator": "AND", "conditions": [asks]}}
    models = {"algorithm": algorithm} if algorithm else {"modelRefs": [{"model": "a"}]}
    return build_config(
        {
            "version": "v0.3",
            "providers": {
                "defaults": {"default_model": "b"},
                "models": [
                    {"name": name, "backend_refs": [{"endpoint": "127.0.0.1:9"}]} for name in "abh"
                ],
            },
            "global": {"gateway": gateway},
            "routing": {
                "signals": {"classifiers": [rule]},
                "decisions": [{**decision, **models}],
            },
        },
        environ={},
    )


class Models(ScriptedUpstream):
    """Knows how many helpers were asked, in all and at once, and answers when it may."""

    def __init__(self, *, holds: bool = False) -> None:
        super().__init__({"a": "from a", "b": "from b", "h": '{"label": "formal"}'})
        self.may_answer = anyio.Event()
        self.helpers = self.at_once = self.most = 0
        if not holds:
            self.may_answer.set()

    async def complete(self, request: ChatRequest) -> Any:
        if request.model != "h":
            return await super().complete(request)
        self.helpers += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.may_answer.wait()
            return await super().complete(request)
        finally:
            self.at_once -= 1


AUTO: dict[str, Any] = {"model": "auto", "messages": HELLO}


@pytest.mark.parametrize(("most", "answer", "calls"), [(1, "from b", 1), (2, "from a", 2)])
async def test_a_helper_is_asked_only_if_that_leaves_the_planned_calls(
    most: int, answer: str, calls: int
) -> None:
    upstream = Models()
    config = configured(gateway={"max_upstream_calls": most})
    async with Gateway(config, upstream=upstream) as gateway:
        reply = await gateway.complete(AUTO)

    assert (reply.text, len(upstream.calls)) == (answer, calls)


async def test_a_panel_keeps_its_calls() -> None:
    upstream = Models()
    for most, asked in ((4, 0), (9, 1)):
        config = configured(gateway={"max_upstream_calls": most}, algorithm=FUSED)
        async with Gateway(config, upstream=upstream) as gateway:
            await gateway.complete(AUTO)
        assert upstream.helpers == asked


async def test_helpers_are_asked_by_no_more_requests_than_there_is_room_for() -> None:
    upstream, answers = Models(holds=True), list[str]()
    config = configured(gateway={"max_in_flight": 2, "max_queued": 20, "max_queue_seconds": 60})

    async def ask(gateway: Gateway) -> None:
        answers.append((await gateway.complete(AUTO)).text)

    async with Gateway(config, upstream=upstream) as gateway:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask, gateway)
            await anyio.wait_all_tasks_blocked()
            assert upstream.at_once == 2
            upstream.may_answer.set()
        assert (gateway.in_flight, gateway.admission.queued) == (0, 0)
    assert upstream.most == 2
    assert answers == ["from a"] * 10


async def test_who_is_refused_has_paid_for_no_helper() -> None:
    upstream, refused = Models(holds=True), list[OverloadedError]()
    config = configured(gateway={"max_in_flight": 1, "max_queued": 0})

    async def ask(gateway: Gateway) -> None:
        try:
            await gateway.complete(AUTO)
        except OverloadedError as exc:
            refused.append(exc)

    async with Gateway(config, upstream=upstream) as gateway, anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask, gateway)
        await anyio.wait_all_tasks_blocked()
        assert len(refused) == 9
        upstream.may_answer.set()
    assert upstream.helpers == 1


async def test_panels_that_asked_a_helper_all_get_their_wider_room() -> None:
    upstream, answered = Models(), list[str]()
    limits = {"max_in_flight": 2, "max_queued": 20, "max_queue_seconds": 60}

    async def ask(gateway: Gateway) -> None:
        answered.append((await gateway.complete(AUTO)).text)

    config = configured(gateway=limits, algorithm=FUSED)
    async with Gateway(config, upstream=upstream) as gateway:
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(ask, gateway)
        assert (gateway.in_flight, gateway.admission.queued) == (0, 0)
    assert answered == ["from b"] * 6


async def test_only_names_whose_signals_ask_take_room_for_routing() -> None:
    async with Gateway(configured(gateway={}), upstream=Models()) as gateway:
        asked = [
            gateway.router.asks_helpers(ChatRequest.from_body({**AUTO, "model": name}))
            for name in ("auto", "a", "vllm-sr/fusion")
        ]
    assert asked == [True, False, False]
