"""These tests run on a clock that jumps: no test waits, and none depends on the machine's speed."""

from __future__ import annotations

from typing import Any

import pytest

from support.virtual_time import VirtualTimeLoop


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}
