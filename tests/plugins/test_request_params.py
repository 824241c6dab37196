"""Plugin `request_params`: what is taken out of a request, and what is capped."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.plugins.request_params import KNOWN
from support.plugin_parts import plugin, request


def edited(configuration: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The fields that are left, without model and messages."""
    body = plugin("request_params", **configuration).edit(request("hi", **fields)).body
    return {k: v for k, v in body.items() if k not in ("model", "messages")}


def test_blocked_parameters_are_taken_out() -> None:
    left = edited({"blocked_params": ["seed", "logit_bias"]}, seed=1, logit_bias={}, top_p=0.5)

    assert left == {"top_p": 0.5}


def test_blocked_logprobs_take_top_logprobs_with_them() -> None:
    assert edited({"blocked_params": ["logprobs"]}, logprobs=True, top_logprobs=3) == {}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limit_caps_what_the_client_asked_for(name: str) -> None:
    assert edited({"max_tokens_limit": 500}, **{name: 501}) == {name: 500}
    assert edited({"max_tokens_limit": 500}, **{name: 499}) == {name: 499}


def test_caps_set_nothing_that_the_client_did_not_write() -> None:
    assert edited({"max_tokens_limit": 500, "max_n": 1}) == {}
    assert edited({"max_tokens_limit": 500, "max_n": 1}, max_tokens=None) == {"max_tokens": None}


def test_number_of_answers_is_capped() -> None:
    assert edited({"max_n": 2}, n=5) == {"n": 2}


def test_blocked_and_capped_parameter_is_gone() -> None:
    assert edited({"blocked_params": ["n"], "max_n": 1}, n=5) == {}


def test_unknown_parameters_are_stripped_only_when_told_to() -> None:
    fields = {"top_k": 3, "temperature": 0.5, "stream": True, "chat_template_kwargs": {}}

    assert edited({}, **fields) == fields
    assert edited({"strip_unknown": True}, **fields) == {"temperature": 0.5, "stream": True}


def test_nothing_to_do_gives_the_request_itself() -> None:
    given = request("hi", seed=1)

    assert plugin("request_params", blocked_params=["n"], max_n=3).edit(given) is given


@pytest.mark.parametrize("name", ["model", "messages", "stream", "plugins", " "])
def test_what_makes_the_request_cannot_be_blocked(name: str) -> None:
    with pytest.raises(ValidationError):
        plugin("request_params", blocked_params=[name])


def test_known_parameters_are_those_of_the_official_client() -> None:
    params = pytest.importorskip("openai.types.chat.completion_create_params")
    official = {
        *params.CompletionCreateParamsBase.__annotations__,
        *params.CompletionCreateParamsStreaming.__annotations__,
    }

    assert official - KNOWN == set()


def test_effect_names_what_changes() -> None:
    bound = plugin("request_params", blocked_params=["seed"], max_tokens_limit=5, max_n=1)

    told = bound.effect(request("hi", seed=1, max_tokens=9, n=2))

    assert told == "drops seed; caps max_tokens to 5; caps n to 1"
    assert bound.effect(request("hi")) == "changes nothing"
