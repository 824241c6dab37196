"""The composition root: a configuration becomes an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from starlette.types import ASGIApp

from .config.root import Config
from .gateway import Gateway
from .http.middleware import Edge
from .http.models import Process
from .http.routes import build_router
from .live import LiveGateway
from .telemetry.metrics import note_served
from .upstream.base import Upstream


def create_app(config: Config, *, upstream: Upstream | None = None) -> ASGIApp:
    """Gives the gateway as an ASGI application; its lifespan opens and closes the gateway.

    Args:
        config: from `load_config`.
        upstream: serves every configured model in place of its backends, for tests.
    """
    return app_of(Gateway(config, upstream=upstream))


def app_of(gateway: Gateway | LiveGateway, process: Process | None = None) -> ASGIApp:
    """Gives an existing gateway as an ASGI application; its lifespan opens it (once) and closes it.

    For who opens the gateway first, to learn what is missing before a server starts, and then
    serves it with the server's lifespan switched off.

    Args:
        gateway: what answers.
        process: tells of the process around it, and when it is to end.
    """
    live = gateway if isinstance(gateway, LiveGateway) else LiveGateway(gateway)
    router = build_router(live, _version(), process or Process())

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with gateway:
            note_served()
            yield

    router.lifespan_context = lifespan
    return Edge(router, lambda: live.current().guard)


def _version() -> str:
    try:
        return version("consilience")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
