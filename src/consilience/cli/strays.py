"""Commands that say where an argument belongs that they do not take."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_ENDINGS = (".yaml", ".yml")


class ReadsConfig(TyperCommand):
    """A command with `--config`: a file without it is told of, as is a prompt without quotes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses, and ends with a usage error that names the option when arguments are left."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            ctx.fail(_told(self.name or "", ctx.args))
        return rest


def _told(command: str, strays: list[str]) -> str:
    file = next((each for each in strays if each.lower().endswith(_ENDINGS)), None)
    message = f"unexpected: {' '.join(strays)[:200]}"
    if file is not None:
        return f"{message}\nA configuration file is named with -c: consilience {command} -c {file}"
    return message if command == "serve" else f"{message}\nPut the prompt in quotes."
