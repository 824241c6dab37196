"""`consilience check`: every problem of a file at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..chat.codec import encode
from ..config import load_config
from ..errors import ConfigError
from .console import out, report, warn
from .exit_codes import FAILED, OK


def check(*, file: Path, as_json: bool) -> int:
    """Checks a file; gives 0 when it can be used, 1 when not."""
    try:
        config = load_config(file)
    except ConfigError as exc:
        if as_json:
            _print_json(ok=False, problems=exc.problems, warnings=exc.warnings)
            return FAILED
        return report(exc)
    if as_json:
        _print_json(ok=True, problems=(), warnings=config.warnings)
        return OK
    warn(config, file.read_text(encoding="utf-8-sig"))
    decisions = len(config.routing.decisions)
    models = len(config.model_names)
    out.print(
        f"{file}: ok ({models} model{'s' if models != 1 else ''},"
        f" {decisions} decision{'s' if decisions != 1 else ''},"
        f" {len(config.warnings)} warning{'s' if len(config.warnings) != 1 else ''})"
    )
    return OK


def _print_json(*, ok: bool, problems: tuple[object, ...], warnings: tuple[object, ...]) -> None:
    body = {
        "ok": ok,
        "problems": [asdict(p) for p in problems],  # type: ignore[call-overload]  # Problem
        "warnings": [asdict(w) for w in warnings],  # type: ignore[call-overload]
    }
    out.print(encode(body).decode())
