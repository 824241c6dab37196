"""`consilience check`: every problem of a file at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..chat.codec import encode
from ..config import load_config
from ..config.root import Config
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
    out.print(
        f"{file}: ok ({_counted(len(config.model_names), 'model')}, {_decisions(config)},"
        f" {_counted(len(config.warnings), 'warning')})"
    )
    return OK


def _decisions(config: Config) -> str:
    """Counts the decisions of all profiles, and says how many of them recipes have."""
    in_recipes = sum(len(recipe.routing.decisions) for recipe in config.recipes)
    told = _counted(len(config.routing.decisions) + in_recipes, "decision")
    if not config.recipes:
        return told
    return f"{told}, {in_recipes} of them in {_counted(len(config.recipes), 'recipe')}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _print_json(*, ok: bool, problems: tuple[object, ...], warnings: tuple[object, ...]) -> None:
    body = {
        "ok": ok,
        "problems": [asdict(p) for p in problems],  # type: ignore[call-overload]  # Problem
        "warnings": [asdict(w) for w in warnings],  # type: ignore[call-overload]
    }
    out.print(encode(body).decode())
