"""What embedding models cost, and how well they tell the same from something else.

`python -m benchmarks.embeddings [--rounds 300] [--model NAME]`

For each model of the catalog, in a process of its own: routing by 10 embedding rules (5 candidates
each) at the median, for a prompt of 200 characters, one of 32 KB and a conversation of 200 turns; 32
requests at once, with the event loop's lag meanwhile; the memory that the process has in the end.
Then how similar pairs of `benchmarks/data/embedding.test.jsonl` are on the scale of thresholds.

The ideals are issue 3's: 1 ms on the static model, 25 ms on the sentence model, 5 ms of lag, 220 MB
for the model.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import numpy as np

from benchmarks.signals import requests
from consilience.chat.codec import decode
from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.router import Router
from consilience.signal_models import prepared_router
from consilience.upstream.embedding.base import on_scale
from consilience.upstream.embedding.catalog import EMBEDDING_MODELS, embedding_model

_TOPICS = (
    *("debugging code", "planning a trip", "contract law", "medical symptoms", "cooking dinner"),
    *("tax returns", "machine learning", "poems and stories", "database design", "football"),
)
_TASKS = ("explain", "compare options for", "give advice about", "write about", "ask about")
_AT_ONCE = 32
_TICK_S = 0.001


def config_text(model: str) -> str:
    """Ten rules of five candidates, a decision for each."""
    rules = "\n".join(
        f"      - {{name: r{i}, threshold: 0.7, candidates: [{', '.join(f'{t} {topic}' for t in _TASKS)}]}}"
        for i, topic in enumerate(_TOPICS)
    )
    decisions = "\n".join(
        f"    - {{name: d{i}, priority: {i}, modelRefs: [{{model: m}}],"
        f" rules: {{type: embedding, name: r{i}}}}}"
        for i in range(len(_TOPICS))
    )
    return (
        "version: v0.3\n"
        "providers:\n"
        "  defaults: {default_model: m}\n"
        "  models: [{name: m, backend_refs: [{endpoint: '127.0.0.1:1'}]}]\n"
        f"global: {{model_catalog: {{embeddings: {{semantic: {{model: {model}}}}}}}}}\n"
        f"routing:\n  signals:\n    embeddings:\n{rules}\n  decisions:\n{decisions}\n"
    )


async def one_at_a_time(router: Router, request: ChatRequest, rounds: int) -> list[float]:
    """Milliseconds of each."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        await router.route(request, {})
        times.append((time.perf_counter_ns() - begun) / 1e6)
    return sorted(times)


async def together(router: Router, request: ChatRequest) -> tuple[float, float]:
    """Milliseconds for all of them, and the longest that the event loop was kept from its work."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await anyio.sleep(_TICK_S)
            lags.append((time.perf_counter() - begun - _TICK_S) * 1000)

    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        await anyio.sleep(0.05)
        lags.clear()
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(_AT_ONCE):
                group.start_soon(router.route, request, {})
        took = (time.perf_counter() - begun) * 1000
        watching.cancel_scope.cancel()
    return took, max(lags, default=0.0)


async def measure(model: str, rounds: int) -> None:
    """Prints one model's rows."""
    ideal = {"wordllama-256": "1.00", "minilm-l6-int8": "25.00"}.get(model, "-")
    config = parse_config(config_text(model))
    before = _memory_mb()
    async with prepared_router(config) as router:
        print(f"\n{model:24}{'ideal p50':>12}{'p50':>10}{'p99':>10}   milliseconds")
        for name, request in requests().items():
            times = await one_at_a_time(router, request, rounds)
            p99 = times[min(len(times) - 1, round(len(times) * 0.99))]
            shown = ideal if name.startswith("200-character") else "-"
            print(f"{name:24}{shown:>12}{statistics.median(times):>10.3f}{p99:>10.3f}")
        took, lag = await together(router, next(iter(requests().values())))
    print(
        f"{_AT_ONCE} at once: {took:.1f} ms together, the event loop {lag:.1f} ms late at most (5)"
    )
    print(f"memory: {_memory_mb():.0f} MB, {before:.0f} MB of it before the model was loaded")


def _memory_mb() -> float:
    """What the process holds; where that cannot be read, what it held at its most."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        unit = 1 << 20 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return pages * resource.getpagesize() / (1 << 20)


def separation() -> None:
    """Prints how similar pairs are that ask the same, that share words or topic, that share nothing."""
    lines = (Path(__file__).parent / "data" / "embedding.test.jsonl").read_bytes().splitlines()
    pairs = [decode(line) for line in lines if line]
    print(f"\n{'similarity, on the scale':26}{'pairs':>7}{'10 %':>8}{'median':>8}{'90 %':>8}")
    for model in EMBEDDING_MODELS:
        encoder = model.encoder()
        first, second = (
            on_scale(encoder.encode([pair[side] for pair in pairs]), model.floor) for side in "ab"
        )
        similarity = (first * second).sum(axis=1)
        groups: Mapping[str, list[bool]] = {
            "ask the same": [pair["same"] for pair in pairs],
            "near, not the same": [not p["same"] and p.get("kind") != "unrelated" for p in pairs],
            "unrelated": [pair.get("kind") == "unrelated" for pair in pairs],
        }
        print(model.name)
        for name, chosen in groups.items():
            low, median, high = np.quantile(similarity[np.array(chosen)], [0.1, 0.5, 0.9])
            print(f"  {name:24}{sum(chosen):>7}{low:>8.2f}{median:>8.2f}{high:>8.2f}")


def main() -> int:
    """Measures one model, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    if arguments.model is not None:
        if embedding_model(arguments.model) is None:
            parser.error(f"there is no model {arguments.model}")
        anyio.run(measure, arguments.model, arguments.rounds)
        return 0
    failed = 0
    for model in EMBEDDING_MODELS:
        command = [sys.executable, "-m", "benchmarks.embeddings", "--model", model.name]
        command += ["--rounds", str(arguments.rounds)]
        failed |= subprocess.run(command, check=False).returncode  # noqa: S603  # our own
    separation()
    return failed


if __name__ == "__main__":
    sys.exit(main())
