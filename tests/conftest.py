"""Shared fixtures. Fakes stand at seams: a scripted upstream, a raw loopback server, a real one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# how long anything takes is for `benchmarks/`: a busy machine must not fail a property
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI looks at one commit once, and must say the same each time; other examples are drawn elsewhere
settings.register_profile("repeatable", settings.get_profile("untimed"), derandomize=True)
settings.load_profile("repeatable" if os.environ.get("CI") else "untimed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Every async test runs on asyncio, which is what the gateway runs on."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the keys of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSILIENCE_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def own_logger() -> Iterator[None]:
    """Leaves the package's logger as it was: `configure` binds it to the current stderr."""
    logger = logging.getLogger("consilience")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
