"""What the commands print: data on standard output, everything for people on standard error."""

from __future__ import annotations

import io
import re
import sys

from rich.console import Console

from ..config.report import render_problems
from ..config.root import Config
from ..errors import ConfigError, ConsilienceError
from .exit_codes import exit_code

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
piped = Console(highlight=False, soft_wrap=True, markup=False, emoji=False, width=10_000)
"""Standard output for tables that programs read: a line is never broken."""
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def use_any_encoding() -> None:
    """Lets both outputs take every text: what their encoding cannot say is written escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def plain(text: str) -> str:
    """Takes from a model's text what a terminal would act on: escape sequences and their like."""
    return _CONTROL.sub("", text)


def warn(config: Config, text: str) -> None:
    """Prints what a configuration names and the gateway does not act on.

    Args:
        config: what was loaded.
        text: its document, for the lines shown.
    """
    if config.warnings:
        source = f"warning: {config.source}"
        err.print(plain(render_problems(config.warnings, text=text, source=source)) + "\n")


def report(exc: ConsilienceError) -> int:
    """Prints an error and gives its exit code."""
    if isinstance(exc, ConfigError):
        err.print(plain(render_problems(exc.problems, text=exc.text, source=exc.source)))
        count = len(exc.problems)
        err.print(f"\n{count} problem{'s' if count != 1 else ''}; nothing was started.")
    else:
        err.print(f"error: {plain(exc.sentence)}")
    return exit_code(exc)
