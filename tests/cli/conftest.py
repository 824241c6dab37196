"""Commands run where nothing is: an empty directory, no keys, no cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consilience.upstream.vendors import VENDORS
from support.chat_server import chat_server
from support.command import written
from support.live import fusion_yaml
from support.raw_server import RawServer, raw_server


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process look like a fresh machine, for commands that are run in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONSILIENCE_API_KEY", raising=False)
    for vendor in VENDORS:
        for name in (*vendor.key_names, vendor.base_url_name or "OPENAI_BASE_URL"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    """A server of the models `a`, `b` and `j`."""
    with raw_server(chat_server()) as server:
        yield server


@pytest.fixture
def config(upstream: RawServer, tmp_path: Path) -> Path:
    """A file whose models `upstream` serves, one panel call at a time."""
    return written(tmp_path, fusion_yaml(base_url=upstream.base_url, fusion="max_concurrent: 1"))
