"""`consilience serve`: the gateway as a server."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import uvicorn

from ..app import app_of
from ..config import load_config
from ..config.root import Config, is_loopback
from ..errors import ConsilienceError
from ..gateway import Gateway
from ..http.drain import Drain
from ..http.models import Process
from ..http.protocol import ClientBounds, guarded
from ..live import Fingerprint, LiveGateway, watch
from ..telemetry.log import configure
from .console import err, report
from .exit_codes import FAILED, USAGE
from .introduction import introduce
from .server import Server, Stop, listen_to_signals
from .setup import FoundConfig, find_config

if sys.platform != "win32":
    import resource

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
    _adopt_log_of_uvicorn()
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
        drain = Drain()
        stop = Stop(drain)
        bounds = ClientBounds.of(found.config.global_.gateway, most=raise_file_limit() // 2)
        config = uvicorn.Config(
            app_of(live, Process(drain)),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            http=guarded(bounds, drain),
            ws="none",
        )
        server = Server(config, live, drain, stop=stop)
        listen_to_signals(stop)
        async with anyio.create_task_group() as group:
            if found.path is not None:
                group.start_soon(_keep_up, found.path, found.stamp, live)
            await server.serve(sockets=[bound])
            group.cancel_scope.cancel()
    return stop.exit_code


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


def _adopt_log_of_uvicorn() -> None:
    """Has uvicorn's warnings written like our own events."""
    log = logging.getLogger("uvicorn")
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


def raise_file_limit() -> int:
    """Lets the process have as many open files, sockets included, as it may; gives how many."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        with suppress(OSError, ValueError):  # some systems have a lower limit that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if allowed == resource.RLIM_INFINITY else allowed


def _refusal(address: str, config: Config, *, no_auth: bool) -> str | None:
    """Why the gateway must not listen there; None when it may."""
    keys = any(listener.api_keys for listener in config.listeners)
    if keys or no_auth or is_loopback(address):
        return None
    return (
        f"{address} can be reached from other machines, and no client key is set: anyone could"
        " spend your money. Set listeners[].api_keys, use --host 127.0.0.1, or say --no-auth"
    )
