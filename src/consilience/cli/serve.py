"""`consilience serve`: the gateway as a server."""

from __future__ import annotations

import logging
import socket
import sys
from functools import partial
from pathlib import Path

import anyio

from ..config.root import Config, is_loopback
from ..errors import ConsilienceError
from ..keys.store import KeyStore, is_there
from ..limits.guard import store_of
from ..live import Bound
from .console import err, report
from .exit_codes import FAILED, USAGE
from .introduction import introduce
from .server import BACKLOG
from .setup import FoundConfig, find_config
from .worker import Logs, Plan, run_here, work

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
    workers: int,
    no_auth: bool,
    log_format: str,
    log_level: str,
) -> int:
    """Serves until interrupted; gives the exit code."""
    logs = Logs(as_json=log_format == "json", level=_LEVELS[log_level])
    logs.begin()
    try:
        found = anyio.run(find_config, config)
    except ConsilienceError as exc:
        return report(exc)
    listener = found.config.listeners[0]
    address = host or listener.address
    try:
        refusal = _refusal(address, found.config, no_auth=no_auth)
    except ConsilienceError as exc:
        return report(exc)
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
    place = Bound(None if host else address, wanted if port is None else None)
    with bound:
        if workers > 1:
            plan = Plan(
                found.path, found.text, found.config.source, found.notes, logs, place, no_auth
            )
            return _with_workers(workers, found, bound, plan)
        try:
            return run_here(found, bound, place, no_auth=no_auth)
        except ConsilienceError as exc:
            return report(exc)


def _with_workers(count: int, found: FoundConfig, bound: socket.socket, plan: Plan) -> int:
    if sys.platform == "win32":
        err.print("error: --workers needs a system on which processes can share a socket")
        return USAGE
    from .counting import counted_together
    from .workers import Workers

    bound.listen(BACKLOG)
    where = bound.getsockname()[:2]
    with counted_together() as uncount:
        return Workers(
            count,
            target=partial(work, plan),
            bound=bound,
            shutdown_s=found.config.global_.gateway.shutdown_seconds,
            announce=lambda: anyio.run(introduce, found, where),
            buried=uncount,
        ).run()


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
    """Why the gateway must not listen there; None when it may.

    Raises:
        KeyStoreError: there may be virtual keys, but they cannot be read.
    """
    keys = any(listener.api_keys for listener in config.listeners)
    if keys or no_auth or is_loopback(address) or _has_virtual_keys(store_of(config)):
        return None
    return (
        f"{address} can be reached from other machines, and no client key is set: anyone could"
        " spend your money. Make one (consilience keys create NAME) or set listeners[].api_keys,"
        " use --host 127.0.0.1, or say --no-auth"
    )


def _has_virtual_keys(path: Path) -> bool:
    if not is_there(path):
        return False
    with KeyStore(path) as store:
        return bool(store.records())
