"""`consilience config schema`: the configuration file's JSON Schema, for editors."""

from __future__ import annotations

import json

from ..config.schema import config_schema
from .console import out
from .exit_codes import OK


def schema() -> int:
    """Prints the schema, in ASCII and the same each time; gives the exit code."""
    out.print(json.dumps(config_schema(), indent=2))
    return OK
