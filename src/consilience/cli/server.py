"""One serving process from its first connection to its last: signals, draining, the end.

What stops it, and how:

| asked by | unready | accepts for | in flight until | exit code |
|---|---|---|---|---|
| SIGTERM | at once | `drain_seconds` | `shutdown_seconds` in all | 0 |
| SIGINT (Ctrl-C) | at once | not at all | 5 s | 130 |
| a second one of either | | | at once | 128 + its number |
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import uvicorn

from ..app import app_of
from ..config import load_config
from ..config.root import Config, is_loopback
from ..gateway import Gateway
from ..http.drain import Drain
from ..http.metrics import keep_levels
from ..http.models import Process
from ..http.protocol import ClientBounds, guarded
from ..live import Bound, Fingerprint, LiveGateway, watch
from .console import err
from .introduction import introduce
from .setup import FoundConfig
from .stop import READY, Stop, listen_to_hang_up, listen_to_parent, listen_to_signals

if sys.platform != "win32":
    import resource

BACKLOG = 2048
"""Connections that wait to be accepted."""
INTERRUPTED_SECONDS = 5.0
"""How long requests in flight may still run after Ctrl-C: somebody waits at the terminal."""
LAST_WORDS_SECONDS = 1.0
"""For clients to take the error that their request was ended with."""
_TICK_S = 0.1


class Server(uvicorn.Server):
    """uvicorn's server with an end that clients can live with."""

    def __init__(
        self, config: uvicorn.Config, live: LiveGateway, drain: Drain, *, stop: Stop
    ) -> None:
        super().__init__(config)
        self._live = live
        self._drain = drain
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone: they are `Stop`'s, also while the gateway closes after this."""
        yield

    async def main_loop(self) -> None:
        """Serves until asked to stop, and then for as long as load balancers may need."""
        ticks = 0
        accept_until = None
        while self._stop.again is None:
            if self._stop.first is not None and accept_until is None:
                accept_until = anyio.current_time() + self._accepting_s()
                self._announce()
            if accept_until is not None and anyio.current_time() >= accept_until:
                return
            await self.on_tick(ticks)  # keeps the date header
            ticks += 1
            await asyncio.sleep(_TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting, waits for what is in flight, then ends it."""
        for server in self.servers:
            server.close()
        for bound in sockets or ():
            bound.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._emptied(self._finishing_s())
        self._drain.cut()
        await self._emptied(LAST_WORDS_SECONDS)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._emptied(LAST_WORDS_SECONDS)

    def _accepting_s(self) -> float:
        if self._stop.first == signal.SIGINT:
            return 0.0
        limits = self._live.current().config.global_.gateway
        return min(limits.drain_seconds, limits.shutdown_seconds)

    def _finishing_s(self) -> float:
        whole = self._live.current().config.global_.gateway.shutdown_seconds
        if self._stop.first == signal.SIGINT:
            return min(whole, INTERRUPTED_SECONDS)
        return max(0.0, whole - self._accepting_s())

    def _announce(self) -> None:
        count = self._drain.count
        if count:
            err.print(
                f"stopping: {count} request{'s' if count != 1 else ''} in flight,"
                f" {self._accepting_s() + self._finishing_s():g} seconds at most;"
                " a second signal cuts off"
            )

    async def _emptied(self, seconds: float) -> None:
        """Waits until no connection is left, for so long at most, and not once asked again."""
        state = self.server_state
        until = anyio.current_time() + seconds
        while state.connections or state.tasks:
            if self._stop.again is not None or anyio.current_time() >= until:
                return
            await asyncio.sleep(_TICK_S / 2)


async def run_server(
    found: FoundConfig,
    bound: socket.socket,
    place: Bound,
    *,
    no_auth: bool,
    worker: int | None = None,
    line: Connection | None = None,
) -> int:
    """Serves on a bound socket until stopped; gives the exit code.

    The gateway is opened before the server starts: what is missing (a local model, say) is then an
    error of ours, and nothing is announced that does not come.

    Args:
        found: the configuration.
        bound: a bound socket.
        place: what of its address the configuration chose.
        no_auth: whether it may serve others than this machine without any key.
        worker: which of several processes this is, from 1.
        line: to the parent, when there is one.

    Raises:
        ConsilienceError: the gateway cannot be opened.
    """
    stays_locked = not no_auth and not is_loopback(str(bound.getsockname()[0]))
    first = Gateway(found.config)
    async with LiveGateway(first, bound=place, stays_locked=stays_locked) as live:
        bound.listen(BACKLOG)  # who reads the address can connect at once
        drain = Drain()
        stop = Stop(drain)
        bounds = ClientBounds.of(found.config.global_.gateway, most=_raise_file_limit() // 2)
        config = uvicorn.Config(
            app_of(live, Process(drain, worker)),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            http=guarded(bounds, drain),
            ws="none",
        )
        # before the address is told: who reads it may signal at once
        asked = asyncio.Event()
        if found.path is not None:
            listen_to_hang_up(asked.set)
        if line is None:
            listen_to_signals(stop)
            await introduce(found, bound.getsockname()[:2])
        else:
            listen_to_parent(stop, line, asked.set)
            with suppress(OSError):  # the parent is gone, and that is heard in a moment
                line.send_bytes(READY)
        async with anyio.create_task_group() as group:
            if found.path is not None:
                group.start_soon(_keep_up, found.path, found.stamp, live, asked)
            group.start_soon(keep_levels, live)
            await Server(config, live, drain, stop=stop).serve(sockets=[bound])
            group.cancel_scope.cancel()
    return stop.exit_code


async def _keep_up(
    path: Path, stamp: Fingerprint | None, live: LiveGateway, asked: asyncio.Event
) -> None:
    """Reloads the file when it changes, and when it is asked to."""

    def load() -> Config:
        return load_config(path)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(watch, path, live, load, served=stamp))
        while True:
            await asked.wait()
            asked.clear()
            await live.reload(load)


def _raise_file_limit() -> int:
    """Lets the process have as many open files, sockets included, as it may; gives how many."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        with suppress(OSError, ValueError):  # some systems have a lower limit that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if allowed == resource.RLIM_INFINITY else allowed
