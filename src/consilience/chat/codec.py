"""JSON in and out, exact: what a client wrote is what an upstream reads.

orjson does the work. It turns integers beyond 64 bits into floats on the way in and refuses them
on the way out; the standard library, slower and exact, takes over for just those documents.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

JsonValue = Any
"""Any JSON value. Only the edges speak of it."""

Body = Mapping[str, Any]
"""A JSON object. Treated as immutable everywhere: copies with changes, never edits in place."""

_MANY_DIGITS = re.compile(rb"\d{19}")
_LINE_BREAKERS = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


def decode(raw: bytes | bytearray) -> JsonValue:
    """Parses a JSON document.

    Raises:
        ValueError: not JSON, not UTF-8, or nested deeper than the parser goes.
    """
    if _MANY_DIGITS.search(raw):
        try:
            value = json.loads(raw.decode(), parse_float=_finite, parse_constant=_no_number)
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is refused here
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc
        return value
    return orjson.loads(raw)


def encode(value: JsonValue) -> bytes:
    """Writes compact UTF-8 JSON.

    Raises:
        ValueError: nested deeper than an encoder goes (254 levels), or not JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError as exc:
        if "64-bit" not in str(exc):
            raise ValueError(f"cannot be written as JSON: {exc}") from exc
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    except TypeError as exc:
        raise ValueError(f"cannot be written as JSON: {exc}") from exc
    return text.encode()


def encode_sorted(value: JsonValue) -> bytes:
    """Writes JSON with the keys of every object in order: equal values give equal bytes.

    Raises:
        ValueError: as `encode`.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as exc:
        if "64-bit" not in str(exc):
            raise ValueError(f"cannot be written as JSON: {exc}") from exc
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False).encode()
    except (RecursionError, TypeError) as exc:
        raise ValueError(f"cannot be written as JSON: {exc}") from exc


def encode_line(value: JsonValue) -> bytes:
    """Writes JSON that no client's line reader can break.

    Many clients split SSE with Unicode line rules, where U+2028, U+2029 and U+0085 end a line.
    They can stand only inside JSON strings, so escaping the bytes is safe.
    """
    data = encode(value)
    for raw, escaped in _LINE_BREAKERS:
        if raw in data:
            data = data.replace(raw, escaped)
    return data


def _finite(digits: str) -> float:
    """What orjson does: a number too large for a double is an error, not infinity."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError("number is infinity when parsed as double")
    return number


def _no_number(name: str) -> NoReturn:
    """`NaN` and `Infinity`, which the standard library takes and JSON does not have."""
    raise ValueError(f"{name} is not JSON")
