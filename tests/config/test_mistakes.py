"""Each file in `mistakes/` beside the whole report that it must give.

To accept a changed wording: `CONSILIENCE_ACCEPT_GOLDEN=1 pytest tests/config/test_mistakes.py`,
then read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from consilience.config import parse_config, render_problems
from consilience.errors import ConfigError

MISTAKES = sorted((Path(__file__).parent / "mistakes").glob("*.yaml"))
CANARY = "canary-4711"
ENVIRON = {"CANARY_VARIABLE": CANARY}
JARGON = re.compile(
    r"Input should|validation error|type=|pydantic|Traceback|NoneType|(?<!\bon)_error\b"
)


def report(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source=file.name, environ=ENVIRON, base_dir=file.parent)
    return render_problems(caught.value.problems, text=text, source=file.name) + "\n"


@pytest.mark.parametrize("file", MISTAKES, ids=lambda file: file.stem)
def test_report_is_the_golden_one_when_a_file_has_a_mistake(file: Path) -> None:
    golden = file.with_suffix(".txt")
    found = report(file)

    if os.environ.get("CONSILIENCE_ACCEPT_GOLDEN"):
        golden.write_text(found, encoding="utf-8")

    assert found == golden.read_text(encoding="utf-8")
    assert not JARGON.search(found)
    assert CANARY not in found


def test_there_are_at_least_forty_five_mistakes() -> None:
    assert len(MISTAKES) >= 45
