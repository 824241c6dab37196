from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.base import EXCERPT_CHARACTERS
from consilience.signals.excerpt import excerpt
from support.conversation import facts


@given(st.text(max_size=60), st.integers(4, 40))
def test_excerpt_is_head_and_tail_when_the_text_is_longer(text: str, characters: int) -> None:
    shown = excerpt(text, characters)
    if len(text) <= characters:
        assert shown is text
    else:
        tail = characters // 4
        assert shown == f"{text[: characters - tail]}\n{text[-tail:]}"


@pytest.mark.parametrize("extra", [0, 1])
def test_excerpt_of_a_request_is_bounded(extra: int) -> None:
    of = facts("é" * (EXCERPT_CHARACTERS + extra))
    assert len(of.excerpt) == EXCERPT_CHARACTERS + extra
    assert of.excerpt_utf8.decode() == of.excerpt
    assert (of.excerpt is of.text) == (extra == 0)
