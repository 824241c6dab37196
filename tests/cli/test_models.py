from __future__ import annotations

import json

from support.command import invoke

SMOLLM2 = "smollm2-135m-instruct"


def test_models_list_as_json_says_what_is_here() -> None:
    result = invoke("models", "list", "--json")

    entries = {entry["name"]: entry for entry in json.loads(result.out)}
    assert result.code == 0
    assert {name: entry["purpose"] for name, entry in entries.items()} == {
        SMOLLM2: "chat",
        "wordllama-256": "embedding",
        "minilm-l6-int8": "embedding",
    }
    assert not any(entry["pulled"] for entry in entries.values())
    assert entries[SMOLLM2]["license"] == "Apache-2.0"


def test_models_list_as_text_says_what_is_here() -> None:
    result = invoke("models", "list")

    assert result.code == 0
    assert result.out.startswith(f"{SMOLLM2}  chat  93 MiB  Apache-2.0  not pulled\n")
    assert "\nwordllama-256  embedding  17 MiB  MIT  not pulled\n" in result.out


def test_pull_of_an_unknown_model_suggests_the_near_one() -> None:
    result = invoke("models", "pull", "smollm-135m")

    assert (result.code, result.out) == (1, "")
    assert f"did you mean '{SMOLLM2}'?" in result.err


def test_rm_of_an_unknown_model_names_those_there_are() -> None:
    result = invoke("models", "rm", "zzz")

    assert result.code == 1
    assert f"there is: {SMOLLM2}" in result.err


def test_rm_of_a_model_that_is_not_here_is_done_already() -> None:
    result = invoke("models", "rm", SMOLLM2)

    assert result.code == 0
    assert "was not there" in result.err
