"""Commands without a file, on a machine where there is no key and no model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from consilience.cli.setup import starter_text
from consilience.errors import ConfigError
from consilience.upstream.discovery import Found
from support.command import invoke


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking around finds nothing, whatever runs on the machine of the tests."""

    async def nothing(environ: object) -> Found:
        return Found()

    for module in ("init", "setup"):
        home = import_module(f"consilience.cli.{module}")
        monkeypatch.setattr(home, "discover", nothing)


@pytest.mark.parametrize("command", [("serve", "--port", 0), ("ask", "hi"), ("init",)])
def test_command_says_what_would_help(command: tuple[object, ...]) -> None:
    result = invoke(*command)

    assert (result.code, result.out) == (1, "")
    assert "no API key is set, no model server answers on this machine" in result.err
    assert "set OPENAI_API_KEY" in result.err
    assert "consilience models pull" in result.err
    assert not Path("consilience.yaml").exists()


def test_doctor_says_what_would_help() -> None:
    result = invoke("doctor")

    assert result.code == 1
    assert "x   configuration: no configuration file and no model" in result.out
    assert "-> set OPENAI_API_KEY" in result.out


def test_starter_text_repeats_why_a_key_was_of_no_use() -> None:
    with pytest.raises(ConfigError) as caught:
        starter_text(Found(notes=("openai: refused the key in OPENAI_API_KEY (401)",)))

    assert "refused the key in OPENAI_API_KEY" in caught.value.message
    assert "no API key is set" not in caught.value.message
