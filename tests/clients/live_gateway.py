"""The gateway on a real port, served by uvicorn from a thread of the test process."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from consilience.app import create_app
from consilience.config import Config

START_S = 20.0
POLL_S = 0.1


class LiveGateway:
    """A gateway that clients reach under `url`; counts the requests they make."""

    def __init__(self, config: Config) -> None:
        """
        Args:
            config: what to serve. Its listener's address is not used.
        """
        self.requests = 0
        """Chat requests since the last `reset`: more than one for a call means that it retried."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = _Server(
            uvicorn.Config(
                self._counted(create_app(config)),
                lifespan="on",
                log_config=None,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    @property
    def url(self) -> str:
        """What clients call the base URL."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def reset(self) -> None:
        """Begins to count anew."""
        self.requests = 0

    def __enter__(self) -> Self:
        self._thread.start()
        waited = 0.0
        while not self._server.up.wait(POLL_S):
            waited += POLL_S
            if waited > START_S or not self._thread.is_alive():
                self._stop()
                raise RuntimeError("the gateway did not start; the captured log says why")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _counted(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("path") == "/v1/chat/completions":
                self.requests += 1
            await app(scope, receive, send)

        return counted


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.up.set()
