"""What a field of the config models takes, and what was found instead, in plain words.

Read from the models' annotations, so that a message cannot disagree with what is checked.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ForwardRef, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator, RootModel, SecretStr
from pydantic.fields import FieldInfo

from .paths import Path, tells_secret, value_at
from .routing import Combination

_LONGEST_TEXT = 60
_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    str: "text",
    SecretStr: "text",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
}


class Expected(NamedTuple):
    """What a place in the document takes."""

    annotation: Any
    """The type, without `None`, metadata and aliases."""
    constraints: tuple[Any, ...] = ()
    """Bounds (`annotated_types`)."""


def expected_at(model: type[BaseModel], path: Path, data: Any = None) -> Expected | None:
    """Gives what the model takes at a path of a document, None when the path leads nowhere."""
    options = _options_at(model, path, data)
    return options[0] if options else None


def keys_at(model: type[BaseModel], path: Path, data: Any) -> tuple[str, ...]:
    """Gives the keys that the block at this path may have, by the model that fits it best."""
    found = value_at(data, path)
    given = set(found) if isinstance(found, Mapping) else set()
    names = [keys_of(block) for block in blocks_at(model, path, data)]
    return max(names, key=lambda keys: len(set(keys) & given), default=())


def blocks_at(model: type[BaseModel], path: Path, data: Any) -> list[type[BaseModel]]:
    """Gives the models of which the block at this path may be one."""
    options = _options_at(model, path, data)
    return [option.annotation for option in options if _is_model(option.annotation)]


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Gives the keys of a block as the file has them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def describe(expected: Expected) -> str:
    """Says what is allowed: `a whole number of at least 1`."""
    annotation = expected.annotation
    if get_origin(annotation) is Literal:
        return _one_of([value for value in get_args(annotation) if value != ""])
    if annotation in _WORDS:
        return _WORDS[annotation] + _bounds(expected.constraints)
    if _is_model(annotation):
        keys = keys_of(annotation)
        shown = ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
        block = f"a block with keys such as {shown}" if keys else "an empty block"
        short = any(isinstance(c, BeforeValidator) for c in expected.constraints)
        return f"a name, or {block}" if short else block
    origin = get_origin(annotation) or annotation
    if origin is tuple:
        return "a list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a block of `key: value` lines"
    return "another value"


def describe_found(value: Any) -> str:
    """Says what was found: `"two"`, `a list`, `3`. Never call it with a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not tells_secret(value):
        text = value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 1] + "…"
        return json.dumps(text, ensure_ascii=False)
    if isinstance(value, int | float | Decimal):
        return str(value)[:_LONGEST_TEXT]
    return kind_of(value)


def kind_of(value: Any) -> str:
    """Says what sort of value it is without showing it."""
    if isinstance(value, Mapping):
        return "a block of keys"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "nothing" if value is None else "this text"


def literals(expected: Expected | None) -> tuple[str, ...]:
    """Gives the words that are allowed, none when the place is not limited to some."""
    if expected is None or get_origin(expected.annotation) is not Literal:
        return ()
    return tuple(str(value) for value in get_args(expected.annotation) if value != "")


def _options_at(model: type[BaseModel], path: Path, data: Any) -> list[Expected]:
    options = [Expected(model)]
    for length, step in enumerate(path, start=1):
        options = [below for option in options for below in _below(option.annotation, step)]
        if len(options) > 1:
            options = _of_type(options, value_at(data, path[:length]))
    return options


def _of_type(options: list[Expected], found: Any) -> list[Expected]:
    """Of blocks that differ by their `type`, the one that is meant; all when none is."""
    kind = found.get("type") if isinstance(found, Mapping) else None
    fields = [getattr(option.annotation, "model_fields", {}).get("type") for option in options]
    meant = [
        option
        for option, field in zip(options, fields, strict=True)
        if field is not None and get_args(field.annotation) == (kind,)
    ]
    return meant or options


def _one_of(values: Sequence[Any]) -> str:
    words = [describe_found(value) for value in values]
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _bounds(constraints: Sequence[Any]) -> str:
    low = high = ""
    least = most = None
    for c in constraints:
        if isinstance(c, annotated_types.Ge):
            low, least = f" of at least {c.ge}", c.ge
        elif isinstance(c, annotated_types.Gt):
            low = f" above {c.gt}"
        elif isinstance(c, annotated_types.Le):
            high, most = f" of at most {c.le}", c.le
        elif isinstance(c, annotated_types.Lt):
            high = f" below {c.lt}"
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f"{low} and{high}" if low and high else low or high


def _below(annotation: Any, step: str | int) -> Iterator[Expected]:
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if step == (field.alias or name):
                yield from _options(field.annotation, tuple(field.metadata))
        return
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is tuple and isinstance(step, int) and args:
        yield from _options(args[0])
    elif isinstance(origin, type) and issubclass(origin, Mapping) and len(args) == 2:
        yield from _options(args[1])


def _options(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[Expected]:
    """Takes unions, aliases and metadata off an annotation; one result for each member."""
    if isinstance(annotation, ForwardRef):
        annotation = Combination
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        inner, *extra = get_args(annotation)
        yield from _options(inner, (*metadata, *_flat(extra)))
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            if member is not type(None):
                yield from _options(member, metadata)
    elif _is_model(annotation) and issubclass(annotation, RootModel):
        yield from _options(annotation.model_fields["root"].annotation, metadata)
    else:
        yield Expected(annotation, metadata)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
