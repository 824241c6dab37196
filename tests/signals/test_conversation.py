from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.base import SignalResult
from consilience.signals.conversation import Conversation, ConversationRule
from support.conversation import facts

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ASKS_TWICE = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
LEGACY = {"role": "assistant", "content": None, "function_call": {"name": "f"}}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "42"}
SAYS = {"role": "assistant", "content": "It is 42."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def rule(kind: str, source: str, role: str = "", **fields: Any) -> ConversationRule:
    feature = {"type": kind, "source": {"type": source, "role": role}}
    return ConversationRule.model_validate({"name": "r", "feature": feature, **fields})


def result(messages: list[Any], source: str, role: str = "", **fields: Any) -> SignalResult:
    return Conversation([rule("count", source, role)]).find(facts(*messages, **fields))["r"]


def count(messages: list[Any], source: str, role: str = "", **fields: Any) -> float:
    return result(messages, source, role, **fields).value or 0


def message(role: str) -> dict[str, str]:
    return {"role": role, "content": "x"}


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("", 8),
        ("user", 2),
        ("assistant", 1),
        ("system", 1),
        ("developer", 2),
        ("tool", 2),
        ("non_user", 6),
    ],
)
def test_messages_are_counted_by_role(role: str, expected: int) -> None:
    roles = ("system", "developer", "developer", "user", "assistant", "tool", "function", "user")
    assert count([message(r) for r in roles], "message", role) == expected


def test_tools_are_counted_when_they_are_defined_in_either_form() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}] * 2
    assert count(["hi"], "tool_definition", tools=tools, functions=[{"name": "g"}]) == 3
    assert count(["hi"], "tool_definition", tools=None, functions="odd") == 0


def test_calls_are_counted_when_assistants_made_them() -> None:
    assert count(["hi", ASKS_TWICE, RESULT, RESULT, LEGACY], "assistant_tool_call") == 3


@pytest.mark.parametrize(
    ("messages", "cycles"),
    [
        (["hi", ASKS_TWICE, RESULT, RESULT, SAYS], 1),
        (["hi", ASKS, RESULT, ASKS, RESULT, SAYS], 2),
        (["hi", ASKS, RESULT, ASKS], 1),
        (["hi", ASKS, "never mind"], 0),
        (["hi", RESULT], 0),
    ],
)
def test_cycle_is_counted_when_a_result_follows_the_call(messages: list[Any], cycles: int) -> None:
    assert count(messages, "assistant_tool_cycle") == cycles


@pytest.mark.parametrize(
    ("messages", "active"),
    [
        (["hi"], 0),
        (["hi", ASKS, RESULT], 1),
        (["hi", ASKS], 1),
        (["hi", ASKS, RESULT, "and now?"], 1),
        (["hi", ASKS, RESULT, SAYS, "thanks"], 0),
        (["hi", ASKS_TWICE, RESULT, SAYS, "thanks"], 1),
    ],
)
def test_tool_loop_is_active_while_something_waits(messages: list[Any], active: int) -> None:
    assert count(messages, "active_tool_loop") == active


def test_images_are_counted_when_a_message_has_parts() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE, IMAGE]}
    assert count([parts, SAYS, "hi"], "image_content") == 2
    assert count([parts, SAYS, "hi"], "image_content", "assistant") == 0


@pytest.mark.parametrize(("count_of", "matched"), [(5, False), (6, True), (99, True), (100, False)])
def test_predicate_bounds_the_count(count_of: int, matched: bool) -> None:
    predicate = {"gt": 5, "lte": 99}
    signal = Conversation([rule("count", "message", "non_user", predicate=predicate)])
    assert signal.find(facts(*[SAYS] * count_of))["r"].matched is matched


@pytest.mark.parametrize(("messages", "matched"), [(["hi"], False), (["hi", ASKS], True)])
def test_exists_matches_when_there_is_one(messages: list[Any], matched: bool) -> None:
    signal = Conversation([rule("exists", "assistant_tool_call")])
    assert signal.find(facts(*messages))["r"].matched is matched


@pytest.mark.parametrize(
    ("kind", "source", "role", "fields", "says"),
    [
        ("exists", "message", "", {"predicate": {"gte": 1}}, "takes no predicate"),
        ("count", "tool_definition", "user", {}, "role goes with"),
        ("count", "message", "robot", {}, "non_user"),
        ("count", "messages", "", {}, "tool_definition"),
    ],
)
def test_rule_is_refused_when_it_cannot_work(
    kind: str, source: str, role: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(kind, source, role, **fields)


def test_rule_warns_when_it_always_matches() -> None:
    (warning,) = rule("count", "message").warnings()
    assert "always matches" in warning
    assert result(["hi"], "tool_definition").matched
    assert rule("exists", "message").warnings() == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(calls=JSON, legacy=JSON, tools=JSON)
def test_count_is_a_number_when_fields_hold_anything(calls: Any, legacy: Any, tools: Any) -> None:
    odd = {"role": "assistant", "content": "x", "tool_calls": calls, "function_call": legacy}
    for source in ("assistant_tool_call", "assistant_tool_cycle", "tool_definition"):
        assert count(["hi", odd, RESULT], source, tools=tools, functions=tools) >= 0
