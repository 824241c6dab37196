"""The routes of the application."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from ..live import LiveGateway
from .chat import ChatEndpoint
from .eval import EvalEndpoint
from .metrics import MetricsEndpoint
from .middleware import METRICS_PATH
from .models import Inventory, Process
from .openapi import openapi_document


def build_router(live: LiveGateway, version: str, process: Process) -> Router:
    """Gives the application without its edge (`middleware.Edge`)."""
    gateway = live.current
    inventory = Inventory(live, version, process)
    document = openapi_document(version)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document)

    return Router(
        [
            Route("/v1/chat/completions", ChatEndpoint(gateway, process.drain), methods=["POST"]),
            Route("/v1/models", inventory.models, methods=["GET"]),
            Route("/v1/models/{name:path}", inventory.model, methods=["GET"]),
            Route("/api/v1/eval", EvalEndpoint(gateway, process.drain), methods=["POST"]),
            Route("/health", inventory.health, methods=["GET"]),
            Route("/ready", inventory.ready, methods=["GET"]),
            Route(METRICS_PATH, MetricsEndpoint(live, version).answer, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        redirect_slashes=False,
    )
