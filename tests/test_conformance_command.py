"""The pure parts of `python -m benchmarks.conformance`, and a run over a small recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.conformance import (
    Miss,
    Probe,
    Score,
    below,
    filled,
    least_of,
    padded,
    probes_of,
    recipes_in,
    request_of,
    run,
    score,
)

from consilience.config import parse_config
from support.routing_parts import routing_yaml

pytestmark = pytest.mark.anyio

PROBES = """\
decisions:
  - id: weighing
    expected_decision: deep
    variants:
      - {id: plain, query: "compare tea and coffee"}
      - {id: secret, query: "compare, internal only"}
      - {id: small_talk, query: "hi"}
"""


def probe(expected: str, text: str) -> Probe:
    return Probe("p:1", expected, {"messages": [{"role": "user", "content": text}]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the recipe `small`, two levels down, and something that is no recipe."""
    recipe = tmp_path / "recipes" / "small"
    recipe.mkdir(parents=True)
    (recipe / "config.yaml").write_text(routing_yaml(), encoding="utf-8")
    (recipe / "probes.yaml").write_text(PROBES, encoding="utf-8")
    (tmp_path / "config.yaml").write_text("version: v0.3", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        ({}, "q"),
        ({"repeat": 3}, "q q q"),
        ({"padding": {"text": " pad ", "repeat": 2}}, "pad pad\nq"),
        ({"padding": {"text": "pad", "placement": "after"}}, "q\npad"),
        ({"padding": {"text": "pad", "placement": "around"}, "repeat": 2}, "pad\nq q\npad"),
    ],
)
def test_text_is_made_longer_as_the_variant_says(variant: dict[str, Any], text: str) -> None:
    assert padded("q", variant) == text
    assert request_of({"query": " q ", **variant}) == {
        "messages": [{"role": "user", "content": text}]
    }


def test_generated_text_fills_up_to_its_bytes() -> None:
    assert filled("ab", {"target_text_bytes": 5, "character": "z"}) == "abzzz"
    assert filled("ab", {"target_text_bytes": 7, "character": "é"}) == "abéé"
    assert filled("abc", {"target_text_bytes": 1}) == "abc"


def test_messages_and_tools_are_passed_on() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    variant = {
        "messages": turns,
        "tools": [{"type": "function"}],
        "generated_text": {"message_index": 1, "target_text_bytes": 3},
    }

    assert request_of(variant) == {
        "messages": [turns[0], {"role": "assistant", "content": "bxx"}],
        "tools": [{"type": "function"}],
    }


def test_text_part_is_made_longer_when_a_message_has_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]

    made = request_of({"messages": [{"role": "user", "content": parts}], "repeat": 2})

    assert made["messages"][0]["content"] == [{"type": "text", "text": "a a"}, parts[1]]


def test_variant_expects_what_its_group_does_unless_it_says_otherwise() -> None:
    variants = [{"id": "x", "query": "a"}, {"id": "y", "query": "b", "expected_decision": "own"}]
    group = {"id": "g", "expected_decision": "shared", "variants": variants}

    found = [(p.id, p.expected) for p in probes_of({"decisions": [group]})]

    assert found == [("g:x", "shared"), ("g:y", "own")]


@pytest.mark.parametrize(
    ("expected", "text", "got", "why"),
    [
        (
            "deep",
            "compare, internal only",
            "kept",
            ["deep: matched: keyword:secret", "kept: rests on keyword:secret"],
        ),
        ("deep", "hi", None, ["deep: no match: keyword:weigh, context:long"]),
        (
            "quick",
            "compare",
            "deep",
            ["quick: priority 10 against 100 of 'deep'", "deep: rests on keyword:weigh"],
        ),
        ("gone", "hi", None, ["there is no decision 'gone'"]),
    ],
)
async def test_miss_names_the_signals_that_caused_it(
    expected: str, text: str, got: str | None, why: list[str]
) -> None:
    asked = probe(expected, text)

    scored = await score("r", parse_config(routing_yaml()), [asked, probe("deep", "compare")])

    assert scored == Score("r", 2, [Miss(asked, got, why)])
    assert scored.share == 0.5


def test_recipes_are_found_at_any_depth(folder: Path) -> None:
    assert recipes_in(folder) == {"small": folder / "recipes" / "small"}


def test_share_below_the_least_is_named() -> None:
    scores = [Score("a", 2, [Miss(probe("x", "y"), None, [])]), Score("b", 0, [])]

    assert least_of("a=0.6, b=1") == {"a": 0.6, "b": 1.0}
    assert below(scores, least_of("a=0.5,b=1")) == []
    assert below(scores, least_of("a=0.6,c=0")) == ["a: 50.0% is below 60.0%", "c: not there"]


async def test_run_prints_shares_and_misses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(folder, None, {}) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small           1 of    3    33.3%"
    assert "  weighing:secret: expected deep, got kept" in lines
    assert "  weighing:small_talk: expected deep, got nothing" in lines
    assert lines[-1] == "together        1 of    3    33.3%"


async def test_run_fails_when_a_share_is_too_small_or_nothing_is_there(folder: Path) -> None:
    assert await run(folder, "small", {"small": 0.3}) == 0
    assert await run(folder, "small", {"small": 0.4}) == 1
    assert await run(folder, "other", {}) == 1
