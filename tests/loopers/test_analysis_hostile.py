"""No reply of a judge makes the parser raise, run on, or give more than its bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.loopers.fusion.analysis import (
    ANALYSIS_KEYS,
    MAX_CHARS,
    MAX_ITEMS,
    MAX_RAW,
    JudgeAnalysis,
    parse_analysis,
)
from support.fusion_parts import answered

PIECES = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "\\",
        "\\u",
        "\\ud800",
        "\n",
        "```",
        "```json\n",
        "//",
        "null",
        "True",
        "None",
        "1e999",
        "-1",
        "NaN",
        "0",
        "'",
        "<think>",
        "</think>",
        "\x00",
        "\u2028",
        *(f'"{key}":' for key in ANALYSIS_KEYS),
        '"stances":',
        '"model":',
        '"A"',
        '"topic":',
        '{"consensus": ["a"]}',
        '"models": [',
        '"point":',
    ]
)
texts = st.lists(PIECES | st.text(max_size=4), max_size=40).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["model", "models", "topic", "point", "stances", "insight"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        assert isinstance(value, str)
        yield value


def check(analysis: JudgeAnalysis) -> None:
    body = analysis.as_body()
    if analysis.parse_failed:
        assert body.keys() == {"raw", "parse_failed"}
        assert len(body["raw"]) <= MAX_RAW
        return
    assert list(body) == list(ANALYSIS_KEYS)
    assert all(len(items) <= MAX_ITEMS for items in body.values())
    assert all(len(text) <= MAX_CHARS for text in leaves(body))
    for c in body["contradictions"]:
        assert c.keys() == {"topic", "stances"}
        assert all(s.keys() == {"model", "stance"} for s in c["stances"])
        assert len(c["stances"]) <= MAX_ITEMS
    assert all(p.keys() == {"models", "point"} for p in body["partial_coverage"])
    assert all(u.keys() == {"model", "insight"} for u in body["unique_insights"])
    json.dumps(analysis.with_models({"A": "m"}).as_body(), allow_nan=False)
    json.loads(analysis.told)


@given(texts, texts)
def test_any_reply_gives_an_analysis_within_bounds(content: str, reasoning: str) -> None:
    check(parse_analysis(answered("j", content, message={"reasoning_content": reasoning})))


@given(st.dictionaries(st.sampled_from(ANALYSIS_KEYS) | st.text(), json_values, max_size=6))
def test_any_json_gives_an_analysis_within_bounds(value: dict[str, Any]) -> None:
    check(parse_analysis(answered("j", json.dumps(value))))


words = st.text(min_size=1, max_size=30).map(str.strip).filter(bool)
labels = st.sampled_from(["A", "B", "C"])


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=5)


analyses = st.fixed_dictionaries(
    {
        "consensus": lists(words),
        "contradictions": lists(
            st.fixed_dictionaries(
                {
                    "topic": words,
                    "stances": lists(st.fixed_dictionaries({"model": labels, "stance": words})),
                }
            )
        ),
        "partial_coverage": lists(st.fixed_dictionaries({"models": lists(labels), "point": words})),
        "unique_insights": lists(st.fixed_dictionaries({"model": labels, "insight": words})),
        "blind_spots": lists(words),
    }
)


@given(analyses, st.sampled_from([None, 2]), st.booleans())
def test_a_proper_analysis_survives_whole(
    value: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    analysis = parse_analysis(answered("j", text))
    assert analysis.as_body() == value
    assert json.loads(analysis.told) == value


@pytest.mark.parametrize(
    "text",
    [
        "```" + "a" * 70_000,
        "```" + " " * 70_000,
        "```json " * 9_000,
        "`" * 70_000,
        "{" * 70_000,
        '{"a":' * 14_000,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"analysis":' * 5_000 + '{"consensus":["x"]}' + "}" * 5_000,
        "[" * 70_000,
        '"' * 70_000,
        "\\" * 70_000,
        '{"consensus": ["' + '\\"' * 35_000,
        '{"consensus": ["' + 'x" ' * 25_000,
        '{"consensus": [' + '"x",' * 17_000,
        "{}```{``````" * 6_000,
        "//" * 35_000 + "{",
        '{"a": 1,' + " " * 70_000,
        "<think>" * 10_000,
        "1" * 70_000,
        '{"consensus": [' + "9" * 4_299 + "]}",
        '{"consensus": [' + "9" * 60_000 + "]}",
        "x" * 1_000_000,
        '{"consensus": ["' + "x" * 1_000_000 + '"]}',
    ],
)
@pytest.mark.timeout(20)  # two of them once took a minute
def test_a_reply_made_to_hurt_is_read_soon(text: str) -> None:
    check(parse_analysis(answered("j", text)))


def test_wrapping_without_end_is_given_up() -> None:
    text = '{"a":' * 500 + '{"consensus":["x"]}' + "}" * 500
    analysis = parse_analysis(answered("j", text))
    assert not analysis.parse_failed or analysis.raw == text
