"""One gateway for all tests that only look at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consilience.upstream.scripted import ScriptedUpstream
from support.live import fusion_yaml, live_gateway
from support.scripts import fusion_script


@pytest.fixture(scope="session")
def gateway_url() -> Iterator[str]:
    """A gateway with models `a`, `b`, `j` and a Fusion decision, and small limits."""
    config = fusion_yaml(gateway="max_request_bytes_mb: 1, max_messages: 50")
    with live_gateway(config, ScriptedUpstream(fusion_script())) as url:
        yield url
