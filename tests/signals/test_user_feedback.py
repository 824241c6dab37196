from __future__ import annotations

import pytest
from pydantic import ValidationError

from consilience.signals.user_feedback import (
    FEEDBACK,
    FeedbackSettings,
    UserFeedback,
    UserFeedbackRule,
)
from support.conversation import facts
from support.meanings import Embedding, found, matched, static_embedding

pytestmark = pytest.mark.anyio

RULES = [UserFeedbackRule(name=name) for name in FEEDBACK]
ANSWER = {"role": "assistant", "content": "The capital of Australia is Sydney."}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Thank you, that was perfect!", ["satisfied"]),
        ("That's wrong, it is Canberra.", ["wrong_answer"]),
        ("I don't understand, can you explain that more clearly?", ["need_clarification"]),
        ("Write a function that sorts a list", []),
        ("", []),
    ],
)
async def test_feedback_is_told_after_an_answer(text: str, names: list[str]) -> None:
    results = await found(
        UserFeedback, RULES, facts("hello", ANSWER, text), embedding=static_embedding()
    )
    assert matched(results) == names


async def test_first_message_is_no_feedback() -> None:
    embedding = Embedding()
    results = await found(UserFeedback, RULES, facts("That's wrong"), embedding=embedding)
    assert matched(results) == []
    assert embedding.requests == []


async def test_nothing_matches_when_the_kind_is_off() -> None:
    embedding = Embedding()
    results = await found(
        UserFeedback,
        RULES,
        facts("hello", ANSWER, "That's wrong"),
        settings=FeedbackSettings(enabled=False),
        embedding=embedding,
    )
    assert matched(results) == []
    assert embedding.requests == []


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 1), (1.0, 0)])
async def test_most_probable_matches_when_it_reaches_the_threshold(
    threshold: float, count: int
) -> None:
    results = await found(
        UserFeedback,
        RULES,
        facts("hello", ANSWER, "hm, and now?"),
        settings=FeedbackSettings(threshold=threshold),
        embedding=static_embedding(),
    )
    assert len(matched(results)) == count


def test_rule_is_refused_when_its_name_is_no_feedback() -> None:
    with pytest.raises(ValidationError, match="is not one of satisfied"):
        UserFeedbackRule(name="happy")
