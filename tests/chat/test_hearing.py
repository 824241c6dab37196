"""Telling while an answer streams whether it says anything: the same as of the whole answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from consilience.chat.completion import BESIDE_TEXT, says
from consilience.chat.hearing import Hearing

TEXTS = [
    "",
    " \n",
    "yes",
    " yes",
    "<",
    "<think",
    "<think>",
    "<think>hm</think>",
    "<think>hm</think> \n",
    "<think>hm</think>yes",
    "<think>hm</thinking> no end",
    "\n<thinking>a < b</thinking>\n\nyes",
    "<reasoning></reasoning>",
    "<reasoning>x</reasoning>.",
    "<thinker>",
    "<b>bold</b>",
    "<think>a</think><think>b</think>",
]


def _choice(index: Any = 0, reason: Any = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}


def _chunk(*choices: Any) -> dict[str, Any]:
    return {"id": "i", "choices": list(choices)}


def _ends(heard: Sequence[Any]) -> list[tuple[int, str]]:
    choices = [c for chunk in heard if chunk for c in chunk["choices"]]
    return [(c["index"], c["finish_reason"]) for c in choices if c["finish_reason"]]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_says_what_the_whole_text_says(text: str, size: int) -> None:
    hearing = Hearing()
    for start in range(0, len(text), size):
        hearing.hear(_chunk(_choice(content=text[start : start + size])))
    last = hearing.hear(_chunk(_choice(reason="stop")))
    assert hearing.says is says({"content": text})
    assert (last is not None) is hearing.says


@pytest.mark.parametrize("name", BESIDE_TEXT)
def test_what_is_said_without_text_counts(name: str) -> None:
    hearing = Hearing()
    hearing.hear(_chunk(_choice(**{name: [{"id": "c"}]})))
    assert hearing.says


def test_what_a_provider_withheld_is_an_answer() -> None:
    hearing = Hearing()
    assert hearing.hear(_chunk(_choice(reason="content_filter"))) is not None
    assert hearing.says


def test_reasoning_is_passed_on_without_the_end_that_comes_with_it() -> None:
    heard = Hearing().hear(_chunk(_choice(reason="length", reasoning_content="hm")))
    assert heard == _chunk(_choice(reasoning_content="hm"))


def test_an_end_that_was_kept_back_comes_with_another_choice_s_first_word() -> None:
    hearing = Hearing()
    heard = [
        hearing.hear(_chunk(_choice(0, reason="stop"))),
        hearing.hear(_chunk(_choice(1, reasoning_content="hm"))),
        hearing.hear(_chunk(_choice(1, content="yes"))),
        hearing.hear(_chunk(_choice(1, reason="stop"))),
    ]
    assert heard[0] is None
    assert _ends(heard) == [(0, "stop"), (1, "stop")]


def test_only_as_much_is_kept_of_a_long_thought_as_may_be_a_tag() -> None:
    hearing = Hearing()
    for piece in ["<think>", *["hm " * 1000] * 1000, "</th", "ink>"]:
        hearing.hear(_chunk(_choice(content=piece)))
    assert not hearing.says
    assert not hearing.open_tags
    hearing.hear(_chunk(_choice(content="yes")))
    assert hearing.says
