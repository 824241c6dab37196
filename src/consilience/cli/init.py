"""`consilience init`: a commented configuration file from what is found here."""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from ..errors import ConsilienceError
from ..upstream.discovery import discover
from .console import err, out, report
from .exit_codes import FAILED, OK
from .setup import starter_text


def init(*, output: Path, force: bool) -> int:
    """Writes the file; gives the exit code."""
    to_stdout = str(output) == "-"
    if not to_stdout and output.exists() and not force:
        err.print(f"error: {output} exists; use --force to replace it, or -o for another name")
        return FAILED
    try:
        text = starter_text(anyio.run(discover, os.environ))
    except ConsilienceError as exc:
        return report(exc)
    if to_stdout:
        out.print(text, end="")
        return OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        err.print(f"error: cannot write {output}: {exc.strerror}")
        return FAILED
    err.print(f"wrote {output}\nnext: consilience check {output} && consilience serve -c {output}")
    return OK
