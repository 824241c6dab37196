"""How many faults the gateway survives: of its upstreams stage by stage, and of everything around it.

`python -m benchmarks.faults` plays `tests/faults` (needs the extra `dev`) against the real gateway:
the table of an upstream's faults, and the tests named after the others. Survived means: in every
stage, asked for whole and streamed, the client sees what the table says, no connection is left
open, and no more calls are made than allowed; and every test of that name passes. Ends with 1 when
one was not survived.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tests" / "faults"
FAULTS = 35
STAGES = ("single", "panel", "judge", "synthesis")
ALL = "all"
"""A test that mixes the stages."""
_ID = re.compile(r"(?:\[|test_)F(\d\d)\b|(?:\[|test_)F(\d\d)_")
_STAGE = re.compile(rf"-({'|'.join(STAGES)})-(?:whole|stream)\]\Z")


@dataclass(slots=True)
class Score:
    """What came of each test, by fault and stage."""

    passed: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def note(self, test: str, *, passed: bool) -> None:
        """Counts one test, if it is about a fault."""
        place = place_of(test)
        if place is not None:
            (self.passed if passed else self.failed)[place] += 1

    @property
    def played(self) -> list[str]:
        """The faults that were played, in order."""
        return sorted({fault for fault, _ in (*self.passed, *self.failed)})

    @property
    def survived(self) -> list[str]:
        """Those that did no more harm than the table says, in every stage."""
        return [f for f in self.played if not any(f == fault for fault, _ in self.failed)]

    def cell(self, fault: str, stage: str) -> str:
        """Gives `passed/all` of one fault in one stage; a dash where it cannot happen."""
        good, bad = self.passed.get((fault, stage), 0), self.failed.get((fault, stage), 0)
        return f"{good}/{good + bad}" if good + bad else "-"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes in what pytest tells its plugins."""
        if report.failed or (report.when == "call" and not report.skipped):
            self.note(report.nodeid, passed=report.passed)


def place_of(test: str) -> tuple[str, str] | None:
    """Gives the fault and the stage that a test's name speaks of; None when it is about none."""
    found = _ID.search(test)
    if found is None:
        return None
    stage = _STAGE.search(test)
    return f"F{found[1] or found[2]}", stage[1] if stage else ALL


def table(score: Score, elsewhere: Mapping[str, str], never: Mapping[str, str]) -> Iterable[str]:
    """Draws the table, the faults that have no row in it, and the sum.

    Args:
        score: what came of the tests.
        elsewhere: where the faults are played that are not upstream faults.
        never: faults that cannot happen here, and why; they do not count.
    """
    columns = (*STAGES, ALL)
    yield "fault  " + "".join(f"{name:>11}" for name in columns)
    for fault in score.played:
        yield f"{fault}    " + "".join(f"{score.cell(fault, name):>11}" for name in columns)
    for fault in sorted(elsewhere.keys() - set(score.played)):
        yield f"{fault}    not played here: {elsewhere[fault]}"
    for fault, why in sorted(never.items()):
        yield f"{fault}    {why}"
    cells = sum(score.passed.values()), sum(score.failed.values())
    yield f"survived: {len(score.survived)} of {FAULTS - len(never)} that apply; not applicable:"
    yield f"          {', '.join(sorted(never))} (no such store)"
    yield f"          {cells[0]}/{sum(cells)} cases of fault, stage and kind of request"


def main() -> int:
    """Plays everything and prints the table."""
    score, begun = Score(), time.monotonic()
    options = ["-qq", "--no-header", "--tb=short", "-p", "no:cacheprovider", str(FOLDER)]
    code = pytest.main(options, plugins=[score])
    # not before: pytest wants to be the first to import what it is to rewrite
    from faults.table import ELSEWHERE, NO_SUCH_STORE  # noqa: PLC0415

    print("\n".join(table(score, ELSEWHERE, NO_SUCH_STORE)))
    print(f"          in {time.monotonic() - begun:.0f} s")
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
