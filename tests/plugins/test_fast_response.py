"""Plugin `fast_response`: a fixed answer."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from consilience.chat.completion import Usage
from consilience.plugins.base import Call
from support.plugin_parts import plugin, request


def test_message_is_the_answer_as_it_stands() -> None:
    given = plugin("fast_response", message="Not {here}.").answer(Call(request("hi"), {}))

    assert given.completion.text == "Not {here}."
    assert (given.completion.finish_reason, given.completion.usage) == ("stop", Usage())
    assert given.completion.model == "auto"
    assert given.headers["x-vsr-fast-response"] == "true"


def test_blank_message_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not be blank"):
        plugin("fast_response", message=" ")


def test_effect_says_that_no_model_is_called() -> None:
    assert "no model is called" in plugin("fast_response", message="x").effect(request("hi"))
