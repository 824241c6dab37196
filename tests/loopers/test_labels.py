"""What judges write for labels."""

from __future__ import annotations

import pytest

from consilience.loopers.fusion.labels import bare_label, several


@pytest.mark.parametrize(
    "text",
    ["B", "b", "Answer B", "answer_b", "(B)", '"B"', "**B**", "Response #B", "B.", "model: B"],
)
def test_a_label_is_found_however_it_is_dressed(text: str) -> None:
    assert bare_label(text) == "B"


@pytest.mark.parametrize(
    "text",
    ["", "all", "vendor/model B", "gpt-4", "answer", "B or not", "Б", "B\nA", "AB C", "x" * 4000],
)
def test_what_is_no_label_is_nothing(text: str) -> None:
    assert bare_label(text) == ""


def test_several_labels_in_one_text_are_each_named_in_order() -> None:
    names = {"A": "small", "B": "large", "C": "small"}
    found = several(["A and B", "C, everybody", "Z"], lambda t: names.get(bare_label(t), ""))
    assert found == ["small", "large", "small"]
