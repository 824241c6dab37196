"""Importing the package and starting a command call nobody, start nothing and write nothing.

Python tells its audit hooks of every socket, process and opened file, whoever asks for it: our own
code or a dependency's at import.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from support.client import eventually
from support.command import environment, written
from support.live import fusion_yaml

LISTENING = """\
import atexit, json, os, runpy, socket, sys
local = getattr(socket, "AF_UNIX", None)
seen = []

def note(event, arguments):
    if event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")):
        seen.append([event, repr(arguments)])
    elif event == "socket.__new__":
        # an event loop wakes itself through a pair of local sockets
        if arguments[1] != local:
            seen.append([event, str(int(arguments[1]))])
    elif event.startswith("socket."):
        seen.append([event, repr(arguments[1:])])
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        if arguments[2] & writes and os.fspath(arguments[0]) != os.devnull:
            seen.append([event, os.fsdecode(arguments[0])])

target = sys.argv.pop(1)

@atexit.register
def tell():
    told = list(seen)
    with open(target, "w") as file:
        json.dump(told, file)

sys.addaudithook(note)
sys.modules["uvloop"] = None  # its sockets are libuv's, of which no hook hears
"""
IMPORT_ALL = """\
import importlib, pkgutil, consilience
names = [m.name for m in pkgutil.walk_packages(consilience.__path__, "consilience.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert len(names) > 100
"""
COMMAND = 'sys.argv[0] = "consilience"\nrunpy.run_module("consilience", run_name="__main__")\n'


def env(home: Path) -> Mapping[str, str]:
    return environment(home, {"PYTHONDONTWRITEBYTECODE": "1"})


def heard(tmp_path: Path, code: str, *arguments: object) -> list[list[str]]:
    """Runs code; gives every call, process and written file, each with what it was about."""
    target = tmp_path / "heard.json"
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", LISTENING + code, str(target), *map(str, arguments)],
        cwd=tmp_path,
        env=env(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events: list[list[str]] = json.loads(target.read_text())
    return events


def test_importing_every_module_is_quiet(tmp_path: Path) -> None:
    assert heard(tmp_path, IMPORT_ALL) == []


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("serve", "--help")])
def test_asking_for_help_is_quiet(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert heard(tmp_path, COMMAND, *arguments) == []


def test_checking_a_configuration_is_quiet(tmp_path: Path) -> None:
    assert heard(tmp_path, COMMAND, "check", written(tmp_path, fusion_yaml())) == []


def test_serving_listens_and_calls_nobody(tmp_path: Path) -> None:
    target, path = tmp_path / "heard.json", written(tmp_path, fusion_yaml())
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-c", LISTENING + COMMAND, str(target), "serve", "-c", str(path)],
            cwd=tmp_path,
            env=env(tmp_path),
            stderr=stderr,
        )
        try:
            assert eventually(lambda: is_up(log.read_text()) or process.poll() is not None)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
    events = json.loads(target.read_text())

    assert [about for event, about in events if event == "socket.bind"] == ["(('127.0.0.1', 0),)"]
    assert {event for event, _ in events} <= {"socket.__new__", "socket.bind"}


def is_up(log: str) -> bool:
    """Whether the server whose log this is answers."""
    url = re.search(r"^url +(http://[^/]+)/v1$", log, re.MULTILINE)
    if url is None:
        return False
    with urlopen(f"{url[1]}/health", timeout=20) as response:  # noqa: S310  # our own server
        return bool(response.status == 200)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("socket.create_connection(('127.0.0.1', 9), 1)", "socket.connect"),
        ("socket.getaddrinfo('localhost', 80)", "socket.getaddrinfo"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("open('somewhere', 'w').close()", "open"),
    ],
)
def test_what_is_not_quiet_is_heard(tmp_path: Path, code: str, event: str) -> None:
    quietly = f"import contextlib\nwith contextlib.suppress(OSError): exec({code!r})\n"
    assert event in [name for name, _ in heard(tmp_path, quietly)]
