from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.upstream.embedding.base import as_text, on_scale, unit


def test_unit_rows_have_length_one_and_zeros_stay() -> None:
    rows = np.array([[3, 4], [0, 0]], np.float32)
    assert unit(rows).tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]


@given(st.floats(0, 0.99), st.floats(-1, 1))
def test_similarity_is_moved_to_the_scale(floor: float, similarity: float) -> None:
    other = (similarity, (1 - similarity**2) ** 0.5)
    rows = on_scale(np.array([(1, 0), other], np.float32), floor)
    assert float(rows[0] @ rows[1]) == pytest.approx(floor + (1 - floor) * similarity, abs=1e-5)
    assert np.linalg.norm(rows, axis=1).tolist() == pytest.approx([1, 1])


def test_text_without_tokens_is_like_nothing_on_any_scale() -> None:
    rows = on_scale(np.array([[0, 0], [1, 0]], np.float32), 0.4)
    assert float(rows[0] @ rows[1]) == 0


@given(st.text(st.characters()))
def test_any_text_can_be_written(text: str) -> None:
    assert len(as_text(text).encode("utf-8").decode("utf-8")) == len(text)
    assert as_text("a\ud800b") == "a?b"
