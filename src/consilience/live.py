"""The gateway that serves now, and its replacement while requests are in flight.

A new configuration is checked and opened whole beside the old one, then swapped in one step.
Requests that began on the old one end on it; it is closed when the last of them has ended. What
cannot be used changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from .config.root import Config, Listener
from .errors import ConfigError, ConsilienceError
from .gateway import Gateway
from .telemetry import metrics
from .telemetry.log import log


class OpenToAllError(ConsilienceError):
    """A configuration would take the last client key from a gateway that others can reach."""

    code = "open_to_all"


@dataclass(frozen=True, slots=True)
class ReloadState:
    """How reloading went so far; for `/health`."""

    reloads: int = 0
    """Configurations swapped in since the start."""
    last_failed: bool = False
    """Whether the newest file could not be used, so that an older one still serves."""

    def as_body(self) -> dict[str, Any]:
        """Gives it as JSON."""
        return {
            "reloads": self.reloads,
            "last_reload": "failed" if self.last_failed else "ok" if self.reloads else None,
        }


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the process listens, as far as its configuration says so."""

    address: str | None
    """As the file has it; None where the command line said another, whatever the file says."""
    port: int | None
    """Likewise."""

    def fits(self, listener: Listener) -> bool:
        """Whether a listener asks for nothing but what is bound."""
        return self.address in (None, listener.address) and self.port in (None, listener.port)


class LiveGateway:
    """Holds the gateway that new requests go to. Open it with `async with`."""

    def __init__(
        self, gateway: Gateway, *, bound: Bound | None = None, stays_locked: bool = False
    ) -> None:
        """
        Args:
            gateway: the first one.
            bound: where the process listens. Default: where the first gateway's file says.
            stays_locked: whether no configuration may come into service that wants no client key:
                others than this machine can connect, and nobody said `--no-auth`.
        """
        first = gateway.config.listeners[0]
        self._current = gateway
        self._bound = bound or Bound(first.address, first.port)
        self._stays_locked = stays_locked
        self._retiring: TaskGroup | None = None
        self._reloading = anyio.Lock()
        self.state = ReloadState()

    async def __aenter__(self) -> Self:
        await self._open(self._current)
        metrics.note_served()
        self._retiring = anyio.create_task_group()
        await self._retiring.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._retiring is not None:
            self._retiring.cancel_scope.cancel()
            await self._retiring.__aexit__(kind, exc, traceback)
        await self._current.aclose()

    async def _open(self, gateway: Gateway) -> None:
        await gateway.open()
        if self._stays_locked and not gateway.guard.protected:
            await gateway.aclose()
            raise OpenToAllError(
                "other machines can connect, and no client key is left in the configuration: set"
                " listeners[].api_keys, make a key (consilience keys create NAME), or restart with"
                " --no-auth"
            )

    def current(self) -> Gateway:
        """Gives the gateway for a new request; hold it with `Gateway.in_use`."""
        return self._current

    async def reload(self, load: Callable[[], Config]) -> bool:
        """Loads a configuration and puts it into service; False when it could not be used.

        Args:
            load: gives the new configuration or raises; run in a thread. Two reloads never
                overlap, or the older file could come into service last.
        """
        try:
            async with self._reloading:
                gateway = await anyio.to_thread.run_sync(lambda: Gateway(load()))
                await self.replace(gateway)
        except (ConsilienceError, OSError) as exc:
            self.state = ReloadState(self.state.reloads, last_failed=True)
            metrics.RELOADS.of("failed").inc()
            metrics.RELOADED.of().set(0)
            _log_failure(exc)
            return False
        return True

    async def replace(self, gateway: Gateway) -> None:
        """Opens a gateway and puts it into service; the old one closes when nobody uses it.

        Raises:
            ConsilienceError: it cannot be opened, or would let anybody in; the old one goes on.
        """
        gateway.guard.follow(self._current.guard)
        await self._open(gateway)
        old, self._current = self._current, gateway
        # the limits hold for the process: what is in flight on the old one counts on
        gateway.admission = old.admission
        gateway.admission.resize(gateway.bounds)
        self.state = ReloadState(self.state.reloads + 1)
        metrics.RELOADS.of("ok").inc()
        metrics.note_served()
        log("config_reloaded", source=gateway.config.source, reloads=self.state.reloads)
        if not self._bound.fits(gateway.config.listeners[0]):
            log("listener_unchanged", level=logging.WARNING, hint="a new address needs a restart")
        if self._retiring is not None:
            self._retiring.start_soon(old.drain)


MOST_UNQUIET_S = 2.0
"""How long a file may go on changing before it is read all the same."""
Fingerprint = tuple[int, int, int]


def fingerprint(path: Path) -> Fingerprint | None:
    """Gives what changes when a file does; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Settling:
    """Says when a file that changes may be read: once it looks the same twice, or has changed for long.

    A file still being written is so left alone, and one that is touched without end is not waited
    for without end: what is read too early is read again when it is quiet.
    """

    def __init__(self, served: Fingerprint | None) -> None:
        """
        Args:
            served: the file's fingerprint from before it was loaded the first time.
        """
        self._served = self._seen = served
        self._changing_since: float | None = None

    def look(self, now: Fingerprint | None, at_s: float) -> bool:
        """Takes in how the file looks; gives whether it is to be read now.

        Args:
            now: its fingerprint; None while there is none.
            at_s: when that was, on a clock that does not jump.
        """
        quiet, self._seen = now == self._seen, now
        if now is None or now == self._served:
            self._changing_since = None
            return False
        if self._changing_since is None:
            self._changing_since = at_s
        if not quiet and at_s - self._changing_since < MOST_UNQUIET_S:
            return False
        self._served, self._changing_since = now, None
        return True


async def watch(
    path: Path,
    live: LiveGateway,
    load: Callable[[], Config],
    *,
    served: Fingerprint | None,
    every_s: float = 1.0,
) -> None:
    """Reloads whenever the file changes, until cancelled; `Settling` says when.

    Args:
        path: the file.
        live: what serves.
        load: loads the file.
        served: the file's fingerprint from before it was loaded the first time.
        every_s: seconds between looks.
    """
    settling = Settling(served)
    while True:
        await anyio.sleep(every_s)
        now = await anyio.to_thread.run_sync(fingerprint, path)
        if settling.look(now, anyio.current_time()):
            await live.reload(load)


def _log_failure(exc: Exception) -> None:
    if not isinstance(exc, ConfigError):
        told = exc.sentence if isinstance(exc, ConsilienceError) else "the file cannot be read"
        log("config_reload_failed", level=logging.ERROR, error=told)
        return
    for problem in exc.problems[:20]:
        log(
            "config_reload_failed",
            level=logging.ERROR,
            line=problem.line,
            path=problem.path,
            problem=problem.message,
        )
