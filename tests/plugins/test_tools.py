"""Plugin `tools`: which tools stay, and what a tool choice then says."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.errors import InvalidRequestError
from support.plugin_parts import plugin, request


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


SEARCH, EXEC, READ = function("search"), function("exec"), function("read")
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", **choice("search")}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "found"}


def edited(configuration: dict[str, Any], *messages: Any, **fields: Any) -> dict[str, Any]:
    bound = plugin("tools", **configuration)
    body = bound.edit(request(*(messages or ("hi",)), **fields)).body
    return {k: v for k, v in body.items() if k != "model" and (messages or k != "messages")}


def test_passthrough_leaves_the_request_itself() -> None:
    given = request("hi", tools=[SEARCH], tool_choice="required")

    assert plugin("tools", mode="passthrough", block_tools=["search"]).edit(given) is given


def test_none_takes_everything_about_tools_out() -> None:
    left = edited(
        {"mode": "none"},
        tools=[SEARCH],
        tool_choice="auto",
        parallel_tool_calls=True,
        functions=[{"name": "f"}],
        function_call="auto",
        seed=1,
    )

    assert left == {"seed": 1}


def test_none_takes_choices_out_that_have_no_tools() -> None:
    assert edited({"mode": "none"}, tool_choice="none", parallel_tool_calls=False) == {}


def test_filtered_keeps_what_is_allowed_and_not_blocked() -> None:
    configuration = {"mode": "filtered", "allow_tools": ["search", "exec"], "block_tools": ["exec"]}

    assert edited(configuration, tools=[SEARCH, EXEC, READ]) == {"tools": [SEARCH]}


def test_filtered_without_allowed_tools_keeps_all_that_are_not_blocked() -> None:
    left = edited({"mode": "filtered", "block_tools": ["exec"]}, tools=[SEARCH, EXEC, READ])

    assert left == {"tools": [SEARCH, READ]}


def test_filtered_reaches_functions_custom_tools_and_built_in_ones() -> None:
    custom = {"type": "custom", "custom": {"name": "shell"}}
    left = edited(
        {"mode": "filtered", "allow_tools": ["web_search", "f"]},
        tools=[custom, {"type": "web_search"}, 5],
        functions=[{"name": "f"}, {"name": "g"}],
    )

    assert left == {"tools": [{"type": "web_search"}], "functions": [{"name": "f"}]}


FILTER = {"mode": "filtered", "allow_tools": ["search", "read"]}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("auto", "auto"),
        ("required", "required"),
        (choice("search"), choice("search")),
        (choice("exec"), None),
        ({"type": "custom", "custom": {"name": "exec"}}, None),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [SEARCH, EXEC]}},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [SEARCH]}},
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [EXEC]}}, None),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}, None),
    ],
)
def test_choice_speaks_only_of_tools_that_are_left(given: Any, left: Any) -> None:
    assert edited(FILTER, tools=[SEARCH, EXEC], tool_choice=given).get("tool_choice") == left


def test_required_goes_when_no_tool_is_left() -> None:
    assert edited(FILTER, tools=[EXEC], tool_choice="required", parallel_tool_calls=True) == {}


def test_tools_that_all_stay_leave_the_request_itself() -> None:
    given = request("hi", tools=[SEARCH, READ], tool_choice=choice("read"))

    assert plugin("tools", **FILTER).edit(given) is given


def test_field_that_is_no_list_is_taken_out() -> None:
    assert edited(FILTER, functions="f", function_call={"name": "f"}) == {}


def test_history_stays_unless_it_is_to_be_stripped() -> None:
    turns = ["find it", CALLED, RESULT]

    assert edited({"mode": "none"}, *turns)["messages"][1:] == [CALLED, RESULT]


def test_stripped_history_has_no_calls_and_results() -> None:
    said = {"role": "assistant", "content": "Let me look.", "tool_calls": CALLED["tool_calls"]}
    turns = ["find it", CALLED, RESULT, said, {**RESULT, "role": "function", "name": "f"}, "so?"]

    left = edited({"mode": "none", "strip_tool_history": True}, *turns)["messages"]

    assert [(m["role"], m["content"]) for m in left] == [
        ("user", "find it"),
        ("assistant", "Let me look."),
        ("user", "so?"),
    ]
    assert not any("tool_calls" in m for m in left)


def test_conversation_of_nothing_but_tools_is_the_clients_mistake() -> None:
    bound = plugin("tools", mode="none", strip_tool_history=True)

    with pytest.raises(InvalidRequestError, match="nothing else"):
        bound.edit(request(CALLED, RESULT))


def test_lists_without_filtering_are_a_warning() -> None:
    assert "under mode none" in plugin("tools", mode="none", allow_tools=["a"]).warnings()[0]
    assert plugin("tools", **FILTER).warnings() == ()


def test_effect_counts_the_tools() -> None:
    told = plugin("tools", **FILTER, strip_tool_history=True).effect
    assert told(request("hi", tools=[SEARCH, EXEC])) == (
        "keeps 1 of 2 tools; takes earlier tool calls out"
    )
    assert plugin("tools", mode="none").effect(request("hi")) == "the request offers no tools"
