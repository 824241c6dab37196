"""Typed output contracts: the last edit, which never makes an answer worse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.completion import Completion
from consilience.loopers.fusion.contract import finisher
from support.fusion_parts import answered, responses

CHOICE = {"type": "choice", "choice_set": {"values": ["Yes", " No "]}}
ACTION = {"type": "structured_json", "json_schema": {"schema_ref": "terminal_action_v1"}}
LOOSE = {**ACTION, "extract": {"mode": "json_object"}}


def finished(spec: dict[str, Any], completion: Completion, *panel: str) -> Completion:
    finish = finisher(spec, responses(*panel))
    assert finish is not None
    return finish(completion)


def content(completion: Completion) -> Any:
    return completion.message["content"]


@pytest.mark.parametrize("spec", [None, {}, {"type": ""}, {"type": "reference_selection"}])
def test_other_specs_ask_for_no_edit(spec: Any) -> None:
    assert finisher(spec, []) is None


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        ({}, "No"),
        ({"mode": "value", "template": "<{choice}>"}, "No"),
        ({"mode": "template", "template": " I say {choice}! "}, "I say No!"),
        ({"mode": "template", "template": "{{choice}}/{choice}"}, "No/No"),
    ],
)
def test_a_choice_is_given_as_it_should_be_rendered(render: Any, expected: str) -> None:
    completion = finished({**CHOICE, "render": render}, answered("j", "\nNo  "))
    assert content(completion) == expected


def test_a_choice_that_looks_like_a_slot_is_not_filled_again() -> None:
    spec = {
        "type": "choice",
        "choice_set": {"values": ["{choice}"]},
        "render": {"mode": "template", "template": "<{{choice}}>"},
    }
    assert content(finished(spec, answered("j", "{choice}"))) == "<{choice}>"


@pytest.mark.parametrize("text", ["no", "No.", "ANSWER: No", "Yes No", ""])
def test_what_is_not_exactly_a_choice_is_left_as_it_is(text: str) -> None:
    completion = answered("j", text)
    assert finished(CHOICE, completion) is completion


def test_a_choice_does_not_touch_tool_calls() -> None:
    completion = answered("j", "No", message={"tool_calls": [{"id": "1"}]})
    assert finished(CHOICE, completion) is completion


def test_a_choice_may_be_read_from_the_reasoning_but_not_from_the_panel() -> None:
    sources = {"sources": ["content", "reasoning_content", "candidate_responses"]}
    thought = answered("j", "Well.", message={"reasoning_content": "Yes"})
    assert content(finished({**CHOICE, "extract": sources}, thought)) == "Yes"
    unsure = answered("j", "Well.")
    assert finished({**CHOICE, "extract": sources}, unsure, "Yes") is unsure


def test_an_action_is_normalised_in_order() -> None:
    given_action = {
        "zeta": 1,
        "task_complete": True,
        "commands": [
            {"keystrokes": "ls\n", "duration": 0.2, "x": 1},
            {"keystrokes": "pwd\n", "duration": 2.5},
            {"keystrokes": "q", "duration": True},
        ],
        "alpha": 2,
        "plan": 5,
    }
    action = json.loads(content(finished(ACTION, answered("j", json.dumps(given_action)))))
    assert list(action) == ["analysis", "plan", "commands", "task_complete", "alpha", "zeta"]
    assert isinstance(action["analysis"], str)
    assert isinstance(action["plan"], str)
    assert [c["duration"] for c in action["commands"]] == [1, 2.5, 1]
    assert action["commands"][0]["x"] == 1
    assert (action["task_complete"], action["alpha"], action["zeta"]) == (True, 2, 1)


@pytest.mark.parametrize(
    ("text", "commands", "done"),
    [('{"commands": []}', [], False), ('{"task_complete": true, "analysis": "x"}', [], True)],
)
def test_one_of_the_two_keys_is_enough(text: str, commands: Any, done: bool) -> None:
    action = json.loads(content(finished(ACTION, answered("j", text))))
    assert (action["commands"], action["task_complete"]) == (commands, done)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prose",
        "[]",
        "{}",
        '{"plan": "x"}',
        '{"commands": "ls"}',
        '{"commands": ["ls"]}',
        '{"commands": [{"keystrokes": 5}]}',
        'Sure: {"commands": []}',
        '{"commands": []',
        '{"commands": [], "x": ' + "[" * 300 + "]" * 300 + "}",
        '{"commands": [], "x": NaN}',
    ],
)
def test_what_does_not_meet_the_contract_is_left_as_it_is(text: str) -> None:
    completion = answered("j", text)
    assert finished(ACTION, completion) is completion


@pytest.mark.parametrize(
    "text",
    ['Sure: {"commands": []}', '```json\n{"commands": [],}\n```', '{"commands": []} Done.'],
)
def test_json_object_mode_finds_an_action_in_prose(text: str) -> None:
    assert json.loads(content(finished(LOOSE, answered("j", text))))["commands"] == []


def test_commands_that_were_cut_off_are_not_run_half() -> None:
    completion = answered("j", '{"commands": [{"keystrokes": "rm -r build"}, {"keystrokes": "ma')
    assert finished(LOOSE, completion) is completion


def test_a_text_too_long_to_search_is_left_as_it_is() -> None:
    completion = answered("j", '{"commands": []} ' + "{" * 1_000_000)
    assert finished(LOOSE, completion) is completion


def test_an_action_may_come_from_the_panel_when_the_answer_has_none() -> None:
    spec = {
        **LOOSE,
        "extract": {"mode": "json_object", "sources": ["content", "candidate_responses"]},
    }
    done = finished(spec, answered("j", "See above."), "nothing", '{"task_complete": true}')
    assert json.loads(content(done))["task_complete"] is True


def test_an_action_takes_the_place_of_tool_calls() -> None:
    completion = answered(
        "j", '{"commands": []}', message={"tool_calls": [{"id": "1"}]}, finish_reason="tool_calls"
    )
    done = finished(ACTION, completion)
    assert "tool_calls" not in done.message
    assert done.finish_reason == "stop"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["commands", "keystrokes", "duration", "task_complete", "x"]), inner
        )
    ),
)


@given(json_values | st.text(), st.sampled_from([ACTION, LOOSE, CHOICE]))
def test_no_answer_makes_the_edit_raise(value: Any, spec: dict[str, Any]) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    done = finished(spec, answered("j", text))
    assert content(done) == text or spec is not CHOICE
    if content(done) != text:
        action = json.loads(content(done))
        assert all(isinstance(c["keystrokes"], str) for c in action["commands"])
