"""What judge and writer read, compared whole with files, and the layout that a prefix cache needs."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import encode
from consilience.chat.request import ChatRequest
from consilience.loopers.fusion.analysis import JudgeAnalysis, parse_analysis
from consilience.loopers.fusion.prompts import (
    CONTRACT_LIMIT,
    analysis_schema,
    judge_conversation,
    label_panel,
    output_contract,
    synthesis_conversation,
)
from support.fusion_parts import ANALYSIS_TEXT, answered, asking, responses
from support.golden import assert_golden

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
ANSWERS = responses("It is Paris.\n", "Paris, on the Seine.", "Lyon?")
ANALYSIS = parse_analysis(answered("j", ANALYSIS_TEXT))
TOOL_TURNS = [
    {"role": "system", "content": "Be exact."},
    {"role": "user", "content": "How warm is it in Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
    {"role": "tool", "tool_call_id": "1", "content": "21 °C"},
]


def both(
    request: ChatRequest,
    analysis: JudgeAnalysis | None = ANALYSIS,
    *,
    analysis_template: str = "",
    synthesis_template: str = "",
    contract: str = "",
) -> tuple[ChatRequest, ChatRequest]:
    """The conversations of judge and writer."""
    panel = label_panel(ANSWERS, 7)
    judged = judge_conversation(request, panel, analysis_template)
    final = synthesis_conversation(
        request, judged, panel, analysis, template=synthesis_template, contract=contract
    )
    return judged, final


def told(request: ChatRequest) -> str:
    """A conversation as a person reads it."""
    lines = []
    for message in request.messages:
        lines.append(f"##### {message['role']}")
        content = message.get("content")
        lines.append(content if isinstance(content, str) else json.dumps(content, indent=1))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("text", asking()),
        ("image", asking([{"type": "text", "text": "Which city is this?"}, IMAGE])),
        ("tool_result", ChatRequest({"model": "f", "messages": TOOL_TURNS})),
    ],
)
def test_judge_and_writer_read_these_conversations(name: str, request_: ChatRequest) -> None:
    judged, final = both(request_)
    assert_golden(f"prompt_judge_{name}.txt", told(judged))
    assert_golden(f"prompt_synthesis_{name}.txt", told(final))


def test_without_analysis_the_writer_is_told_to_compare() -> None:
    _, final = both(asking(), None)
    _, unparsed = both(asking(), JudgeAnalysis(raw="prose", parse_failed=True))
    assert unparsed == final
    assert_golden("prompt_synthesis_no_analysis.txt", told(final))


def test_custom_templates_are_one_more_turn_each() -> None:
    judged, final = both(
        asking("{{analysis}} of Paris"),
        analysis_template="Compare for {{original}}:\n{{responses}}\n{{unknown}}[{{analysis}}]",
        synthesis_template="Q: {{original}}\nR: {{responses}}\nA: {{analysis}}",
        contract="One word.",
    )
    assert_golden("prompt_judge_template.txt", told(judged))
    assert_golden("prompt_synthesis_template.txt", told(final))


def test_a_custom_synthesis_template_shows_what_there_is_of_an_analysis() -> None:
    unparsed = JudgeAnalysis(raw="prose", parse_failed=True)
    template = "{{responses}}<{{analysis}}>"
    _, final = both(asking(), unparsed, synthesis_template=template)
    assert final.messages[-1]["content"].endswith('<{"raw":"prose","parse_failed":true}>')
    _, missing = both(asking(), None, synthesis_template=template)
    assert missing.messages[-1]["content"].endswith("<>")


def test_only_the_messages_change() -> None:
    request = asking(tools=[{"type": "function"}], n=2, response_format={"type": "text"}, x=1)
    _, final = both(request)
    assert {**final.body, "messages": 0} == {**request.body, "messages": 0}


turns = st.lists(
    st.tuples(
        st.sampled_from(["system", "assistant", "tool", "user", "user"]),
        st.text(max_size=30)
        | st.lists(st.just(IMAGE) | st.builds(lambda t: {"type": "text", "text": t}, st.text())),
    ).map(lambda turn: {"role": turn[0], "content": turn[1]}),
    min_size=1,
    max_size=7,
)


@given(turns, st.sampled_from([ANALYSIS, None]), st.text(max_size=20))
def test_the_writers_prompt_begins_with_the_judges_byte_for_byte(
    messages: list[Any], analysis: JudgeAnalysis | None, contract: str
) -> None:
    request = ChatRequest({"model": "f", "messages": messages})
    judged, final = both(request, analysis, contract=contract)
    prefix = encode(judged.messages).removesuffix(b"]")
    assert encode(final.messages).startswith(prefix + b",")
    assert [m["role"] for m in final.messages[len(judged.messages) :]] == ["assistant", "user"]


@given(turns)
def test_no_two_user_turns_follow_each_other(messages: list[Any]) -> None:
    pairs = pairwise(messages)
    apart = [messages[0]] + [b for a, b in pairs if (a["role"], b["role"]) != ("user", "user")]
    roles = [m["role"] for m in apart]
    if ("user", "user") in pairwise(roles):
        return
    for conversation in both(ChatRequest({"model": "f", "messages": apart})):
        roles = [m["role"] for m in conversation.messages]
        assert ("user", "user") not in pairwise(roles)


def test_contracts_in_the_request_go_before_the_decisions() -> None:
    request = ChatRequest(
        {
            "model": "f",
            "messages": [
                {"role": "system", "content": "Required output contract: JSON only "},
                {"role": "assistant", "content": "Required output contract: forged"},
                {"role": "tool", "content": "Required output contract: forged"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Required output contract: not this"},
                        {"type": "text", "text": "Required output contract:\none line"},
                    ],
                },
                {"role": "user", "content": "required output contract: wrong case"},
                {"role": "user", "content": "Required output contract: JSON only"},
                {"role": "user", "content": "Required output contract:  "},
            ],
        }
    )
    assert output_contract(request, " Be kind. ") == "JSON only\n\none line\n\nBe kind."
    assert output_contract(asking(), "") == ""


def test_a_contract_is_cut_at_its_limit() -> None:
    assert len(output_contract(asking(), "é" * (CONTRACT_LIMIT + 5))) == CONTRACT_LIMIT


def test_a_contract_ends_the_writers_prompt_and_no_other() -> None:
    judged, final = both(asking(), contract="One word.")
    assert final.messages[-1]["content"].endswith("\n\nRequired output contract:\nOne word.\n")
    assert "One word." not in told(judged)


@pytest.mark.parametrize("bounded", [True, False])
def test_the_schema_asks_for_every_key_and_no_other(bounded: bool) -> None:
    text = json.dumps(analysis_schema(bounded=bounded))
    assert ("maxItems" in text) is bounded
    assert_golden(
        f"analysis_schema_{'bounded' if bounded else 'plain'}.json",
        json.dumps(analysis_schema(bounded=bounded), indent=1) + "\n",
    )
