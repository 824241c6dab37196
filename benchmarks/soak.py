"""Mixed load with faults, for minutes: what every request came to, and what is left over.

`python -m benchmarks.soak [--minutes 10] [--rate 30] [--faults 0.1] [--seed 1]`

Plain and fused, whole and streamed; a tenth of the upstream's answers goes wrong in one of a dozen
ways; clients leave in every phase or read slowly. Each pays with a virtual key; one key's money
comes to an end. Runs on the loopback interface, against the real
server in a process of its own. Ends with 1 when a goal is missed; stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from .callers import GOOD_ENDS, End, Outcome, draw_plan, play, small_buffers
from .paying import BUDGETS, PRICES, TOO_MANY_TOKENS, Keys, make_keys
from .stand import USUAL, Setup, Stand, memory_mb, open_files, stand_of
from .watched import ask

LONG = "d20-c300-g2"
"""What slow clients ask for."""
MOST_AT_ONCE = 500
"""Requests beyond are not sent, and counted."""
MOST_TOLD = 5
"""Lost requests of which it is said what was seen."""
SAMPLE_S = 10
WARM_UP_SHARE = 0.4
"""Of the time, 2 minutes at most: imports, caches and the allocator fill first."""
SETTLE_S = 75
"""Idle upstream connections are kept for 60 seconds at most."""
SLOPE_GOAL = 1.0
"""MiB a minute."""
ANSWERED_GOAL = 0.93
"""Of the requests whose client stayed. What breaks after its first token cannot be asked again."""
LIMITS = (
    "max_in_flight: 5000, connect_timeout_seconds: 1, first_byte_timeout_seconds: 2,"
    " idle_timeout_seconds: 2, retry_base_seconds: 0.02, retry_cap_seconds: 0.2"
)


@dataclass(slots=True)
class Course:
    """What happened so far."""

    seconds: float
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """What was seen of the first that were lost."""
    not_sent: int = 0
    open: int = 0
    samples: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, MiB."""

    @property
    def warm_s(self) -> float:
        """When the slope begins to count."""
        return min(120.0, self.seconds * WARM_UP_SHARE)

    @property
    def slope(self) -> float:
        """MiB a minute after warm-up, by least squares."""
        warm = [(at / 60, size) for at, size in self.samples if at >= self.warm_s]
        if len(warm) < 3:
            return float("nan")
        return statistics.linear_regression(*zip(*warm, strict=True)).slope

    @property
    def answered(self) -> float:
        """The share of answers among the requests whose client stayed and could pay."""
        gone = (Outcome.LEFT, Outcome.UNPAID)
        stayed = sum(n for outcome, n in self.outcomes.items() if outcome not in gone)
        return self.outcomes[Outcome.ANSWERED] / max(stayed, 1)


@dataclass(frozen=True, slots=True)
class State:
    """What is in hand at one moment, at both servers."""

    descriptors: int
    tasks: int
    counts: dict[str, float]
    upstream: dict[str, Any]

    def left_over(self, before: State) -> list[str]:
        """Names what is more than it was before the load."""
        found = [f"{name} = {n:g}" for name, n in self.counts.items() if n]
        if self.tasks > before.tasks:
            found.append(f"{self.tasks} tasks, were {before.tasks}")
        if self.descriptors > before.descriptors:
            found.append(f"{self.descriptors} descriptors, were {before.descriptors}")
        if self.upstream["active"]:
            found.append(f"{self.upstream['active']} upstream calls")
        return found


async def measure(at: Stand, said: Path, keys: Keys, given: argparse.Namespace) -> list[str]:
    """Runs and prints; gives the goals that were missed."""
    await _try_too_much(at, keys)
    before = await _state(at, said)
    course = Course(given.minutes * 60)
    print(f"before: {memory_mb(at.gateway_pid):.0f} MiB, {_told(before)}", flush=True)
    await _load(at, course, keys, given)
    begun = time.monotonic()
    after = await _state(at, said)
    while after.left_over(before) and time.monotonic() - begun < SETTLE_S:
        await asyncio.sleep(2)
        after = await _state(at, said)
    print(f"after {time.monotonic() - begun:.0f} s: {_told(after)}", flush=True)
    print("upstream's faults: " + _listed(after.upstream["faults"]))
    _tell(course, after.left_over(before))
    spent = await asyncio.to_thread(keys.spent)
    print(f"spent        {spent}")
    return missed_goals(course, after.left_over(before)) + spent.missed_goals()


async def _try_too_much(at: Stand, keys: Keys) -> None:
    """Has the gateway open its files of money, by a request for more than its key has: it asks nobody."""
    body = {
        "model": USUAL.writer,
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": TOO_MANY_TOKENS,
    }
    headers = {"authorization": f"Bearer {keys.poor}"}
    url = f"{at.gateway}/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers={"connection": "close"}) as session,
        session.post(url, json=body, headers=headers) as response,
    ):
        if response.status != 402:
            raise RuntimeError(f"a request beyond its key's budget got {response.status}")


