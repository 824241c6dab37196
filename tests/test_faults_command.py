"""What `python -m benchmarks.faults` makes of the tests' names."""

from __future__ import annotations

import pytest
from benchmarks.faults import Score, place_of, table

from faults.table import CASES, ELSEWHERE, FAULTS, NO_SUCH_STORE

FOLDER = "tests/faults"


@pytest.mark.parametrize(
    ("test", "place"),
    [
        ("test_table.py::test_a_fault[F08-clean_end-panel-whole]", ("F08", "panel")),
        ("test_clients.py::test_F22_a_client_leaves[in-judge-stream]", ("F22", "judge")),
        ("test_random.py::test_F35_any_faults_at_once", ("F35", "all")),
        ("test_table.py::test_every_fault_has_its_place", None),
    ],
)
def test_a_test_s_name_gives_fault_and_stage(test: str, place: tuple[str, str] | None) -> None:
    assert place_of(f"{FOLDER}/{test}") == place


def test_every_case_is_counted_where_it_belongs() -> None:
    for case in CASES:
        assert place_of(f"x::test_a_fault[{case.id}]") == (case.fault.id, case.stage)


def test_a_fault_that_failed_once_is_not_survived() -> None:
    score = Score()
    for stage, passed in (("panel", True), ("panel", False), ("judge", True)):
        score.note(f"x[F01-refused-{stage}-whole]", passed=passed)
    score.note("x[F02-black_hole-panel-whole]", passed=True)
    assert (score.survived, score.played) == (["F02"], ["F01", "F02"])
    assert score.cell("F01", "panel") == "1/2"
    lines = list(table(score, {"F25": "elsewhere"}, {"F28": "no such store"}))
    assert "survived: 1 of 34 that apply; not applicable:" in lines
    assert "F25    not played here: elsewhere" in lines
    assert "F28    no such store" in lines


def test_what_cannot_happen_is_not_counted_as_survived() -> None:
    score = Score()
    for fault in (*(f.id for f in FAULTS), *ELSEWHERE):
        score.note(f"x::test_{fault}_something", passed=True)
    assert "survived: 33 of 33 that apply; not applicable:" in table(
        score, ELSEWHERE, NO_SUCH_STORE
    )
