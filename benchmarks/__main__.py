"""Every benchmark, one after the other: `make bench`, or `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    *("own_code", "signals", "embeddings", "accuracy", "latency", "concurrency", "load", "prefix"),
    *("faults", "clients"),
)


def main() -> int:
    """Runs them; gives 1 when one failed."""
    failed = False
    for name in BENCHMARKS:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        failed |= subprocess.run(command, check=False).returncode != 0  # noqa: S603  # our own
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
