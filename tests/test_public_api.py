"""The names that users of the library import."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import typing
from importlib.resources import files
from pathlib import Path

import pytest

import consilience
from consilience import cli
from support.command import environment

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", consilience.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(consilience, name) is not None


@pytest.mark.parametrize("name", consilience.__all__)
def test_public_name_is_documented(name: str) -> None:
    member = getattr(consilience, name)
    alternatives = typing.get_args(member) or (member,)

    assert all((each.__doc__ or "").strip() for each in alternatives)


def test_public_names_are_the_ones_that_are_told() -> None:
    assert sorted(consilience.__all__) == dir(consilience)
    assert set(consilience.__all__) == {
        "Begin",
        "Chunk",
        "Config",
        "ConfigError",
        "ConsilienceError",
        "Event",
        "Gateway",
        "Progress",
        "Reply",
        "Routed",
        "ScriptedReply",
        "ScriptedUpstream",
        "create_app",
        "load_config",
        "parse_config",
    }


def test_events_are_what_a_stream_may_give() -> None:
    assert set(typing.get_args(consilience.Event)) == {
        consilience.Routed,
        consilience.Progress,
        consilience.Begin,
        consilience.Chunk,
    }


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Gatway'"):
        consilience.Gatway  # noqa: B018


def test_star_import_gives_every_public_name() -> None:
    namespace: dict[str, object] = {}

    exec("from consilience import *", namespace)  # noqa: S102  # what users may write

    assert set(consilience.__all__) <= namespace.keys()


def test_import_of_the_package_loads_nothing_of_it(tmp_path: Path) -> None:
    script = (
        "import sys, consilience\n"
        "print([m for m in sys.modules if m.startswith('consilience.') or m == 'aiohttp'])"
    )
    done = subprocess.run(  # noqa: S603  # a script of ours
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"


def test_package_is_typed() -> None:
    assert files("consilience").joinpath("py.typed").is_file()


def test_installed_command_is_the_command_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["scripts"] == {"consilience": "consilience.cli:main"}
    assert callable(cli.main)
