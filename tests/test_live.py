"""Replacing the configuration while requests are in flight."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from consilience import Config, Gateway, ScriptedReply, ScriptedUpstream, load_config, parse_config
from consilience.errors import OverloadedError
from consilience.live import MOST_UNQUIET_S, Bound, LiveGateway, Settling, fingerprint, watch

pytestmark = pytest.mark.anyio

HELLO: dict[str, Any] = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}


def text(name: str = "a", *, listener: str = "") -> str:
    return f"""\
version: v0.3
listeners: [{{{listener}}}]
providers:
  models: [{{name: {name}, backend_refs: [{{name: x, endpoint: "127.0.0.1:1"}}]}}]
"""


def broken() -> Config:
    return parse_config("version: v0.3\nproviders: {models: [{nam: a}]}")


async def test_a_new_configuration_serves_the_next_request() -> None:
    async with LiveGateway(Gateway(parse_config(text()))) as live:
        first = live.current()
        assert await live.reload(lambda: parse_config(text("b")))
        assert live.current() is not first
        assert live.current().config.model_names == ("b",)
        assert live.state.as_body() == {"reloads": 1, "last_reload": "ok"}


async def test_a_bad_configuration_changes_nothing_and_is_told() -> None:
    async with LiveGateway(Gateway(parse_config(text()))) as live:
        first = live.current()
        assert not await live.reload(broken)
        assert live.current() is first
        assert first.ready
        assert live.state.as_body() == {"reloads": 0, "last_reload": "failed"}
        assert await live.reload(lambda: parse_config(text("b")))
        assert not live.state.last_failed


async def test_a_request_in_flight_ends_on_the_gateway_it_began_on() -> None:
    asked, go_on = anyio.Event(), anyio.Event()

    class Waiting(ScriptedUpstream):
        async def complete(self, request: Any) -> Any:
            asked.set()
            await go_on.wait()
            return await super().complete(request)

    old = Gateway(parse_config(text()), upstream=Waiting("from the old one"))
    said: list[str] = []

    async def ask() -> None:
        with old.in_use():
            said.append((await old.complete(HELLO)).text)

    async with LiveGateway(old) as live, anyio.create_task_group() as group:
        group.start_soon(ask)
        await asked.wait()
        assert await live.reload(lambda: parse_config(text("b")))
        await anyio.wait_all_tasks_blocked()
        assert old.ready
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert said == ["from the old one"]
        assert not old.ready


async def test_leaving_closes_a_replaced_gateway_that_is_still_in_use() -> None:
    upstream = ScriptedUpstream(ScriptedReply("never", delay_s=math.inf))
    old = Gateway(parse_config(text()), upstream=upstream)
    with anyio.move_on_after(5) as scope:
        async with LiveGateway(old) as live:
            with old.in_use():
                assert await live.reload(lambda: parse_config(text("b")))
    assert not scope.cancelled_caught


async def test_a_changed_file_is_loaded_and_a_bad_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text(), encoding="utf-8")
    stamp = fingerprint(file)
    async with LiveGateway(Gateway(load_config(file))) as live, anyio.create_task_group() as group:

        async def until(names: tuple[str, ...]) -> None:
            while live.current().config.model_names != names:  # noqa: ASYNC110  # it polls, too
                await anyio.sleep(0.01)

        async def keep_up() -> None:
            await watch(file, live, lambda: load_config(file), served=stamp, every_s=0.01)

        group.start_soon(keep_up)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            file.write_text(text("longer"), encoding="utf-8")
            await until(("longer",))
            file.write_text("version: [", encoding="utf-8")
            while not live.state.last_failed:  # noqa: ASYNC110  # likewise
                await anyio.sleep(0.01)
            assert live.current().config.model_names == ("longer",)
            file.write_text(text("again"), encoding="utf-8")
            await until(("again",))
        group.cancel_scope.cancel()


def looks(settling: Settling, changes: list[int | None], every_s: float) -> list[float]:
    """When a file is read whose fingerprint is this one at one look after the other."""
    stamps = [None if c is None else (c, 1, 1) for c in changes]
    times = [round(number * every_s, 3) for number in range(len(stamps))]
    return [at_s for at_s, now in zip(times, stamps, strict=True) if settling.look(now, at_s)]


@pytest.mark.parametrize(
    ("changes", "read_at"),
    [
        ([0, 0, 0], []),
        ([0, 1, 1, 1], [2.0]),
        ([1, 2, 2, 2], [2.0]),
        ([1, None, 1, 1], [3.0]),
        ([1, 0, 1, 0, 1, 0], []),
        ([None, None], []),
    ],
    ids=["unchanged", "once", "twice", "gone for a while", "taken back", "never there"],
)
async def test_a_changed_file_is_read_once_it_is_quiet(
    changes: list[int | None], read_at: list[float]
) -> None:
    assert looks(Settling((0, 1, 1)), changes, 1.0) == read_at


@pytest.mark.parametrize("every_s", [0.25, 0.5, 1.0])
async def test_a_file_that_never_becomes_quiet_is_read_all_the_same(every_s: float) -> None:
    changing: list[int | None] = list(range(1, 200))
    read_at = looks(Settling((0, 1, 1)), changing, every_s)
    assert read_at[0] == MOST_UNQUIET_S
    pauses = {round(b - a, 3) for a, b in pairwise(read_at)}
    assert pauses == {round(MOST_UNQUIET_S + every_s, 3)}


async def test_a_file_read_too_early_is_read_again_when_it_is_quiet() -> None:
    changing: list[int | None] = [1, 2, 3, 4, 4, 4]
    assert looks(Settling((0, 1, 1)), changing, 1.0) == [2.0, 4.0]


async def test_a_hundred_reloads_under_load_fail_no_request() -> None:
    upstream = ScriptedUpstream("hello back")
    done = 0
    async with LiveGateway(Gateway(parse_config(text()), upstream=upstream)) as live:
        replaced = Gateway(parse_config(text()), upstream=upstream)

        async def ask() -> None:
            nonlocal done
            while done < 500:
                gateway = live.current()
                with gateway.in_use():
                    await anyio.lowlevel.checkpoint()
                    assert (await gateway.complete(HELLO)).text == "hello back"
                done += 1

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ask)
            for _ in range(100):
                replaced = Gateway(parse_config(text()), upstream=upstream)
                await live.replace(replaced)
    assert live.state.reloads == 100
    assert done >= 500


async def test_limits_hold_across_a_reload() -> None:
    upstream = ScriptedUpstream(ScriptedReply("never", delay_s=math.inf))
    limited = text() + "global: {gateway: {max_in_flight: 1, max_queued: 0}}\n"
    old = Gateway(parse_config(limited), upstream=upstream)
    async with LiveGateway(old) as live, anyio.create_task_group() as group:
        group.start_soon(old.complete, HELLO)
        await anyio.wait_all_tasks_blocked()
        await live.replace(Gateway(parse_config(limited), upstream=upstream))
        with pytest.raises(OverloadedError):
            await live.current().complete(HELLO)
        group.cancel_scope.cancel()
    assert live.current().in_flight == 0


@pytest.mark.parametrize(
    ("bound", "listeners", "warnings"),
    [
        (None, ["port: 7002", "port: 7001"], 1),
        (None, ["port: 7002", "port: 7002"], 2),
        (None, ["port: 7001, address: 127.0.0.2", "port: 7001"], 1),
        (None, ["port: 7001, timeout: 5s"], 0),
        (Bound("127.0.0.1", None), ["port: 7002"], 0),
        (Bound("127.0.0.1", None), ["address: 127.0.0.2"], 1),
        (Bound(None, 7001), ["port: 7001, address: 127.0.0.2"], 0),
        (Bound("127.0.0.1", 7001), ["port: 7002"], 1),
    ],
)
async def test_a_listener_is_compared_with_what_is_bound(
    bound: Bound | None, listeners: list[str], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = Gateway(parse_config(text(listener="port: 7001")))
    async with LiveGateway(first, bound=bound) as live:
        for listener in listeners:
            assert await live.reload(partial(parse_config, text(listener=listener)))
    told = [record for record in caplog.records if record.getMessage() == "listener_unchanged"]
    assert len(told) == warnings


async def test_reloads_never_overlap() -> None:
    at_once = most = 0

    def load() -> Config:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        config = parse_config(text())
        at_once -= 1
        return config

    async with LiveGateway(Gateway(parse_config(text()))) as live:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(live.reload, load)
        assert live.state.reloads == 8
    assert most == 1
