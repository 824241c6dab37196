"""One gateway and one set of models for all clients; each test starts with the common script."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from consilience.config import parse_config

from .live_gateway import LiveGateway
from .model_server import ModelServer
from .scenario import CONFIG, SCRIPT

_STRAY = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "LLM_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    """The models behind the gateway."""
    with ModelServer(SCRIPT) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(models: ModelServer) -> Iterator[LiveGateway]:
    """A gateway as it comes: the status stays open until the first token."""
    config = parse_config(CONFIG.format(port=models.port, stream_start_seconds=5))
    with LiveGateway(config) as live:
        yield live


@pytest.fixture(scope="session")
def eager_gateway(models: ModelServer) -> Iterator[LiveGateway]:
    """A gateway that opens every stream at once, with a comment, before anything is known."""
    config = parse_config(CONFIG.format(port=models.port, stream_start_seconds=0))
    with LiveGateway(config) as live:
        yield live


@pytest.fixture(autouse=True)
def _fresh(models: ModelServer, gateway: LiveGateway, eager_gateway: LiveGateway) -> None:
    models.reset()
    gateway.reset()
    eager_gateway.reset()


@pytest.fixture(autouse=True)
def _no_stray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the machine's own keys and proxies away from the clients."""
    for name in list(os.environ):
        if name.upper().startswith(_STRAY):
            monkeypatch.delenv(name)
