"""F22: a client that leaves, in every stage: every connection is closed, and nobody is asked again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from support.client import eventually, pending
from support.raw_server import HANG, SSE_HEAD, Step, chunked, json_answer, piece

from .fault import STAGES, Stage
from .stand import Stand, plugin

HALF = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
STREAM: Sequence[Step] = [SSE_HEAD, chunked(piece("par")), HANG]
SILENT: dict[str, Sequence[Step]] = {
    "before the head": [HANG],
    "in the answer": [HALF, HANG],
    "while we wait to ask again": [json_answer({}, status=429, headers="retry-after: 2\r\n")],
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("moment", SILENT)
def test_F22_a_client_leaves(  # noqa: N802  # named after the fault
    stand: Stand, moment: str, stage: Stage, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    streamed = stream and stage in ("single", "synthesis")
    stand.play(STREAM if moment == "in the answer" and streamed else SILENT[moment], 1 << 30)
    fields: dict[str, Any] = {"plugins": [plugin(stage, "faulty")]} if stage != "single" else {}
    model = "faulty" if stage == "single" else "vllm-sr/fusion"
    asked = len(stand.server.requests)
    with pending(stand.url, model, stream=stream, **fields):
        before = {"single": 1, "panel": 2, "judge": 3, "synthesis": 4}[stage]
        assert stand.server.wait_for(lambda s: len(s.requests) - asked == before)
    assert stand.server.wait_for(lambda s: s.active == 0, 1.0)
    assert eventually(lambda: _statuses(caplog) == [499])
    assert len(stand.server.requests) - asked == before
    assert len(stand.calls) == 1


def _statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    lines = [r for r in list(caplog.records) if r.getMessage() == "request"]
    return [getattr(line, "fields", {})["status"] for line in lines]
