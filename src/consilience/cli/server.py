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
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import anyio
import uvicorn

from ..http.drain import Drain
from ..live import LiveGateway
from .console import err
from .exit_codes import OK

INTERRUPTED_SECONDS = 5.0
"""How long requests in flight may still run after Ctrl-C: somebody waits at the terminal."""
LAST_WORDS_SECONDS = 1.0
"""For clients to take the error that their request was ended with."""
_TICK_S = 0.1


class Stop:
    """What the process was asked to do, by signals or by its parent."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self.first: signal.Signals | None = None
        self.again: signal.Signals | None = None
        """The second request to stop: nothing is waited for any more."""

    def ask(self, number: signal.Signals) -> None:
        """Asks the process to stop; the second time at once, the third time without any care."""
        if self.again is not None:
            os._exit(128 + number)
        if self.first is not None:
            self.again = number
            return
        self.first = number
        self._drain.begin()

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        if self.again is not None:
            return 128 + self.again
        return 128 + signal.SIGINT if self.first == signal.SIGINT else OK


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


def listen_to_signals(stop: Stop) -> None:
    """Has SIGINT and SIGTERM ask for the end, until the process ends."""

    def note(number: int, frame: FrameType | None) -> None:
        stop.ask(signal.Signals(number))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
