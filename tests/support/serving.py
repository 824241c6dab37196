"""`consilience serve` as a process over one model server: how it starts, and who its workers are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .client import eventually, get
from .command import Running, started, written
from .live import fusion_yaml
from .raw_server import RawServer


@contextmanager
def serving(
    folder: Path, upstream: RawServer, gateway: str = "", *, workers: int = 1, first: str = ""
) -> Iterator[tuple[Running, str]]:
    """A server process, every worker of it serving, and its address.

    Args:
        folder: where its configuration is written.
        upstream: serves the models `a`, `b` and `j`.
        gateway: keys of `global.gateway` in flow style.
        workers: how many processes serve.
        first: Python that the process runs before anything else.
    """
    config = written(folder, fusion_yaml(base_url=upstream.base_url, gateway=gateway))
    more = ("--workers", workers) if workers > 1 else ()
    with started("serve", "-c", config, "--port", 0, *more, cwd=folder, first=first) as process:
        url = process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
        if workers > 1:
            assert eventually(lambda: workers_seen(url) == set(range(1, workers + 1)))
        yield process, url


def workers_seen(url: str) -> set[int]:
    """The workers that answer."""
    return {get(url, "/health").json["worker"] for _ in range(20)}


def pids_of(process: Running, worker: int) -> list[int]:
    """Of a worker's processes so far, the newest last."""
    found = re.findall(rf"worker_started worker={worker} pid=(\d+)", process.err)
    return [int(pid) for pid in found]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended in between
        return True


def memory_kib(pid: int) -> int:
    """Resident memory of a process."""
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line)


def connections_to(pid: int, port: int) -> int:
    """How many connections to a port of the loopback interface a process holds open."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in between
            own.add(str(file.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    there = f"0100007F:{port:04X}"
    return sum(row[2] == there and f"socket:[{row[9]}]" in own for row in rows)
