"""Arguments that a command does not take: what is said of them."""

from __future__ import annotations

import pytest

from support.command import invoke


@pytest.mark.parametrize(
    "arguments", [("serve", "x.yaml"), ("ask", "hi", "x.yaml"), ("explain", "hi", "x.YML")]
)
def test_a_file_is_told_to_be_named_with_its_option(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)

    assert (result.code, result.out) == (2, "")
    assert f"consilience {arguments[0]} -c {arguments[-1]}" in result.err


@pytest.mark.parametrize("command", ["ask", "explain"])
def test_a_prompt_of_several_words_is_told_to_need_quotes(command: str) -> None:
    result = invoke(command, "what", "is", "it")

    assert (result.code, result.out) == (2, "")
    assert "unexpected: is it\nPut the prompt in quotes." in result.err
