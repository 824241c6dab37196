"""Active checks: asking a backend at intervals whether it is well, off every request's path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field

import aiohttp
import anyio
from yarl import URL

from ..telemetry.log import log_failure
from .health import Health


@dataclass(frozen=True, slots=True)
class ActiveCheck:
    """What is asked of one backend, and who is told."""

    url: URL
    health: Health
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The backend's own, its key included; never shown."""
    interval_s: float = 10.0
    """Between the end of one check and the next."""
    timeout_s: float = 2.0


@asynccontextmanager
async def checking(
    checks: Sequence[ActiveCheck], session: aiohttp.ClientSession
) -> AsyncIterator[None]:
    """Runs the checks until it is left, then waits for their end; without checks nothing runs."""
    if not checks:
        yield
        return
    # A gateway is opened by one task and may be closed by another, which no task group survives.
    # It belongs to no request, so its log lines must not carry the id of the one that opened it.
    task = asyncio.create_task(  # noqa: TID251  # ended below
        _run_all(checks, session), context=Context()
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (failure := task.exception()) is not None:
            log_failure("active_checks_failed", failure)


async def _run_all(checks: Sequence[ActiveCheck], session: aiohttp.ClientSession) -> None:
    async with anyio.create_task_group() as group:
        for check in checks:
            group.start_soon(_run, check, session)


async def _run(check: ActiveCheck, session: aiohttp.ClientSession) -> None:
    while True:
        check.health.checked(await is_well(check, session), anyio.current_time())
        await anyio.sleep(check.interval_s)


async def is_well(check: ActiveCheck, session: aiohttp.ClientSession) -> bool:
    """Asks once; a 2xx in time is well, everything else is not. Redirects are not followed."""
    timeout = aiohttp.ClientTimeout(total=check.timeout_s)
    try:
        async with session.get(
            check.url, headers=check.headers, timeout=timeout, allow_redirects=False
        ) as response:
            well = 200 <= response.status < 300
            response.close()  # its body is of no interest, and may have no end
            return well
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False
