"""Words of a fixed set that may be written in any letter case, as a pydantic validator."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema


def in_any_case(*words: str) -> BeforeValidator:
    """Gives a validator that writes a word as it stands here; anything else is left as it is.

    The field's own type says which words there are; editors are told that letter case is free.
    """
    as_written = {word.casefold(): word for word in words}

    def spelled(value: object) -> object:
        return as_written.get(value.casefold(), value) if isinstance(value, str) else value

    letters = ("".join(f"[{c.upper()}{c.lower()}]" for c in word) for word in words)
    free = {"type": "string", "pattern": f"^(?:{'|'.join(letters)})$"}
    accepted = {"anyOf": [{"type": "string", "enum": list(words)}, free]}
    return BeforeValidator(spelled, json_schema_input_type=Annotated[str, WithJsonSchema(accepted)])
