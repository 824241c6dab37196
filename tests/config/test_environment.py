from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.config import parse_config
from consilience.config.environment import expand, substitute

from .builders import MODELS, problems_of

ENVIRON = {"HOST": "llm", "EMPTY": "", "NESTED": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "llm"),
        ("http://$HOST/v1", "http://llm/v1"),
        ("${MISSING:-other}", "other"),
        ("${MISSING-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${HOST:-other}", "llm"),
        ("${MISSING:-}", ""),
        ("$$HOST", "$HOST"),
        ("$$$HOST", "$llm"),
        (r"^\s*$", r"^\s*$"),
        ("costs 5$ or $5", "costs 5$ or $5"),
        ("${NESTED}", "${HOST}"),
    ],
)
def test_expand_fills_each_form(text: str, expected: str) -> None:
    assert expand(text, ENVIRON) == (expected, (), False)


def test_expand_names_each_unset_variable_once() -> None:
    assert expand("$A ${B} $A ${HOST}", ENVIRON).unset == ("A", "B")


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:?no}", "${A:-${HOST}}"])
def test_expand_refuses_what_is_no_variable(text: str) -> None:
    assert expand(text, ENVIRON).malformed


@given(st.text())
def test_expand_leaves_text_without_a_dollar_alone(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, {}) == (plain, (), False)


@given(st.text())
def test_expand_gives_back_any_text_whose_dollars_are_doubled(text: str) -> None:
    assert expand(text.replace("$", "$$"), {}).text == text


def test_substitute_leaves_keys_and_the_input_alone() -> None:
    data = {"$HOST": ["$HOST", 1, None, True]}

    filled = substitute(data, ENVIRON)

    assert filled.data == {"$HOST": ["llm", 1, None, True]}
    assert data == {"$HOST": ["$HOST", 1, None, True]}
    assert filled.written == {("$HOST", 0): "$HOST"}


def test_unset_variable_is_a_problem_with_its_name_and_place() -> None:
    (problem,) = problems_of(MODELS + "listeners:\n  - {address: $ADDRESS}\n")

    assert "ADDRESS" in problem.message
    assert problem.path == "listeners[0].address"
    assert (problem.line, problem.column) == (9, 15)


def test_variable_becomes_a_number_or_a_truth_value_where_one_is_needed() -> None:
    text = MODELS + (
        "listeners: [{port: $PORT}]\n"
        "routing:\n  decisions:\n    - name: panel\n      modelRefs: [{model: small}]\n"
        "      algorithm:\n        type: fusion\n        fusion:\n"
        "          max_concurrent: ${WIDTH:-3}\n          include_analysis: $SHOW\n"
    )

    config = parse_config(text, environ={"PORT": "9000", "SHOW": "false"})

    assert config.listeners[0].port == 9000
    algorithm = config.routing.decisions[0].algorithm
    assert algorithm is not None
    assert algorithm.options is not None
    assert algorithm.options.model_dump()["max_concurrent"] == 3
    assert algorithm.options.model_dump()["include_analysis"] is False


def test_variable_stays_text_where_text_is_needed() -> None:
    text = MODELS.replace('{endpoint: "127.0.0.1:8001"}', "{base_url: 'http://h', api_key: $KEY}")

    config = parse_config(text, environ={"KEY": "007"})

    key = config.providers.models[1].backend_refs[0].key
    assert key is not None
    assert key.get_secret_value() == "007"


def test_variables_below_ignored_keys_are_not_needed() -> None:
    text = MODELS + "global:\n  services: {ratelimit: {x: '${user_content}'}}\n"

    assert problems_of(text) == ()
