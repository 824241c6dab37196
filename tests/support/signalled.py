"""`consilience serve`, signalled by itself at the very moment at which it has told its address.

`python -m support.signalled TIMES SIGNALS FILE` serves the file that many times in one process, and
prints each exit code; `SIGNALS` are names with commas between them. No signal of another process
could come sooner. A reload that is done ends it, too.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from consilience.cli import main


class SignallingStream(io.TextIOBase):
    """Standard error that signals its own process once the address has been written to it, and
    has it stop once it has told of a reload."""

    def __init__(self, into: TextIO, numbers: Sequence[signal.Signals]) -> None:
        self._into = into
        self._numbers = numbers

    def write(self, text: str) -> int:
        written = self._into.write(text)
        self._into.flush()
        if "url  " in text:
            for number in self._numbers:
                os.kill(os.getpid(), number)
        if "config_reloaded" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return written


def _served(file: str) -> int | str | None:
    sys.argv = ["consilience", "serve", "-c", file, "--port", "0"]
    try:
        main()
    except SystemExit as exc:
        return exc.code
    return None


def _run(times: int, numbers: Sequence[signal.Signals], file: str) -> None:
    sys.stderr = SignallingStream(sys.stderr, numbers)
    for _ in range(times):
        # what an earlier turn had listened with must not save this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout.write(f"{_served(file)}\n")


if __name__ == "__main__":
    _run(int(sys.argv[1]), [signal.Signals[n] for n in sys.argv[2].split(",")], sys.argv[3])
