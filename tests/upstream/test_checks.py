"""Active checks: what is well, who is told, and that they end with their gateway."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from consilience.upstream.checks import ActiveCheck, checking, is_well
from consilience.upstream.health import Health
from consilience.upstream.http import new_session
from support.raw_server import CLOSE, HANG, Received, Step, answer, raw_server

pytestmark = pytest.mark.anyio

ANSWERS: dict[str, tuple[list[Step], bool]] = {
    "200": ([answer(b"ok")], True),
    "204": ([b"HTTP/1.1 204 X\r\n\r\n"], True),
    "302": ([answer(b"", status=302, headers="location: /\r\n")], False),
    "503": ([answer(b"", status=503)], False),
    "silence": ([HANG], False),
    "broken": ([CLOSE], False),
    "a body without end": ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", HANG], True),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_a_2xx_in_time_is_well(case: str) -> None:
    steps, well = ANSWERS[case]
    with raw_server(steps) as server:
        async with new_session() as session:
            url = URL(server.base_url).with_path("/health")
            check = ActiveCheck(url, Health(), {"authorization": "Bearer k"}, timeout_s=1.5)
            assert await is_well(check, session) is well
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/health")
    assert server.requests[0].headers["authorization"] == "Bearer k"


async def test_checks_tell_of_sickness_and_recovery_and_end_when_left() -> None:
    def script(_: Received) -> list[Step]:
        return [answer(b"", status=503 if sick[0] else 200)]

    sick, health, states = [True], Health(), []
    tasks = asyncio.all_tasks()
    with raw_server(script) as server:
        async with new_session() as session:
            url = URL(server.base_url).with_path("/health")
            check = ActiveCheck(url, health, interval_s=0.01)
            async with checking([check], session):
                # the third is asked when the second has been told of
                assert await server.until(lambda s: len(s.requests) >= 3)
                states.append(health.sick)
                sick[0] = False
                before = len(server.requests)
                assert await server.until(lambda s: len(s.requests) >= before + 3)
                states.append(health.sick)
    assert states == [True, False]
    assert asyncio.all_tasks() == tasks
