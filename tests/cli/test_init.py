from __future__ import annotations

import os
from pathlib import Path

import pytest

from consilience.config import load_config, parse_config
from support.command import invoke, run
from support.raw_server import RawServer

CLOSED = "http://127.0.0.1:9/v1"
KEY = "sk-canary-0123456789"


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose vendor cannot be reached."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", CLOSED)


def test_init_writes_a_file_that_check_accepts(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": CLOSED}

    result = run("init", cwd=tmp_path, env=env)

    assert (result.code, result.out) == (0, "")
    assert "next: consilience check consilience.yaml" in result.err
    assert run("check", "consilience.yaml", cwd=tmp_path, env=env).code == 0
    assert KEY not in (tmp_path / "consilience.yaml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("vendor")
def test_init_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "consilience.yaml"
    path.write_text("mine", encoding="utf-8")

    result = invoke("init")

    assert result.code == 1
    assert "consilience.yaml exists; use --force" in result.err
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("vendor")
def test_init_replaces_a_file_when_forced(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine", encoding="utf-8")

    assert invoke("init", "-o", path, "--force").code == 0
    assert load_config(path, environ=os.environ).model_names


@pytest.mark.usefixtures("vendor")
def test_init_writes_to_standard_output() -> None:
    result = invoke("init", "-o", "-")

    assert (result.code, result.err) == (0, "")
    assert parse_config(result.out, environ=os.environ).model_names
    assert not Path("consilience.yaml").exists()


def test_init_names_models_that_the_vendor_lists(
    upstream: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)

    result = invoke("init", "-o", "-")

    assert "gpt-" in result.out
    assert upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("output", ["missing/consilience.yaml", "."])
def test_init_says_why_it_cannot_write(output: str) -> None:
    result = invoke("init", "--force", "-o", output)

    assert result.code == 1
    assert "error: cannot write" in result.err
