from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.patterns import compile_pattern, literal
from consilience.signals.scan import Scan


class Exhausted:
    """A set that ran out of memory: it says that nothing was found."""

    def Match(self, text: bytes) -> None:  # noqa: N802  # RE2's name
        return None


@given(
    st.lists(
        st.lists(st.text("ab é中", min_size=1, max_size=4), min_size=1, max_size=3), max_size=5
    ),
    st.text("abAB é中.", max_size=40),
    st.booleans(),
)
def test_found_is_what_each_pattern_finds_by_itself(
    rules: Sequence[Sequence[str]], text: str, strict: bool
) -> None:
    patterns = [literal(*words) for words in rules]
    each = [compile_pattern(pattern, case_sensitive=strict) for pattern in patterns]

    found = Scan(patterns, case_sensitive=strict).found(text.encode())

    assert sorted(found) == [i for i, p in enumerate(each) if p.search(text.encode()) is not None]


def test_each_pattern_is_searched_for_when_the_set_runs_out_of_memory() -> None:
    scan = Scan([literal("tea"), literal("coffee"), literal("milk")])
    scan._together = Exhausted()

    assert scan.found(b"tea with milk") == [0, 2]


def test_each_pattern_is_searched_for_when_they_are_too_big_for_one_set() -> None:
    big = [rf"{letter}(?:[\pL\pN]{{20}}x){{5}}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    scan = Scan([*big, literal("tea")])

    assert scan._together is None
    assert scan.found(b"a cup of tea") == [len(big)]


def test_pattern_that_does_not_compile_is_refused() -> None:
    with pytest.raises(ValueError, match="does not compile"):
        Scan(["(", "a"])


def test_many_rules_are_scanned_for_at_once() -> None:
    scan = Scan([literal(f"word{i}", f"phrase {i}") for i in range(500)])

    assert sorted(scan.found(b"word7, phrase 499 and sword8 " * 2000)) == [7, 499]
