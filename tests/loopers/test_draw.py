"""Drawing by weight: shares, stickiness, and what moves when a weight changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.request import ChatRequest
from consilience.loopers.draw import conversation_seed, draw
from support.fusion_parts import asking

SEEDS = [number.to_bytes(16, "big") for number in range(20_000)]


@pytest.mark.parametrize("weights", [(1, 1), (90, 10), (0.2, 0.3, 0.5), (3, 0, 1)])
def test_shares_are_those_of_the_weights(weights: Sequence[float]) -> None:
    drawn = Counter(draw(weights, seed) for seed in SEEDS)

    for position, weight in enumerate(weights):
        share = weight / sum(weights)
        assert drawn[position] / len(SEEDS) == pytest.approx(share, abs=0.01)


@given(
    st.lists(st.floats(0, allow_infinity=False, allow_nan=False), min_size=1).filter(any),
    st.binary(max_size=64),
)
def test_what_is_drawn_is_the_same_each_time_and_has_a_weight(
    weights: list[float], seed: bytes
) -> None:
    drawn = draw(weights, seed)

    assert draw(weights, seed) == drawn
    assert weights[drawn] > 0


def test_a_weight_that_grows_moves_conversations_to_its_model_only() -> None:
    moved = Counter((draw((5, 5, 1), s), draw((5, 5, 2), s)) for s in SEEDS)

    assert {after for before, after in moved if before != after} == {2}


def told(*turns: tuple[str, Any], model: str = "auto") -> bytes:
    messages = [{"role": role, "content": content} for role, content in turns]
    return conversation_seed(ChatRequest.from_body({"model": model, "messages": messages}))


def test_a_conversation_keeps_its_seed_as_it_grows() -> None:
    first = told(("user", "hi"))

    assert (
        told(("system", "be brief"), ("user", "hi"), ("assistant", "yes?"), ("user", "x")) == first
    )
    assert told(("user", "hi"), model="other") != first
    assert told(("user", "hello")) != first


def test_a_conversation_without_a_user_has_a_seed() -> None:
    assert told(("system", "a")) != told(("system", "b"))


def test_pictures_tell_conversations_apart() -> None:
    seeds = {
        conversation_seed(asking([{"type": "image_url", "image_url": {"url": f"data:{n}"}}]))
        for n in range(3)
    }

    assert len(seeds) == 3


@pytest.mark.parametrize("content", ["\ud800", [{"type": "x", "at": date(2026, 1, 1)}]])
def test_what_cannot_be_sent_still_has_a_seed(content: Any) -> None:
    assert len(conversation_seed(asking(content))) == 16


def test_a_long_message_is_not_read_to_its_end() -> None:
    assert told(("user", "a" * 70_000)) == told(("user", "a" * 80_000))
