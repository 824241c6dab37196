"""The plugins of a decision together: their order, and what happens when one fails."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.errors import InvalidRequestError
from consilience.plugins import PLUGINS
from consilience.plugins.base import Answer, Call, PluginBinding
from consilience.plugins.chain import NO_PLUGINS, PluginChain
from consilience.plugins.fast_response import FastResponse, FastResponseOptions
from consilience.plugins.system_prompt import SystemPrompt, SystemPromptOptions
from support.plugin_parts import plugin, request

BROKEN = "plugin system_prompt failed and was left out"


class Breaking(SystemPrompt):
    """Fails as no plugin should."""

    def edit(self, request: ChatRequest) -> ChatRequest:
        raise KeyError("a fault")

    def effect(self, request: ChatRequest) -> str:
        raise KeyError("a fault")


class BreakingAnswerer(FastResponse):
    """Fails as no plugin should."""

    def answer(self, call: Call) -> Answer:
        raise ZeroDivisionError

    def keep(self, call: Call, completion: Any) -> None:
        raise ZeroDivisionError


def breaking() -> Breaking:
    return Breaking(SystemPromptOptions(system_prompt="x"), PluginBinding(decision="d"))


def test_order_is_that_of_the_registry() -> None:
    assert [member.kind for member in PLUGINS] == [
        "fast_response",
        "response_cache",
        "tools",
        "context_compression",
        "system_prompt",
        "request_params",
        "header_mutation",
    ]


def test_editors_work_on_what_the_one_before_left() -> None:
    first = plugin("system_prompt", system_prompt="One.", mode="append")
    second = plugin("system_prompt", system_prompt="Two.", mode="append")

    edited = PluginChain((first, second)).edited(request("hi"))

    assert edited.request.messages[0]["content"] == "One.\n\nTwo."


def test_plugin_that_fails_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    after = plugin("request_params", blocked_params=["seed"])

    edited = PluginChain((breaking(), after)).edited(request("hi", seed=1))

    assert edited.request.body == request("hi").body
    assert edited.warnings == (BROKEN,)
    (record,) = (r for r in caplog.records if r.message == "plugin_failed")
    assert vars(record)["fields"] == {"plugin": "system_prompt", "decision": "d"}


def test_answerer_that_fails_has_no_answer() -> None:
    options = FastResponseOptions(message="x")
    chain = PluginChain((BreakingAnswerer(options, PluginBinding()),))
    call = Call(request("hi"), {})

    looked = chain.look(call)
    chain.keep(call, plugin("fast_response", message="x").answer(call).completion)

    assert looked.answer is None
    assert looked.warnings == ("plugin fast_response failed and was left out",)


def test_mistake_of_the_client_is_told_to_the_client() -> None:
    chain = PluginChain((plugin("tools", strip_tool_history=True),))
    only_tools = request({"role": "tool", "tool_call_id": "c", "content": "x"})

    with pytest.raises(InvalidRequestError):
        chain.edited(only_tools)


def test_effects_speak_of_what_each_finds() -> None:
    prompt = plugin("system_prompt", system_prompt="One.")

    assert PluginChain((prompt, prompt, breaking())).effects(request("hi")) == (
        ("system_prompt", "adds a system prompt of 4 characters"),
        ("system_prompt", "puts 4 characters before the request's system prompt"),
        ("system_prompt", "fails"),
    )


def test_chain_knows_who_answers_and_who_keeps() -> None:
    fast, cache = plugin("fast_response", message="x"), plugin("response_cache")

    assert (PluginChain((fast,)).answers, PluginChain((fast,)).keeps) == (True, False)
    assert (PluginChain((cache,)).answers, PluginChain((cache,)).keeps) == (False, True)
    assert (NO_PLUGINS.answers, NO_PLUGINS.keeps) == (False, False)


def test_first_answer_counts() -> None:
    first, second = (plugin("fast_response", message=text) for text in ("one", "two"))

    looked = PluginChain((first, second)).look(Call(request("hi"), {}))

    assert looked.answer is not None
    assert looked.answer.completion.text == "one"
