"""Many fused requests at once: all complete, and nothing is left behind.

`python -m benchmarks.concurrency [--requests 200] [--waves 3] [--panel 3]`

Prints completed requests, time beside the ideal, and the gateway's file descriptors, memory and the
upstream's open connections before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import aiohttp

from .stand import BODY, USUAL, client, memory_mb, open_files, stand, timed

SETTLE_SECONDS = 65
"""Idle upstream connections are kept for 30 to 60 seconds."""


async def measure(requests: int, waves: int, panel: int) -> None:
    """Runs and prints."""
    ideal = USUAL.total
    with stand(panel=panel) as at:
        async with client() as session:
            await timed(session, at.gateway, BODY)
        await asyncio.sleep(SETTLE_SECONDS)
        print(f"{requests} requests at once, panel of {panel}, {waves} waves; ideal {ideal} ms")
        before = open_files(at.gateway_pid)
        print(f"before: {before} descriptors, {memory_mb(at.gateway_pid):.0f} MB")
        for wave in range(waves):
            await _wave(at.gateway, wave, requests)
            print(f"        {memory_mb(at.gateway_pid):.0f} MB")
        await asyncio.sleep(SETTLE_SECONDS)
        async with client() as session, session.get(f"{at.upstream}/state") as response:
            state = await response.json()
        print(
            f"after:  {open_files(at.gateway_pid)} descriptors (ideal {before}),"
            f" {memory_mb(at.gateway_pid):.0f} MB,"
            f" {state['connections'] - 1} upstream connections (ideal 0),"
            f" {state['requests'] - 1} upstream requests"
            f" (ideal {(requests * waves + 1) * (panel + 2)})"
        )


async def _wave(base: str, number: int, requests: int) -> None:
    totals: list[float] = []
    failures: list[str] = []

    async def one(session: aiohttp.ClientSession) -> None:
        try:
            totals.append(await timed(session, base, BODY))
        except (RuntimeError, aiohttp.ClientError, OSError) as exc:
            failures.append(str(exc)[:200])

    begun = time.perf_counter()
    async with client() as session, asyncio.TaskGroup() as group:
        for _ in range(requests):
            group.create_task(one(session))
    seconds = time.perf_counter() - begun
    print(
        f"wave {number + 1}: {len(totals)}/{requests} complete in {seconds:.2f} s,"
        f" p50 {statistics.median(totals):.0f} ms, slowest {max(totals):.0f} ms"
        + (f"; {len(failures)} failed: {failures[0]}" if failures else "")
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--waves", type=int, default=3)
    parser.add_argument("--panel", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.requests, arguments.waves, arguments.panel))
