from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.auxiliary import KINDS, Auxiliary, AuxiliaryRule
from consilience.signals.base import SignalResult
from support.conversation import facts

HISTORY = "<chat_history>\nUSER: how do I bake bread?\nASSISTANT: Mix flour.\n</chat_history>"
PROMPTS = [
    (
        "title",
        (
            "### Task:\nWrite a short title with an emoji for the chat below.\n### Output:\n"
            f'JSON: {{"title": "..."}}\n{HISTORY}'
        ),
    ),
    ("title", "Suggest a name for this conversation in at most 5 words, without quotes."),
    ("title", "Give our discussion a title. Three to six words, nothing else."),
    ("title", "用简短的标题概括这段对话，不要标点，不要解释"),
    (
        "tags",
        f"### Task:\nProduce 2-4 broad tags for the themes of the chat.\n### Output:\n{HISTORY}",
    ),
    (
        "follow_up",
        (
            "Propose three follow-up questions the user might ask next. Return only a JSON array of"
            f" strings.\n{HISTORY}"
        ),
    ),
    (
        "autocomplete",
        (
            "You are an autocompletion system. Continue the text in `<text>`. Output only the"
            " completion.\n<text>How do I</text>"
        ),
    ),
    ("autocomplete", "<|fim_prefix|>def add(a, b):\n<|fim_suffix|>\n<|fim_middle|>"),
    (
        "query_rewrite",
        (
            "Rephrase the last message as a standalone question.\n\nChat history:\nHuman: who is he?"
            "\nStandalone question:"
        ),
    ),
    (
        "query_rewrite",
        (
            "Based on the conversation, generate up to 3 search queries. Respond with JSON only:"
            ' {"queries": []}'
        ),
    ),
]
QUESTIONS = [
    "Write a title for my blog post about cats, under 10 words",
    "Explain relativity. Then suggest 3 follow-up questions I could study.",
    "What tags should I use on Instagram for a bakery? Only list 5 tags.",
    "Rewrite this SQL query to be faster",
    "How do I add a title to a matplotlib chart?",
    "Write a function that returns a JSON object with a title key",
    "Give me a name for my startup, max 2 words",
    "Summarize this article in 5 words or less",
    "Help me write search queries for papers about routing",
    "Continue this code:\ndef f(x):",
    "Explain how chat history is stored",
    "",
]


def evaluate(
    text: str, system: str | None = None, *more: object, kinds: Sequence[str] = KINDS
) -> SignalResult:
    first = [] if system is None else [{"role": "system", "content": system}]
    rule = AuxiliaryRule.model_validate({"name": "r", "kinds": list(kinds)})
    return Auxiliary([rule]).find(facts(*first, *more, text))["r"]


@pytest.mark.parametrize(("kind", "text"), PROMPTS)
def test_rule_matches_when_an_interface_asks(kind: str, text: str) -> None:
    found = evaluate(text)
    assert (found.matched, found.detail) == (True, {"kind": kind})
    assert found.confidence >= 0.6


@pytest.mark.parametrize("text", QUESTIONS)
def test_rule_does_not_match_when_a_person_asks(text: str) -> None:
    assert not evaluate(text).matched


def test_confidence_grows_when_there_are_more_cues() -> None:
    plain = "Suggest a name for this conversation in at most 5 words"
    assert evaluate(plain).value == 1
    assert evaluate(plain).confidence == pytest.approx(0.6)
    assert evaluate(f"{plain}, without quotes.").confidence == pytest.approx(0.8)
    assert evaluate(f"{plain}, without quotes.\n{HISTORY}").confidence == 1


def test_only_the_kinds_of_the_rule_match() -> None:
    text = dict(PROMPTS)["tags"]
    assert evaluate(text, kinds=["tags"]).matched
    assert not evaluate(text, kinds=["title", "follow_up"]).matched


TITLES = "Generate a short title for the first message of a conversation. Do not use quotes."


def test_system_message_counts_when_the_task_stands_there() -> None:
    assert evaluate("how do I bake bread?", TITLES).matched


def test_system_message_does_not_count_when_a_conversation_goes_on() -> None:
    answer = {"role": "assistant", "content": "Mix flour."}
    assert not evaluate("thanks", TITLES, "how do I bake bread?", answer).matched


def test_system_message_of_an_assistant_is_no_task() -> None:
    system = "You are a helpful assistant. End each answer with three follow-up questions."
    assert not evaluate("how do I bake bread?", system).matched


def test_middle_is_not_read_when_the_text_is_long() -> None:
    text = dict(PROMPTS)["tags"]
    filler = "flour and water " * 5000
    assert evaluate(f"{text}{filler}").matched
    assert evaluate(f"{filler}{text}").matched
    assert not evaluate(f"{filler}{text}{filler}").matched


@given(st.text())
def test_result_is_whole_when_the_text_is_anything(text: str) -> None:
    found = evaluate(text)
    assert found.matched == bool(found.detail)


@pytest.mark.parametrize("kinds", [[], ["titles"]])
def test_rule_is_refused_when_its_kinds_are_none(kinds: list[str]) -> None:
    with pytest.raises(ValidationError):
        AuxiliaryRule.model_validate({"name": "r", "kinds": kinds})
