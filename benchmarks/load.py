"""What is still answered when twice as much is asked as can be.

`python -m benchmarks.load [--at-once 12] [--seconds 12] [--panel 3]`

Peak: as many clients as the gateway lets in, each asking again as soon as it was answered. Then an open
loop, which does not wait for answers, at once, twice and half that rate. Goodput is answers a second over
the time after the first third; it stands as a share of the peak of the same run, so that the machine does
not matter. The last line is the half rate right after the overload: what it left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass, field

import aiohttp

from .stand import BODY, USUAL, client, memory_mb, stand

GOAL = 0.85
PATIENCE_SECONDS = 20


@dataclass(slots=True)
class Seen:
    """What the clients of one phase saw; times in seconds of the performance counter."""

    answered: list[tuple[float, float]] = field(default_factory=list)
    """When, and how long it took."""
    refused: list[tuple[float, str]] = field(default_factory=list)
    """How long it took, and the Retry-After."""
    failed: list[str] = field(default_factory=list)

    def goodput(self, begin: float, end: float) -> float:
        return sum(begin <= at < end for at, _ in self.answered) / (end - begin)


async def _one(session: aiohttp.ClientSession, base: str, seen: Seen) -> None:
    begun = time.perf_counter()
    try:
        async with session.post(f"{base}/v1/chat/completions", json=BODY) as response:
            text = await response.text()
    except (TimeoutError, aiohttp.ClientError, OSError) as exc:
        seen.failed.append(f"{type(exc).__name__}: {exc}"[:100])
        return
    took = time.perf_counter() - begun
    if response.status == 503:
        seen.refused.append((took, response.headers.get("retry-after", "none")))
    elif response.status == 200 and text.endswith("data: [DONE]\n\n"):
        seen.answered.append((time.perf_counter(), took))
    else:
        seen.failed.append(f"status {response.status}: {text[-100:]}")


async def _closed(base: str, clients: int, seconds: float) -> float:
    """Gives the answers a second of so many clients that always ask again."""
    seen, begun = Seen(), time.perf_counter()
    async with client() as session, asyncio.TaskGroup() as group:

        async def again() -> None:
            while time.perf_counter() < begun + seconds:
                await _one(session, base, seen)

        for _ in range(clients):
            group.create_task(again())
    return seen.goodput(begun + seconds / 3, begun + seconds)


async def _open(base: str, rate: float, seconds: float) -> tuple[Seen, float]:
    """Asks at a rate, whatever is answered; gives what was seen, and the answers a second."""
    seen, begun = Seen(), time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            group.create_task(_one(session, base, seen))
    return seen, seen.goodput(begun + seconds / 3, begun + seconds)


def _told(name: str, seen: Seen, goodput: float, peak: float) -> str:
    took = sorted(seconds for _, seconds in seen.answered)
    said = (
        f"{name:<22} goodput {goodput:6.1f}/s = {goodput / peak:4.0%} of peak;"
        f" {len(took)} answered, p50 {statistics.median(took) * 1000:.0f} ms"
    )
    if seen.refused:
        waits = sorted({wait for _, wait in seen.refused}, key=lambda text: (len(text), text))
        quick = sorted(seconds for seconds, _ in seen.refused)
        said += (
            f"; {len(quick)} refused, p50 {statistics.median(quick) * 1000:.0f} ms,"
            f" Retry-After {waits[0]} to {waits[-1]} s"
        )
    return said + (f"; {len(seen.failed)} FAILED: {seen.failed[0]}" if seen.failed else "")


async def measure(at_once: int, seconds: float, panel: int) -> bool:
    """Runs and prints; whether the goal was reached."""
    limits = f"max_in_flight: {at_once * panel}"
    with stand(panel=panel, limits=limits) as at:
        await _closed(at.gateway, at_once, 2)
        peak = await _closed(at.gateway, at_once, seconds)
        ideal = at_once / (USUAL.total / 1000)
        print(f"{at_once} fused requests of {panel} seats at once, {seconds:g} s a phase")
        print(f"peak {peak:.1f}/s (the models alone would allow {ideal:.1f}/s)")
        before = memory_mb(at.gateway_pid)
        once = await _open(at.gateway, peak, seconds)
        print(_told("1x", *once, peak))
        twice = await _open(at.gateway, 2 * peak, seconds)
        print(_told("2x", *twice, peak))
        print(_told("0.5x, right after it", *await _open(at.gateway, peak / 2, seconds / 2), peak))
        print(f"memory {before:.0f} -> {memory_mb(at.gateway_pid):.0f} MB")
    reached = twice[1] >= GOAL * peak
    print(f"goal at 2x: {GOAL:.0%} of peak: {'reached' if reached else 'MISSED'}")
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--panel", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.at_once, arguments.seconds, arguments.panel))
