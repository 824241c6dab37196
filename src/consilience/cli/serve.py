"""`consilience serve`: the gateway as a server."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
import socket
from functools import partial
from pathlib import Path

import anyio
import uvicorn

from ..app import app_of
from ..config import load_config
from ..config.root import Config, is_loopback
from ..errors import ConsilienceError
from ..gateway import Gateway
from ..live import Fingerprint, LiveGateway, watch
from ..telemetry.log import configure
from .console import err, report
from .exit_codes import FAILED, INTERRUPTED, OK, USAGE
from .introduction import introduce
from .setup import FoundConfig, find_config

DRAIN_SECONDS = 30
"""How long requests in flight may still run after Ctrl-C or SIGTERM."""
_BACKLOG = 2048
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def serve(
    *,
    config: Path | None,
    host: str | None,
    port: int | None,
    no_auth: bool,
    log_format: str,
    log_level: str,
) -> int:
    """Serves until interrupted; gives the exit code."""
    configure(as_json=log_format == "json", level=_LEVELS[log_level])
    _adopt_logs_of_others()
    try:
        found = anyio.run(find_config, config)
    except ConsilienceError as exc:
        return report(exc)
    listener = found.config.listeners[0]
    address = host or listener.address
    refusal = _refusal(address, found.config, no_auth=no_auth)
    if refusal:
        err.print(f"error: {refusal}")
        return USAGE
    wanted = listener.port if port is None else port
    try:
        bound = bind(address, wanted)
    except (OSError, ValueError) as exc:  # ValueError: no host could have this name
        reason = getattr(exc, "strerror", None) or exc
        err.print(
            f"error: cannot listen on {address} port {wanted}: {reason};"
            " choose another --host or --port"
        )
        return FAILED
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    with bound:
        try:
            return anyio.run(_serve, found, bound, backend_options={"use_uvloop": use_uvloop})
        except ConsilienceError as exc:
            return report(exc)


async def _serve(found: FoundConfig, bound: socket.socket) -> int:
    """Serves on a bound socket; gives the exit code.

    The gateway is opened before the server starts: what is missing (a local model, say) is then an
    error of ours, and nothing is announced that does not come.
    """
    async with LiveGateway(Gateway(found.config)) as live:
        bound.listen(_BACKLOG)  # who reads the address below can connect at once
        await introduce(found, bound.getsockname()[:2])
        server = _Server(
            uvicorn.Config(
                app_of(live),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        received = _note_signals(server)
        async with anyio.create_task_group() as group:
            if found.path is not None:
                group.start_soon(_keep_up, found.path, found.stamp, live)
            await server.serve(sockets=[bound])
            group.cancel_scope.cancel()
    return INTERRUPTED if signal.SIGINT in received else OK


async def _keep_up(path: Path, stamp: Fingerprint | None, live: LiveGateway) -> None:
    """Reloads the file when it changes, and on SIGHUP."""

    def load() -> Config:
        return load_config(path)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(watch, path, live, load, served=stamp))
        if hasattr(signal, "SIGHUP"):
            with anyio.open_signal_receiver(signal.SIGHUP) as signals:
                async for _ in signals:
                    await live.reload(load)


class _Server(uvicorn.Server):
    """Says what it waits for when it is to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        count = len(self.server_state.tasks)
        if count:
            err.print(
                f"stopping: {count} request{'s' if count != 1 else ''} in flight,"
                f" {DRAIN_SECONDS} seconds at most; Ctrl-C again cuts off"
            )
        await super().shutdown(sockets)


def _note_signals(server: uvicorn.Server) -> list[int]:
    """Makes both signals an orderly end; gives the list that they are noted in.

    uvicorn raises a signal again once it has drained. Without these handlers that would kill the
    process (SIGTERM) or cancel the closing of the gateway (SIGINT).
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return received


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


def bind(address: str, port: int) -> socket.socket:
    """Binds before anything is announced, so that a taken port is told at once.

    Raises:
        OSError: the address or the port cannot be had.
        ValueError: the address cannot be a host's name.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _refusal(address: str, config: Config, *, no_auth: bool) -> str | None:
    """Why the gateway must not listen there; None when it may."""
    keys = any(listener.api_keys for listener in config.listeners)
    if keys or no_auth or is_loopback(address):
        return None
    return (
        f"{address} can be reached from other machines, and no client key is set: anyone could"
        " spend your money. Set listeners[].api_keys, use --host 127.0.0.1, or say --no-auth"
    )
