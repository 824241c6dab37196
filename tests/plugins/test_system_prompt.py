"""Plugin `system_prompt`: where the operator's text goes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from support.plugin_parts import plugin, request, system

TEXT = "Be {brief}. {{responses}} ${HOME}"
"""Looks like several kinds of template and is none."""


def edited(mode: str, *messages: Any) -> Any:
    bound = plugin("system_prompt", mode=mode, system_prompt=TEXT)
    return bound.edit(request(*messages)).body["messages"]


@pytest.mark.parametrize("mode", ["insert", "append", "replace"])
def test_text_becomes_the_system_message_when_there_is_none(mode: str) -> None:
    assert edited(mode, "hi") == [system(TEXT), {"role": "user", "content": "hi"}]


def test_insert_puts_it_before_the_clients_own() -> None:
    assert edited("insert", system("Own."), "hi")[0] == system(f"{TEXT}\n\nOwn.")


def test_append_puts_it_after_the_clients_own() -> None:
    assert edited("append", system("Own."), "hi")[0] == system(f"Own.\n\n{TEXT}")


def test_append_goes_after_the_last_system_message() -> None:
    messages = edited("append", system("One."), "hi", system("Two.", "developer"))

    assert [m["content"] for m in messages] == ["One.", "hi", f"Two.\n\n{TEXT}"]


def test_parts_keep_their_form() -> None:
    own = [{"type": "text", "text": "Own.", "cache_control": {"type": "ephemeral"}}]
    new = {"type": "text", "text": TEXT}

    assert edited("insert", system(own), "hi")[0]["content"] == [new, *own]
    assert edited("append", system(own), "hi")[0]["content"] == [*own, new]


def test_replace_takes_every_system_and_developer_message_out() -> None:
    messages = edited("replace", system("A.", "developer"), "hi", system("B."))

    assert messages == [system(TEXT, "developer"), {"role": "user", "content": "hi"}]


def test_the_clients_request_is_left_alone() -> None:
    given = request(system("Own."), "hi")
    before = repr(given.body)

    for mode in ("insert", "append", "replace"):
        plugin("system_prompt", mode=mode, system_prompt=TEXT).edit(given)

    assert repr(given.body) == before


def test_blank_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not be blank"):
        plugin("system_prompt", system_prompt=" \n")


@pytest.mark.parametrize(
    ("mode", "messages", "effect"),
    [
        ("insert", ["hi"], "adds a system prompt of 33 characters"),
        ("insert", [system("x"), "hi"], "puts 33 characters before the request's system prompt"),
        ("append", [system("x"), "hi"], "puts 33 characters after the request's system prompt"),
        (
            "replace",
            [system("x"), "hi"],
            "puts 33 characters in place of the request's system prompt",
        ),
    ],
)
def test_effect_says_where_it_goes(mode: str, messages: list[Any], effect: str) -> None:
    bound = plugin("system_prompt", mode=mode, system_prompt=TEXT)

    assert bound.effect(request(*messages)) == effect
