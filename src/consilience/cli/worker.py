"""One serving process: set up from what can be told to a new process, then run to its end."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from ..config import parse_config
from ..errors import ConsilienceError
from ..live import Bound
from ..telemetry.log import configure
from .console import report, use_any_encoding
from .server import run_server
from .setup import FoundConfig, named_config
from .stop import ignore_hang_up


@dataclass(frozen=True, slots=True)
class Logs:
    """How log lines are written."""

    as_json: bool
    level: int

    def begin(self) -> None:
        """Writes our events, and uvicorn's warnings like them."""
        configure(as_json=self.as_json, level=self.level)
        _adopt_logs_of_others()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is to serve."""

    path: Path | None
    text: str
    """Of the document, for when there is no file."""
    source: str
    notes: tuple[str, ...]
    logs: Logs
    place: Bound
    no_auth: bool

    def load(self) -> FoundConfig:
        """Loads the file as it is now; without one, the text.

        Raises:
            ConfigError: it is wrong.
        """
        found = named_config(self.path) if self.path is not None else None
        if found is not None:
            return found
        return FoundConfig(parse_config(self.text, source=self.source), self.text, self.notes)


def run_here(
    found: FoundConfig,
    bound: socket.socket,
    place: Bound,
    *,
    no_auth: bool,
    worker: int | None = None,
    line: Connection | None = None,
) -> int:
    """Serves in this process; gives the exit code. Arguments and errors: `run_server`."""
    use_uvloop = importlib.util.find_spec("uvloop") is not None

    async def run() -> int:
        return await run_server(found, bound, place, no_auth=no_auth, worker=worker, line=line)

    return anyio.run(run, backend_options={"use_uvloop": use_uvloop})


def work(plan: Plan, number: int, line: Connection, bound: socket.socket) -> None:
    """Is a worker: the main function of a new process. Ends it with its exit code."""
    use_any_encoding()
    plan.logs.begin()
    # the parent tells by its line; until somebody listens, neither a hang-up nor Ctrl-C may kill
    ignore_hang_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = plan.load()
        code = run_here(found, bound, plan.place, no_auth=plan.no_auth, worker=number, line=line)
        sys.exit(code)
    except ConsilienceError as exc:
        sys.exit(report(exc))


def _adopt_logs_of_others() -> None:
    """Has the libraries' warnings written like our own events, without what exceptions say."""
    for name in ("uvicorn", "asyncio", "aiohttp"):
        log = logging.getLogger(name)
        log.handlers[:] = logging.getLogger("consilience").handlers
        log.setLevel(logging.WARNING)
        log.propagate = False
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """False for a request that was cut off on stopping, which uvicorn reports like a crash."""
    return not record.exc_info or not isinstance(record.exc_info[1], asyncio.CancelledError)
