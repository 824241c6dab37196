"""F35: faults of the table at random, many at once; F31: while the clock on the wall jumps."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.client import ask
from support.raw_server import Received, Step

from .fault import STAGES, Case, Stage
from .stand import Stand, fault_stand, plugin
from .table import CASES, FAULTS

QUICK = ("F05", "F06", "F07", "F08", "F12", "F13", "F14", "F15", "F16", "F17", "F18", "F20")
STATUSES = {200, 400, 404, 413, 422, 429, 502, 504}


@pytest.fixture
def patient() -> Iterator[Stand]:
    """A stand for many requests at once."""
    with fault_stand(patience=15) as running:
        yield running


def test_F35_any_faults_at_once(  # noqa: N802  # named after the fault
    patient: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(35)  # noqa: S311  # repeatable on purpose
    faults = [fault for fault in FAULTS if fault.id in QUICK]

    def script(request: Received) -> Iterable[Step]:
        stream = bool(request.json.get("stream"))
        fault = draw.choice(faults)
        steps = fault.streamed if stream else fault.whole
        fails = request.json["model"] == "faulty" and draw.random() < 0.7
        return steps if fails and not isinstance(steps, str) else good(request)

    def one(number: int) -> None:
        stage: Stage = STAGES[number % 4]
        fields: dict[str, Any] = {"plugins": [plugin(stage, "faulty")]} if stage != "single" else {}
        model = "faulty" if stage == "single" else "vllm-sr/fusion"
        reply = ask(patient.url, model, stream=number % 8 >= 4, **fields)
        assert reply.status in STATUSES
        assert b"internal_error" not in reply.body
        if stage in ("panel", "judge"):
            assert reply.status == 200

    patient.play((), 0)
    good = patient.script
    monkeypatch.setattr(Stand, "script", lambda _, request: script(request))
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(one, number) for number in range(240)]:
            done.result(60)
    assert patient.server.wait_for(lambda s: s.active == 0)
    monkeypatch.undo()
    assert ask(patient.url, "good").status == 200


def _sample() -> list[Case]:
    """One case a stage and kind of request, of a fault that is waited for and one that is not."""
    wanted = ("F09-silence", "F12-short_wait_once", "F19-CRLF")
    return [case for case in CASES if case.id.startswith(wanted)]


@pytest.mark.parametrize("case", _sample(), ids=lambda case: case.id)
def test_F31_the_clock_on_the_wall_jumps(  # noqa: N802  # named after the fault
    stand: Stand, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    true_time = time.time  # noqa: TID251  # it is this clock that jumps

    def jumping() -> float:
        nonlocal calls
        calls += 1
        return true_time() + (3600 if calls % 2 else -3600)

    monkeypatch.setattr(time, "time", jumping)
    begun = time.monotonic()
    reply = stand.run(case)
    assert time.monotonic() - begun < 60
    harmless = case.reason is None or case.stage != "single"
    assert reply.status == (200 if harmless else case.fault.status)
