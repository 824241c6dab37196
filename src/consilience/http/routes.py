"""The routes of the application."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from ..gateway import Gateway
from .chat import ChatEndpoint
from .models import Inventory
from .openapi import openapi_document


def build_router(gateway: Callable[[], Gateway], version: str) -> Router:
    """Gives the application without its edge (`middleware.Edge`)."""
    inventory = Inventory(gateway, version)
    document = openapi_document(version)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document)

    return Router(
        [
            Route("/v1/chat/completions", ChatEndpoint(gateway), methods=["POST"]),
            Route("/v1/models", inventory.models, methods=["GET"]),
            Route("/v1/models/{name:path}", inventory.model, methods=["GET"]),
            Route("/health", inventory.health, methods=["GET"]),
            Route("/ready", inventory.ready, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        redirect_slashes=False,
    )
