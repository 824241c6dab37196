"""The base of every config model, and the kinds of value that several of them have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WRITTEN = r"^\s*(?:\d+(?:\.\d+)?|(?:\d+(?:\.\d+)?(?:ms|s|m|h))+)\s*$"
"""Both forms of a duration in text, for editors."""
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 7 * 86400.0
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Section(BaseModel):
    """Base of every config model: frozen, unknown keys refused, values never quoted in errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )


def parse_duration(value: object) -> object:
    """Reads `300s`, `5m`, `1h30m`, `500ms` or a number of seconds; gives seconds.

    Raises:
        ValueError: a text that is not a duration, or a value outside 0 to 7 days.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 300s, 5m or 1h")
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text):
            seconds = float(text)
        elif len(text) <= 40 and _DURATION.match(text):
            seconds = sum(float(n) * _UNIT_S[unit] for n, unit in _PART.findall(text))
        else:
            raise ValueError("must be a duration such as 300s, 5m or 1h")
    else:
        seconds = float(value)
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError("must be a duration above 0 and at most 168h")
    return seconds


def _one_line(value: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("must be one line without control characters")
    return value


def _header_name(value: str) -> str:
    if not _HEADER_NAME.match(value):
        raise ValueError("must be the name of an HTTP header")
    return value


def _secret_header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if any(not 32 <= ord(c) < 256 or ord(c) == 127 for c in text):
        raise ValueError("must be one line of Latin characters, as it goes into an HTTP header")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value.strip()


_Written = Annotated[float, Field(gt=0, le=_LONGEST_S)] | Annotated[str, Field(pattern=_WRITTEN)]

Name = Annotated[
    str,
    AfterValidator(_not_blank),
    AfterValidator(_one_line),
    Field(json_schema_extra={"pattern": r"\S"}),
]
"""A name that other places refer to; surrounding space is dropped."""

Line = Annotated[str, AfterValidator(_one_line)]
"""A text without line breaks and control characters."""

Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
NotNegative = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86400, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(strict=True, ge=0, le=86400, allow_inf_nan=False)]
Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=_Written)]
"""Seconds; written as a number or as `300s`, `5m`, `1h`."""

HeaderName = Annotated[
    str,
    AfterValidator(_header_name),
    Field(json_schema_extra={"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}),
]
SecretHeader = Annotated[SecretStr, AfterValidator(_secret_header_value)]
SecretHeaders = Mapping[HeaderName, SecretHeader]
