from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from support.command import environment, invoke, run

COMMANDS = ("serve", "ask", "check", "config", "init", "doctor", "models")
HEAVY = ("aiohttp", "starlette", "uvicorn", "pydantic", "rich", "ruamel", "orjson")


def test_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    result = run("--help", cwd=tmp_path)

    assert result.code == 0
    assert "Usage: consilience" in result.out
    assert [c for c in COMMANDS if f"\n  {c} " not in result.out] == []
    assert "130 interrupted" in result.out


def test_help_loads_no_http_stack(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from consilience.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")

    assert result.code == 0
    assert f"{command} [OPTIONS]" in result.out


def test_version_is_the_distributions() -> None:
    assert invoke("--version").out == f"consilience {version('consilience')}\n"


def test_unknown_command_is_wrong_usage(tmp_path: Path) -> None:
    result = run("serv", cwd=tmp_path)

    assert (result.code, result.out) == (2, "")
    assert "No such command 'serv'" in result.err
