from __future__ import annotations

import json
from pathlib import Path

from consilience.config.schema import config_schema
from support.command import invoke, run


def test_schema_is_printed_as_json_in_ascii(tmp_path: Path) -> None:
    result = run("config", "schema", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})

    assert (result.code, result.err) == (0, "")
    assert result.out.isascii()
    assert json.loads(result.out) == config_schema()


def test_help_tells_what_there_is() -> None:
    assert "JSON Schema" in invoke("config", "--help").out
    assert "for editors" in invoke("config", "schema", "--help").out
