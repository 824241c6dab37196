"""What a client wrote is what an upstream reads: integers of any size, and no broken lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consilience.chat.codec import decode, encode, encode_line

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types: 1 is not 1.0 and not true."""
    return a == b and json.dumps(a) == json.dumps(b)


@given(documents)
@example({"seed": 2**53 + 1})
@example([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400])
@example({"digits": "1234567890123456789012", "x": 0.1})
def test_a_document_survives_the_way_in_and_out(document: Any) -> None:
    assert same(decode(encode(document)), document)


@given(st.integers(min_value=-(10**60), max_value=10**60))
def test_integers_are_written_digit_by_digit(number: int) -> None:
    assert encode({"n": number}) == b'{"n":%d}' % number
    assert same(decode(b'{"n": %d}' % number), {"n": number})


@pytest.mark.parametrize(
    "raw",
    [
        b"NaN",
        b"[12345678901234567890, NaN]",
        b"[12345678901234567890, -Infinity]",
        b"[12345678901234567890, 1e999]",
        b"\xef\xbb\xbf[12345678901234567890]",
        b'["\xff", 12345678901234567890]',
        b'["\\ud800", 12345678901234567890]',
        b"[" + b"1" * 5000 + b"]",
        b"[12345678901234567890," + b"[" * 50_000,
    ],
)
def test_both_parsers_refuse_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the class is the promise; the words vary
        decode(raw)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {"a": b"x"},
        [2**70, b"x"],
        [2**70, float("nan")],
        {"s": "\ud800"},
        [2**70, "\ud800"],
    ],
)
def test_what_cannot_be_written_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # likewise
        encode(value)


@pytest.mark.parametrize("big", [False, True])
def test_nesting_beyond_the_encoder_is_a_value_error(big: bool) -> None:
    value: Any = 2**70 if big else 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError):  # noqa: PT011  # likewise
        encode(value)


@given(st.text(alphabet=st.sampled_from("a\u2028\u2029\x85\n\r\x0b\x0c\x1c\x1d\x1e\u00c2")))
def test_a_line_is_one_line_by_anyones_rules(text: str) -> None:
    line = encode_line({text: [text]})
    assert len(line.decode().splitlines()) == 1
    assert decode(line) == {text: [text]}
