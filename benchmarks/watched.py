"""The real command line, in a process that says on SIGUSR1 what it has in hand.

`python -m benchmarks.watched FILE serve -c …` writes `{"number", "tasks", "counts"}` to the file:
how often it was asked, the event loop's tasks, and the sum of every count of things under way
that an object of the package keeps.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import runpy
import signal
import sys
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

COUNTS = ("in_flight", "retrying", "queued", "held", "held_tokens", "_held")
"""Names under which the package counts what is under way."""


def in_hand() -> dict[str, float]:
    """Adds the counts of all living objects of the package up, by name and class."""
    gc.collect()
    found: dict[str, float] = defaultdict(float)
    for thing in gc.get_objects():
        kind = type(thing)
        if str(kind.__module__).startswith("consilience."):
            for name in COUNTS:
                size = _size(getattr(thing, name, None))
                if size is not None:
                    found[f"{kind.__name__}.{name}"] += size
    return dict(found)


def _size(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return float(value)
    return len(value) if isinstance(value, dict | list | set | tuple) else None


def watch(file: Path) -> None:
    """Answers SIGUSR1 from now on."""
    numbers = itertools.count(1)

    def tell(signal_number: int, frame: object) -> None:
        try:
            tasks = len(asyncio.all_tasks())
        except RuntimeError:  # no loop runs yet
            tasks = 0
        said = {"number": next(numbers), "tasks": tasks, "counts": in_hand()}
        new = file.with_suffix(".new")
        new.write_text(json.dumps(said))
        new.replace(file)

    signal.signal(signal.SIGUSR1, tell)


def ask(pid: int, file: Path, seconds: float = 10) -> dict[str, Any]:
    """Asks a watched process.

    Raises:
        TimeoutError: it does not answer.
    """
    before = json.loads(file.read_text())["number"] if file.exists() else 0
    os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if file.exists():
            said: dict[str, Any] = json.loads(file.read_text())
            if said["number"] > before:
                return said
        time.sleep(0.02)
    raise TimeoutError("the gateway does not say what it has in hand")


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    sys.argv[0] = "consilience"
    runpy.run_module("consilience", run_name="__main__", alter_sys=True)
