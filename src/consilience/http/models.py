"""`GET /v1/models`, `/v1/models/{id}`, `/health`, `/ready`: what there is and whether it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import UnknownModelError
from ..keys.records import current_key
from ..live import LiveGateway
from ..router import ModelEntry
from .drain import Drain

OWNER = "consilience"


@dataclass(frozen=True, slots=True)
class Process:
    """What the endpoints tell of the process they run in."""

    drain: Drain = field(default_factory=Drain)
    worker: int | None = None
    """Which of several workers it is, from 1; None: the only one."""


class Inventory:
    """The endpoints that tell about the gateway itself."""

    def __init__(self, live: LiveGateway, version: str, process: Process) -> None:
        self._live = live
        self._gateway = live.current
        self._version = version
        self._process = process

    async def models(self, request: Request) -> Response:
        """Lists the names that a request may use; of those its key may, if it has one.

        A key that names models is shown those, whatever the configuration lists for others.
        """
        key = current_key.get()
        chosen = key is not None and key.limits.models is not None
        entries = [e for e in self._gateway().router.models(everything=chosen) if _may_see(e)]
        return JSONResponse({"object": "list", "data": [model_body(e) for e in entries]})

    async def model(self, request: Request) -> Response:
        """Gives one of them, configured models included.

        Raises:
            UnknownModelError: there is none of that name.
        """
        name = request.path_params["name"]
        for entry in self._gateway().router.models(everything=True):
            if entry.id == name and _may_see(entry):
                return JSONResponse(model_body(entry))
        raise UnknownModelError(f"there is no model {name[:100]!r} here", param="model")

    async def health(self, request: Request) -> Response:
        """Says that the process runs, how well, and whether it serves the newest configuration."""
        troubles = self._gateway().guard.troubles
        ok = "degraded" if troubles else "ok"
        body: dict[str, Any] = {
            "status": "stopping" if self._process.drain.stopping else ok,
            "version": self._version,
            "config": self._live.state.as_body(),
        }
        if troubles:
            body["reasons"] = troubles
        if self._process.worker is not None:
            body["worker"] = self._process.worker
        return JSONResponse(body)

    async def ready(self, request: Request) -> Response:
        """Says whether requests can be served: 200, or 503 while starting or stopping."""
        stopping = self._process.drain.stopping
        ready = self._gateway().ready and not stopping
        status = "ready" if ready else "stopping" if stopping else "starting"
        return JSONResponse({"status": status}, status_code=200 if ready else 503)


def _may_see(entry: ModelEntry) -> bool:
    key = current_key.get()
    return key is None or key.may_use(entry.id)


def model_body(entry: ModelEntry) -> dict[str, Any]:
    """One entry of the list, in OpenAI's shape with the reference's `routing` object."""
    virtual = entry.kind in ("auto", "fusion", "entrypoint")
    body: dict[str, Any] = {
        "id": entry.id,
        "object": "model",
        "created": 0,
        "owned_by": OWNER if virtual else "upstream-endpoint",
        "description": entry.description,
        "context_window": entry.context_window,
        "capabilities": list(entry.capabilities),
        "routing": {
            "resolution": "virtual" if virtual else "passthrough",
            "selectable": virtual,
        },
    }
    if entry.kind == "auto":
        body["routing"]["default_route"] = True
    if entry.recipe is not None:
        body["routing"]["recipe"] = entry.recipe
    return body
