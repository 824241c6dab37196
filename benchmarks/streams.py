"""A thousand streams open at once on one worker, half of them Fusions: its memory.

`python -m benchmarks.streams [--streams 1000] [--goal 600]`

Every stream gets a token a second until all have been open together for ten seconds. Ends with 1
when the memory was over the goal (MiB), or a stream did not come to its proper end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass, field

import aiohttp

from .callers import Outcome, judged
from .stand import Delays, Setup, Stand, client, memory_mb, open_files, stand_of

HOLD_S = 10
"""How long all are open together."""
OPENED_PER_S = 100
MOST_S = 60
"""To open all."""


@dataclass(slots=True)
class Streams:
    """How many are where."""

    most: int
    open: int = 0
    ended: dict[Outcome, int] = field(default_factory=dict)
    all_open: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self) -> None:
        """Counts one more that is open."""
        self.open += 1
        if self.open == self.most:
            self.all_open.set()


async def measure(at: Stand, count: int, model: str) -> tuple[float, Streams]:
    """Runs and prints; gives the highest memory, in MiB, and how the streams ended."""
    streams = Streams(count)
    before, peak = memory_mb(at.gateway_pid), 0.0
    async with client() as session, asyncio.TaskGroup() as group:
        for i in range(count):
            asked = model if i % 2 else "vllm-sr/fusion"
            group.create_task(_read(session, at.gateway, asked, streams))
            await asyncio.sleep(1 / OPENED_PER_S)
        async with asyncio.timeout(MOST_S):
            await streams.all_open.wait()
        for _ in range(HOLD_S):
            peak = max(peak, memory_mb(at.gateway_pid))
            await asyncio.sleep(1)
        print(f"before: {before:.0f} MiB")
        print(
            f"{streams.open} streams open: {peak:.0f} MiB, {(peak - before) * 1024 / count:.0f} KiB"
            f" each, {open_files(at.gateway_pid)} descriptors"
        )
    print(f"after:  {memory_mb(at.gateway_pid):.0f} MiB")
    return peak, streams


async def _read(session: aiohttp.ClientSession, base: str, model: str, streams: Streams) -> None:
    messages = [{"role": "user", "content": "A question of ordinary length. " * 8}]
    body = {"model": model, "messages": messages, "stream": True}
    data = b""
    async with session.post(f"{base}/v1/chat/completions", json=body) as response:
        async for piece in response.content.iter_any():
            if not data:
                streams.opened()
            data += piece
    end = judged(response.status, response.content_type, data)
    streams.ended[end] = streams.ended.get(end, 0) + 1


def main() -> int:
    """Runs; gives 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--goal", type=float, default=600, help="MiB")
    given = parser.parse_args()
    # long enough to be open while the last one opens
    chunks = given.streams // OPENED_PER_S + HOLD_S + 15
    delays = Delays(panel=50, judge=40, synthesis=50, chunks=chunks, gap=1000)
    setup = Setup(
        delays=delays,
        limits="max_in_flight: 20000",
        upstream=("benchmarks.faulty", "--share", "0"),
    )
    with stand_of(setup) as at:
        peak, streams = asyncio.run(measure(at, given.streams, delays.writer))
    answered = streams.ended.get(Outcome.ANSWERED, 0)
    print(f"{answered} of {given.streams} came whole; goal: {given.goal:.0f} MiB")
    return int(peak > given.goal or answered != given.streams)


if __name__ == "__main__":
    sys.exit(main())
