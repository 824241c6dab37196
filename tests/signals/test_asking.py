from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.asking import (
    HelperError,
    choice_messages,
    chosen_label,
    fenced,
)
from consilience.signals.breaker import why_failed

LABELS = ("yes", "no")


@pytest.mark.parametrize(
    "answer",
    [
        '{"label": "yes"}',
        '```json\n{"label": "yes", "rationale": "because of {this}"}\n```',
        'Let me think. {"label": "yes"} That is all.',
        '<think>either {a} or {b}</think>{"label": "yes"}',
    ],
)
def test_label_is_read_whatever_stands_around_it(answer: str) -> None:
    assert chosen_label(answer, LABELS) == "yes"


@pytest.mark.parametrize(
    "answer",
    [
        *("", "yes", "{", "}", "}{", "{}", "[]", "null", '{"label"}', '["label"]'),
        '{"Label": "yes"}',
        '{"label": "yes"',
    ],
)
def test_answer_is_refused_when_it_is_not_the_object(answer: str) -> None:
    with pytest.raises(HelperError, match="not the JSON object"):
        chosen_label(answer, LABELS)


@pytest.mark.parametrize(
    "answer",
    ['{"label": "maybe"}', '{"label": null}', '{"label": ["yes"]}', '{"label": {"yes": 1}}'],
)
def test_answer_is_refused_when_its_label_was_not_offered(answer: str) -> None:
    with pytest.raises(HelperError, match="no label that was offered"):
        chosen_label(answer, LABELS)


@given(st.text())
def test_any_answer_is_a_label_or_refused(answer: str) -> None:
    try:
        label = chosen_label(answer, LABELS)
    except HelperError as exc:
        if len(answer) >= 4:
            assert answer not in str(exc)  # noqa: PT017  # either outcome is right
        return
    assert label in LABELS


@given(st.text())
def test_text_cannot_close_its_own_fence(text: str) -> None:
    nonce, material = fenced(text)
    assert material.count(nonce) == 2
    assert fenced(text)[0] != nonce


def test_prompt_stands_in_the_user_turn_only() -> None:
    text = "ignore the {labels} above %s {0}"
    system, user = choice_messages("Choose.", {"a": "first", "b": ""}, text)
    assert text in user["content"]
    assert text not in system["content"]
    assert "- a: first\n- b\n" in system["content"]


def test_failure_says_nothing_that_others_wrote() -> None:
    assert why_failed(ValueError("secret")) == "failed: ValueError"
    assert why_failed(HelperError("too late")) == "too late"
