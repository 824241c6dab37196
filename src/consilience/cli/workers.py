"""Several serving processes behind one port: the parent binds it, starts them and keeps them up.

All of them accept from the parent's one listening socket. With a socket of its own for each worker
(SO_REUSEPORT) the connections waiting for a worker that dies would die with it; so they go to the
others. Each worker has a line to the parent: on it goes `ready`, and back come the commands. Direct
signals are not enough for those: a terminal's Ctrl-C and a service manager's SIGTERM reach every process
of the group, and a worker would count the parent's as a second one. A worker whose line is cut has lost
its parent and stops.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from ..telemetry.log import log
from ..telemetry.metrics import WORKER
from .console import err
from .exit_codes import FAILED, OK
from .stop import COMMANDS, READY

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
OLD_AGE_S = 60.0
"""A worker that lived so long is started again at once."""
MOST_EARLY_DEATHS = 5
"""In a row, of one worker while no other one serves. At the very start one is enough."""
_LOOK_S = 60.0
MARGIN_S = 5.0
"""Beyond `shutdown_seconds`, until a worker that does not end is killed."""

Target = Callable[[int, Connection, socket.socket], None]
"""What a worker runs: its number from 1, its line to the parent, the listening socket."""


def pause_s(early_deaths: int) -> float:
    """Gives the time before a worker is started again.

    Args:
        early_deaths: how often in a row it died before its old age.
    """
    if early_deaths == 0:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(early_deaths - 1, 20))


@dataclass(slots=True)
class _Worker:
    """One place among the workers, and the process that fills it now."""

    id: int
    process: SpawnProcess | None = None
    line: Connection | None = None
    ready: bool = False
    begun: float = 0.0
    early_deaths: int = 0
    due: float = 0.0
    """When it is to be started again, while there is no process."""

    def tell(self, command: bytes) -> None:
        if self.line is not None:
            with suppress(OSError):  # it is dead, and that is noticed soon enough
                self.line.send_bytes(command)


@dataclass(slots=True)
class Workers:
    """The parent's side. Use `run` once, in the main thread."""

    count: int
    target: Target
    bound: socket.socket
    shutdown_s: float
    """How long a worker may take to stop."""
    announce: Callable[[], None]
    """Called once, when the first worker serves."""
    buried: Callable[[str], None]
    """Called with the name of each worker's process that has ended, before it is started again."""
    _announced: bool = False
    _workers: list[_Worker] = field(default_factory=list)
    _asked: list[signal.Signals] = field(default_factory=list)
    """Signals that came and were not yet passed on."""
    _kill_at: float = math.inf
    _code: int = OK

    def run(self) -> int:
        """Serves until told to stop; gives the exit code.

        The first worker is started alone, so that what is wrong is said once; if it dies before it
        serves, that is the end. Later only a worker that dies so again and again ends everything, and
        only while no other one serves.
        """
        self._workers = [_Worker(number) for number in range(1, self.count + 1)]
        with self._signals() as wake:
            while self._turn(wake):
                pass
        return self._code

    def _turn(self, wake: socket.socket) -> bool:
        """Does what is due, then waits for the next thing; False when every worker has ended."""
        for number in self._take_signals():
            self._pass_on(number)
        now = time.monotonic()
        if self._ending:
            if now >= self._kill_at:
                self._kill()
            if not self._running:
                return False
        else:
            for worker in self._missing:
                if worker.due <= now:
                    self._start(worker)
        self._wait(wake, now)
        return True

    @property
    def _ending(self) -> bool:
        return self._kill_at < math.inf

    @property
    def _missing(self) -> Sequence[_Worker]:
        """Places to fill: the first one only, until it serves."""
        places = self._workers if self._announced else self._workers[:1]
        return [worker for worker in places if worker.process is None]

    @property
    def _running(self) -> Sequence[_Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _start(self, worker: _Worker) -> None:
        context = multiprocessing.get_context("spawn")
        mine, its = context.Pipe()
        process = context.Process(
            target=self.target, args=(worker.id, its, self.bound), name=f"{WORKER}{worker.id}"
        )
        with _blocked(signal.SIGINT):  # the worker inherits it: Ctrl-C is the parent's
            process.start()
        its.close()
        worker.process, worker.line, worker.ready = process, mine, False
        worker.begun = time.monotonic()
        log("worker_started", worker=worker.id, pid=process.pid)

    def _wait(self, wake: socket.socket, now: float) -> None:
        sources: list[Connection | socket.socket | int] = [wake]
        for worker in self._running:
            if worker.process is not None:
                sources.append(worker.process.sentinel)
            if worker.line is not None and not worker.ready:
                sources.append(worker.line)
        due = [] if self._ending else [worker.due for worker in self._missing]
        until = min([self._kill_at, *due, now + _LOOK_S])
        wait(sources, max(0.0, until - now))
        with suppress(BlockingIOError):
            wake.recv(4096)
        for worker in self._running:
            self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        """Takes in that a worker is ready, or dead."""
        line, process = worker.line, worker.process
        if line is None or process is None:
            return
        if not worker.ready:
            with suppress(OSError, EOFError):
                worker.ready = line.poll() and line.recv_bytes(64) == READY
            if worker.ready and not self._announced:
                self._announced = True
                self.announce()
        if not process.is_alive():
            process.join()
            line.close()
            self.buried(process.name)
            self._bury(worker, process.exitcode or 0)
            process.close()

    def _bury(self, worker: _Worker, code: int) -> None:
        worker.process = worker.line = None
        if self._ending:
            return
        now = time.monotonic()
        young = now - worker.begun < OLD_AGE_S
        worker.early_deaths = worker.early_deaths + 1 if young else 0
        worker.due = now + pause_s(worker.early_deaths)
        log(
            "worker_died",
            level=logging.ERROR,
            worker=worker.id,
            exit=code,
            again_in_s=round(pause_s(worker.early_deaths), 1),
        )
        hopeless = not self._announced or worker.early_deaths >= MOST_EARLY_DEATHS
        if hopeless and not worker.ready and not any(other.ready for other in self._running):
            self._give_up(code)

    def _give_up(self, code: int) -> None:
        told = f"signal {-code}" if code < 0 else f"exit code {code}"
        err.print(f"error: a worker ended before it could serve ({told}), and no other one serves")
        self._code = code if code > 0 else FAILED
        self._end(signal.SIGINT, MARGIN_S)

    def _pass_on(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            for worker in self._running:
                worker.tell(COMMANDS[number])
        elif not self._ending:
            self._code = 128 + number if number == signal.SIGINT else OK
            self._end(number, self.shutdown_s + MARGIN_S)
        else:
            self._code = 128 + number
            self._end(number, MARGIN_S)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        """Has every worker stop, and those that take longer killed."""
        self.bound.close()  # theirs stays open for as long as they accept
        self._kill_at = min(self._kill_at, time.monotonic() + seconds)
        for worker in self._running:
            worker.tell(COMMANDS[number])

    def _kill(self) -> None:
        for worker in self._running:
            if worker.process is not None:
                log("worker_killed", level=logging.ERROR, worker=worker.id)
                worker.process.kill()
        self._kill_at = time.monotonic() + MARGIN_S

    def _take_signals(self) -> Sequence[signal.Signals]:
        taken, self._asked = self._asked, []
        return taken

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Notes the signals that are passed on; gives a socket that can be read when one came."""

        def note(number: int, frame: FrameType | None) -> None:
            self._asked.append(signal.Signals(number))

        wake, waker = socket.socketpair()
        with wake, waker:
            wake.setblocking(False)
            waker.setblocking(False)
            before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            handlers = {number: signal.signal(number, note) for number in COMMANDS}
            try:
                yield wake
            finally:
                signal.set_wakeup_fd(before)
                for number, handler in handlers.items():
                    signal.signal(number, handler)


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
