"""Latency that the gateway adds to a fused answer, one request in flight, beside the ideal.

`python -m benchmarks.latency [--rounds 40] [--panel 3]`

The ideal is the slowest panel member, then the judge, then the synthesis, with the upstream's fixed
delays. `direct` is the same three calls made one after the other by this client without a gateway:
what this machine and this client cost by themselves. The last row is the least that these calls
cost a Python program: the same five of them with aiohttp, in one process, and no gateway at all.
Last comes the gateway with upstreams of 1 to 3 ms: the same work on a processor that has had no
time to fall asleep between the stages.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import aiohttp
import uvloop

from .raw_client import RawClient, Timing
from .stand import BODY, USUAL, Delays, stand

WARM_UP = 5
AWAKE = Delays(panel=1, judge=2, synthesis=3, chunks=1, gap=1)


async def bare(upstream: str, rounds: int, panel: int) -> list[float]:
    """First-token times of the same calls with aiohttp and nothing else."""
    url = f"{upstream}/v1/chat/completions"
    times: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def whole(model: str) -> None:
            async with session.post(url, json={**BODY, "model": model, "stream": False}) as got:
                await got.json()

        for _ in range(rounds + WARM_UP):
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(panel):
                    group.create_task(whole(USUAL.seat))
            await whole(USUAL.referee)
            async with session.post(url, json={**BODY, "model": USUAL.writer}) as response:
                await response.content.readany()
                times.append((time.perf_counter() - begun) * 1000)
                await response.read()
    return times[WARM_UP:]


def measure(rounds: int, panel: int) -> None:
    """Runs and prints."""
    through: list[Timing] = []
    direct: list[Timing] = []
    with (
        stand(panel=panel) as at,
        RawClient(at.gateway) as gateway,
        RawClient(at.upstream) as upstream,
    ):
        for _ in range(rounds + WARM_UP):
            through.append(gateway.streamed(BODY))
            before = sum(
                upstream.whole({**BODY, "model": model, "stream": False})
                for model in (USUAL.seat, USUAL.referee)
            )
            last = upstream.streamed({**BODY, "model": USUAL.writer})
            direct.append(Timing(before + last.first_token, before + last.total, last.relay))
        alone = uvloop.run(bare(at.upstream, rounds, panel))
    through, direct = through[WARM_UP:], direct[WARM_UP:]
    ideal_first, ideal_total = USUAL.first_token, USUAL.total
    print(f"panel of {panel}, one request in flight, {rounds} rounds; milliseconds, p50 (p99)")
    print(f"{'':34}{'ideal':>8}{'direct':>18}{'gateway':>18}{'added to ideal':>18}")
    _row("first synthesis token", ideal_first, direct, through, "first_token")
    _row("whole answer", ideal_total, direct, through, "total")
    _row("upstream's first token to client", 0, direct, through, "relay")
    added = [value - ideal_first for value in alone]
    print(
        f"{'first token, aiohttp alone':34}{ideal_first:8.1f}{'':18}{_shown(alone):>18}{_shown(added):>18}"
    )
    awake = _awake(rounds, panel)
    ideal = AWAKE.first_token
    over = [value - ideal for value in awake]
    print(
        f"{'first token, upstreams of 1-3 ms':34}{ideal:8.1f}{'':18}{_shown(awake):>18}{_shown(over):>18}"
    )


def _awake(rounds: int, panel: int) -> list[float]:
    with stand(panel=panel, delays=AWAKE) as at, RawClient(at.gateway) as gateway:
        times = [gateway.streamed(BODY).first_token for _ in range(rounds + WARM_UP)]
    return times[WARM_UP:]


def _row(name: str, ideal: float, direct: list[Timing], through: list[Timing], what: str) -> None:
    d, t = ([getattr(timing, what) for timing in timings] for timings in (direct, through))
    added = [value - ideal for value in t]
    print(f"{name:34}{ideal:8.1f}{_shown(d):>18}{_shown(t):>18}{_shown(added):>18}")


def _shown(values: list[float]) -> str:
    p99 = sorted(values)[min(len(values) - 1, round(len(values) * 0.99))]
    return f"{statistics.median(values):.2f} ({p99:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--panel", type=int, default=3)
    arguments = parser.parse_args()
    measure(arguments.rounds, arguments.panel)
