"""Who may ask a serving process to stop or to reload, and what it has been asked so far."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType

from ..http.drain import Drain
from .exit_codes import OK

READY = b"ready"
"""What a worker says to its parent once it serves."""
COMMANDS = {
    signal.SIGTERM: b"term",
    signal.SIGINT: b"int",
    signal.SIGHUP if hasattr(signal, "SIGHUP") else signal.SIGABRT: b"hup",
}
"""What a parent says to its workers in place of the signal that it got itself."""
_MEANING = {command: number for number, command in COMMANDS.items()}


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

    def ask_once(self, number: signal.Signals) -> None:
        """Asks the process to stop, unless it was asked before."""
        if self.first is None:
            self.ask(number)

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        if self.again is not None:
            return 128 + self.again
        return 128 + signal.SIGINT if self.first == signal.SIGINT else OK


def listen_to_signals(stop: Stop) -> None:
    """Has SIGINT and SIGTERM ask for the end, until the process ends."""

    def note(number: int, frame: FrameType | None) -> None:
        stop.ask(signal.Signals(number))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)


def ignore_hang_up() -> None:
    """Has SIGHUP do nothing: a worker that starts is told by its parent what came meanwhile."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def listen_to_hang_up(reload: Callable[[], None]) -> None:
    """Has SIGHUP ask for a reload, from now on. Must be called in the event loop."""
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def listen_to_parent(stop: Stop, line: Connection, reload: Callable[[], None]) -> None:
    """Has the parent's commands ask for the end or for a reload, and its death for the end.

    A signal that comes directly asks once: whoever signals a whole group of processes has the parent
    pass on the same. Must be called in the event loop.
    """
    loop = asyncio.get_running_loop()
    told = 0

    def hear() -> None:
        nonlocal told
        try:
            number = _MEANING[line.recv_bytes(16)]
        except (OSError, EOFError, KeyError):
            loop.remove_reader(line.fileno())
            stop.ask_once(signal.SIGTERM)
            return
        if number not in (signal.SIGTERM, signal.SIGINT):
            reload()
            return
        told += 1
        if told == 1:
            stop.ask_once(number)
        else:
            stop.ask(number)

    def note(number: int, frame: FrameType | None) -> None:
        stop.ask_once(signal.Signals(number))

    signal.signal(signal.SIGTERM, note)
    loop.add_reader(line.fileno(), hear)
