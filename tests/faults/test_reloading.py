"""F30: configurations that cannot be used, while the process serves: the old one goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from support.chat_server import chat_server
from support.client import ask, eventually, get
from support.command import Running
from support.raw_server import raw_server
from support.serving import serving

FUSION = "vllm-sr/fusion"
RELOADS = 100
BROKEN: dict[str, Callable[[str], str]] = {
    "bad YAML": lambda text: text + "  - [",
    "half written": lambda text: text[: text.index("analysis_models") + 8],
    "empty": lambda _: "",
    "not text": lambda _: "\x00\x01",
    "unknown key": lambda text: text.replace("backend_refs", "backend_ref"),
    "unknown model": lambda text: text.replace("[a, b]", "[a, nobody]"),
    "a slug in its own panel": lambda text: text.replace("[a, b]", f"[a, {FUSION}]"),
}


@contextmanager
def _traffic(url: str) -> Iterator[list[int]]:
    """Clients that ask without a pause while the block runs; the statuses they got."""
    got: list[int] = []
    done = Event()

    def keep_asking(number: int) -> None:
        while not done.is_set():
            model = ("a", FUSION)[number % 2]
            got.append(ask(url, model, stream=number % 4 > 1).status)

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(keep_asking, number) for number in range(4)]
        try:
            yield got
        finally:
            done.set()
        for client in clients:
            client.result()


def _reload(process: Running, url: str) -> dict[str, object]:
    """Has the process reload, and gives what `/health` says of it."""
    before = _told(process)
    process.signal(signal.SIGHUP)
    assert eventually(lambda: _told(process) > before)
    state = get(url, "/health").json["config"]
    assert isinstance(state, dict)
    return state


def _told(process: Running) -> int:
    """How many reloads, good or bad, the log tells of; several lines of one may count."""
    return process.err.count("config_reload")


@pytest.mark.parametrize("broken", BROKEN)
def test_F30_a_broken_configuration_changes_nothing(  # noqa: N802
    tmp_path: Path, broken: str
) -> None:
    with raw_server(chat_server()) as upstream, serving(tmp_path, upstream) as (process, url):
        file = tmp_path / "gateway.yaml"
        good = file.read_text()
        with _traffic(url) as got:
            file.write_text(BROKEN[broken](good))
            assert _reload(process, url)["last_reload"] == "failed"
            assert eventually(lambda: len(got) > 20)
            file.write_text(good + "# mended\n")
            assert eventually(lambda: _reload(process, url)["last_reload"] == "ok")
        assert set(got) == {200}


def test_F30_a_hundred_reloads_under_load_fail_nobody(tmp_path: Path) -> None:  # noqa: N802
    with raw_server(chat_server()) as upstream, serving(tmp_path, upstream) as (process, url):
        with _traffic(url) as got:
            for number in range(1, RELOADS + 1):
                process.signal(signal.SIGHUP)
                process.said(rf"config_reloaded [^\n]*reloads={number}\n")
        assert set(got) == {200}
        assert json.loads(get(url, "/health").body)["config"]["reloads"] == RELOADS
