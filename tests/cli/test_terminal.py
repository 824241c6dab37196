"""What `ask` shows where standard error is a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from support.command import environment

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def on_terminal(config: Path, home: Path, env: Mapping[str, str]) -> str:
    """Runs `ask` with a terminal as standard error; gives what the terminal was sent."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                shown.append(piece)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "consilience", "ask", "-c", config, "--trace", "hello"],
            cwd=home,
            env=environment(home, env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"says j\n")
    return b"".join(shown).decode()


def test_terminal_gets_a_table_in_place(config: Path, tmp_path: Path) -> None:
    shown = on_terminal(config, tmp_path, {"TERM": "xterm-256color", "COLUMNS": "80"})

    assert COLOUR.search(shown)
    assert "\x1b[?25l" in shown, "the cursor is hidden while the table is redrawn"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "and comes back"
    assert "panel 1" in shown
    assert "--- Analysis by j" in shown


def test_terminal_gets_no_colour_when_it_wants_none(config: Path, tmp_path: Path) -> None:
    shown = on_terminal(config, tmp_path, {"TERM": "xterm-256color", "NO_COLOR": "1"})

    assert not COLOUR.search(shown)
    assert "panel 1" in shown


def test_dumb_terminal_gets_plain_lines(config: Path, tmp_path: Path) -> None:
    shown = on_terminal(config, tmp_path, {"TERM": "dumb"})

    assert "\x1b" not in shown
    assert re.search(r"panel 1 +a +asking\r\n", shown)


def test_narrow_terminal_shows_every_row(config: Path, tmp_path: Path) -> None:
    shown = on_terminal(config, tmp_path, {"TERM": "xterm", "COLUMNS": "40"})

    assert all(who in shown for who in ("panel 1", "panel 2", "judge", "synthesis"))
