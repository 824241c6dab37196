"""The command line: as a process of its own, or in this one where a process would add nothing.

Every run is checked for what must never be seen: a traceback.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

import consilience
from consilience.cli import app
from support.client import eventually

_SOURCES = str(Path(consilience.__file__).parents[1])
_SECONDS = 60


class Result(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


def invoke(*arguments: object, stdin: bytes | None = None) -> Result:
    """Runs a command in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return _checked(Result(result.exit_code, result.stdout, result.stderr))


def run(
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """Runs a command as a process, in an environment without keys."""
    return run_module("consilience", *arguments, cwd=cwd, env=env, stdin=stdin)


def run_module(
    module: str,
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """`run`, of any module that does something with the command line."""
    done = subprocess.run(  # noqa: S603  # our own modules
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd, env),
        input=stdin,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    return _checked(Result(done.returncode, done.stdout.decode(), done.stderr.decode()))


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which nothing is found: no key, no settings, an empty cache."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": _SOURCES,
        "HOME": str(home),
        "CONSILIENCE_CACHE": str(home / "cache"),
        **(more or {}),
    }


def written(directory: Path, text: str) -> Path:
    """Writes a configuration file and gives its path."""
    path = directory / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(slots=True)
class Running:
    """A command at work."""

    process: subprocess.Popen[bytes]
    _said: list[str] = field(default_factory=list)

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return "".join(self._said)

    def said(self, pattern: str) -> re.Match[str]:
        """Waits until standard error has something that matches."""
        eventually(lambda: re.search(pattern, self.err) or self.ended, _SECONDS)
        match = re.search(pattern, self.err)
        assert match, f"no {pattern!r} in: {self.err}"
        return match

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end; gives the exit code."""
        return self.process.wait(_SECONDS)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.append(line.decode())


_HEARING_INTERRUPTS = """\
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("consilience", run_name="__main__", alter_sys=True)
"""
"""A test run in the background of a script ignores SIGINT, and so would its children."""


@contextmanager
def started(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, first: str = ""
) -> Iterator[Running]:
    """Starts a command as a process; kills it at the end if it is still there.

    Args:
        arguments: of the command.
        cwd: where it runs.
        env: more of its environment.
        first: Python that the process runs before anything else.
    """
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-c", f"{first}\n{_HEARING_INTERRUPTS}", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    running = Running(process)
    reader = threading.Thread(target=running.listen)
    reader.start()
    try:
        yield running
    finally:
        if not running.ended:
            process.kill()
        process.wait(_SECONDS)
        reader.join(_SECONDS)
        assert process.stderr is not None
        process.stderr.close()
    assert "Traceback" not in running.err, running.err


def _checked(result: Result) -> Result:
    assert "Traceback" not in result.out + result.err, result.err
    return result
