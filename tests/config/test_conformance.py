"""Files that users bring from the reference must load, each ignored key a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from consilience.config import load_config

FILES = (
    "reference-config.yaml",
    "recipes/accuracy/config.yaml",
    "recipes/balance/config.yaml",
    "recipes/privacy/config.yaml",
)


def conformance() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        found = parent / "shared" / "conformance"
        if found.is_dir():
            return found
    return None


@pytest.mark.parametrize("name", FILES)
def test_file_loads_with_warnings_only_when_no_variable_is_set(name: str) -> None:
    folder = conformance()
    if folder is None:
        pytest.skip("the conformance files are not beside this checkout")

    config = load_config(folder / name, environ={})

    assert config.providers.models
    assert config.routing.decisions
    assert config.warnings
    assert all(warning.line and warning.path and warning.message for warning in config.warnings)
    once = [w for w in config.warnings if "`reliability`" in w.message]
    assert len(once) <= 1
