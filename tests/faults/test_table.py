"""Every fault of the table, in every stage, whole and streamed: what the client sees.

`python -m benchmarks.faults` runs this and prints how many were survived.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.client import Response

from .fault import STAGES, Case
from .stand import ANSWER, KEY, Stand
from .table import CASES, ELSEWHERE, FAULTS, NO_SUCH_STORE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_fault(stand: Stand, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    reply = stand.run(case)
    if case.stage == "single":
        _check_alone(case, reply)
    elif case.fault.committed:
        _check_broken(case, reply)
    else:
        _check_fused(case, reply)
    if case.fault.model == "faulty":
        assert len(stand.calls) == case.calls
    assert stand.server.wait_for(lambda s: s.active == 0), "a connection was left open"
    shown = reply.body.decode() + str(reply.headers) + str([vars(r) for r in caplog.records])
    assert KEY not in shown
    assert f"127.0.0.1:{stand.server.port}" not in reply.body.decode() + str(reply.headers)
    assert "internal_error" not in shown


def test_every_fault_has_its_place() -> None:
    places = [*{fault.id for fault in FAULTS}, *ELSEWHERE, *NO_SUCH_STORE]
    assert sorted(places) == [f"F{n:02}" for n in range(1, 36)]
    assert len({case.id for case in CASES}) == len(CASES)


def test_what_is_played_elsewhere_is_a_test_there() -> None:
    for fault, where in ELSEWHERE.items():
        file = where.rpartition(": ")[2]
        if file != "no test yet":
            assert f"def test_{fault}_" in Path(__file__).with_name(file).read_text()


def test_every_cell_is_a_case_or_says_why_it_cannot_be() -> None:
    for fault in FAULTS:
        for stage in STAGES:
            for stream in (False, True):
                steps = fault.steps(stage, stream=stream)
                assert not isinstance(steps, str) or len(steps) > 20


def _check_alone(case: Case, reply: Response) -> None:
    fault = case.fault
    if fault.committed:
        _check_broken(case, reply)
    elif fault.reason is None or not fault.alone:
        assert reply.status == 200
        assert _text(reply, stream=case.stream) == (ANSWER if fault.reason is None else "")
        assert not case.stream or reply.events[-1] == "[DONE]"
    else:
        assert (reply.status, reply.error["code"]) == (fault.status, fault.code)
        for name, value in fault.headers.items():
            assert reply.headers.get(name) == value


def _check_broken(case: Case, reply: Response) -> None:
    """A stream that breaks after its first word: an error event, and no end mark."""
    assert reply.status == 200
    *chunks, last = reply.events
    assert last["error"]["code"] == case.fault.code
    assert "[DONE]" not in chunks
    assert _said(chunks)


def _check_fused(case: Case, reply: Response) -> None:
    assert reply.status == 200
    trace = (reply.events[0] if case.stream else reply.json)["fusion"]
    degraded = reply.headers.get("x-vsr-degraded", "")
    text = _text(reply, stream=case.stream)
    assert text == ANSWER
    assert not case.stream or reply.events[-1] == "[DONE]"
    if case.reason is None:
        assert (degraded, "degraded" in trace) == ("", False)
    elif case.stage == "panel":
        assert degraded == f"panel={case.fault.model}: {case.reason}"
        assert [m["reason"] for m in trace["failed_models"]] == [case.reason]
    elif case.stage == "judge":
        assert degraded == f"judge={case.reason}"
    else:
        assert degraded == f"synthesis={case.reason}; synthesis=answered_by_panel"
    if case.stage != "synthesis" or case.reason is not None or not case.stream:
        _check_attempts(case, trace)


def _check_attempts(case: Case, trace: dict[str, list[dict[str, object]]]) -> None:
    """The trace counts every call. (A stream's first trace does not know of its own writer yet.)"""
    model = case.fault.model
    records = [s for s in trace["stages"] if (s["stage"], s["model"]) == (case.stage, model)]
    # the judge is asked anew without its schema: another call, not another attempt
    expected = 1 if case.calls != case.fault.calls else case.calls
    (record,) = records
    # one more may have gone over an idle connection that a case before had just closed: the server
    # has not seen it, and what it did see is counted exactly
    assert record.get("attempts", 1) in (expected, expected + 1)


def _text(reply: Response, *, stream: bool) -> str:
    if stream:
        return _said(reply.events)
    return reply.json["choices"][0]["message"].get("content") or ""


def _said(events: list[object]) -> str:
    chunks = [e for e in events if isinstance(e, dict) and e.get("choices")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