async def _load(at: Stand, course: Course, keys: Keys, given: argparse.Namespace) -> None:
    """Sends requests at random moments, at the rate asked for, until the time is over."""
    draw, begun = random.Random(given.seed), time.monotonic()  # noqa: S311  # no secret
    due, most = 0.0, int(given.rate * course.seconds * 2)
    async with _sessions() as (quick, slow), asyncio.TaskGroup() as group:
        group.create_task(_sample(at, course, begun))
        for _ in range(most):
            due += draw.expovariate(given.rate)
            if due > course.seconds:
                break
            await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
            plan = draw_plan(draw, USUAL, LONG, keys)
            if course.open >= MOST_AT_ONCE:
                course.not_sent += 1
            else:
                session = slow if plan.pause_s else quick
                group.create_task(_one(course, play(session, at.gateway, plan)))


async def _one(course: Course, request: Awaitable[End]) -> None:
    course.open += 1
    outcome, seen = await request
    course.outcomes[outcome] += 1
    course.open -= 1
    if seen and len(course.lost) < MOST_TOLD:
        course.lost.append(seen)


@asynccontextmanager
async def _sessions() -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    """A session for ordinary clients, and one whose sockets hold little."""
    plain = aiohttp.TCPConnector(limit=0)
    narrow = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=small_buffers)
    async with (
        aiohttp.ClientSession(connector=plain) as quick,
        aiohttp.ClientSession(connector=narrow, read_bufsize=4096) as slow,
    ):
        yield quick, slow


async def _sample(at: Stand, course: Course, begun: float) -> None:
    """Notes and prints the memory until the load is over."""
    for i in range(int(course.seconds // SAMPLE_S) + 1):
        await asyncio.sleep(max(0.0, begun + i * SAMPLE_S - time.monotonic()))
        size, passed = memory_mb(at.gateway_pid), time.monotonic() - begun
        course.samples.append((passed, size))
        files, ended = open_files(at.gateway_pid), sum(course.outcomes.values())
        print(f"{passed:6.0f} s  {size:7.1f} MiB  {files:5} descriptors", end="", flush=True)
        print(f"  {course.open:4} open  {ended:7} ended", flush=True)


async def _state(at: Stand, said: Path) -> State:
    async with aiohttp.ClientSession() as session, session.get(f"{at.upstream}/state") as response:
        upstream = await response.json()
    watched = await asyncio.to_thread(ask, at.gateway_pid, said)
    return State(open_files(at.gateway_pid), watched["tasks"], watched["counts"], upstream)


def _told(state: State) -> str:
    counts = sum(state.counts.values())
    return (
        f"{state.tasks} tasks, {state.descriptors} descriptors, {counts:g} in"
        f" {len(state.counts)} counts, {state.upstream['active']} upstream calls"
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "none"


def _tell(course: Course, left_over: list[str]) -> None:
    """Prints the sum."""
    for outcome in Outcome:
        print(f"{course.outcomes[outcome]:8} {outcome.value}")
    good = sum(course.outcomes[end] for end in GOOD_ENDS)
    print(f"{course.not_sent:8} not sent: {MOST_AT_ONCE} were open")
    print(f"proper ends  {good} of {good + course.outcomes[Outcome.LOST]}")
    goodput = course.outcomes[Outcome.ANSWERED] / course.seconds
    print(f"goodput      {goodput:.1f} answers a second, {course.answered:.1%} of who stayed")
    print(f"RSS slope    {course.slope:+.2f} MiB/min from {course.warm_s:.0f} s on")
    print("".join(f"lost         {seen}\n" for seen in course.lost), end="")
    print(f"left over    {'; '.join(left_over) or 'nothing'}")


def missed_goals(course: Course, left_over: list[str]) -> list[str]:
    """Gives the goals that were missed; a slope that cannot be told is one."""
    goals = {
        "a request was lost": not course.outcomes[Outcome.LOST],
        f"less than {ANSWERED_GOAL:.0%} answered": course.answered >= ANSWERED_GOAL,
        f"memory grows by more than {SLOPE_GOAL:g} MiB/min": course.slope <= SLOPE_GOAL,
        "something is left over": not left_over,
        "requests were not sent": not course.not_sent,
    }
    return [missed for missed, reached in goals.items() if not reached]


def main() -> int:
    """Runs; gives 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=30, help="requests a second")
    parser.add_argument("--faults", type=float, default=0.1, help="share of upstream answers")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.json"
        faulty = ("benchmarks.faulty", "--share", str(given.faults), "--seed", str(given.seed))
        keys = make_keys(Path(folder))
        setup = Setup(
            prices=PRICES,
            shared=(f"keys: {{store: '{keys.file}'}}", f"budgets: {{{BUDGETS}}}"),
            models=(LONG,),
            limits=LIMITS,
            timeout_s=10,
            upstream=faulty,
            gateway=("benchmarks.watched", str(said)),
        )
        with stand_of(setup) as at:
            missed = asyncio.run(measure(at, said, keys, given))
    print("\n".join(f"MISSED: {goal}" for goal in missed) or "every goal reached")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
