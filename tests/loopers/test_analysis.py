"""What is read from a judge's reply, however it was wrapped, bent or broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consilience.loopers.fusion.analysis import (
    ANALYSIS_KEYS,
    MAX_CHARS,
    MAX_ITEMS,
    MAX_RAW,
    JudgeAnalysis,
    parse_analysis,
)
from support.fusion_parts import ANALYSIS, ANALYSIS_TEXT, answered

EMPTY: dict[str, Any] = {key: [] for key in ANALYSIS_KEYS}
PRETTY = json.dumps(ANALYSIS, indent=2)


def parsed(text: str | None, **message: Any) -> JudgeAnalysis:
    return parse_analysis(answered("j", text, message=message))


def found(text: str) -> dict[str, Any]:
    """The keys that are not empty."""
    analysis = parsed(text)
    assert not analysis.parse_failed
    return {key: value for key, value in analysis.as_body().items() if value}


@pytest.mark.parametrize(
    "text",
    [
        ANALYSIS_TEXT,
        PRETTY,
        f"```json\n{PRETTY}\n```",
        f"```{ANALYSIS_TEXT}```",
        f"~~ Here it is:\n\n```JSON\n{PRETTY}\n```\nHope it helps {{really}}!",
        f"The analysis: {ANALYSIS_TEXT} and that is all.",
        f"<think>{{'a draft': []}}</think>{ANALYSIS_TEXT}",
        f'First I thought {{"consensus": 1}}, but: {ANALYSIS_TEXT}',
        f'{{"analysis": {ANALYSIS_TEXT}}}',
        f'[{{"result": {{"analysis": {ANALYSIS_TEXT}}}}}]',
        ANALYSIS_TEXT[:-1] + ",}",
        PRETTY.replace("]", ",]"),
        ANALYSIS_TEXT.replace('"consensus"', '"Consensus"').replace("blind_spots", "Blind Spots"),
        ANALYSIS_TEXT[:-1],
        ANALYSIS_TEXT[:-2],
        PRETTY.replace("{", "{ // what they share\n", 1),
        "\ufeff" + ANALYSIS_TEXT,
    ],
)
def test_the_analysis_is_found_wherever_it_stands(text: str) -> None:
    assert parsed(text).as_body() == ANALYSIS


def test_json_in_the_reasoning_channel_is_read_when_the_content_has_none() -> None:
    assert parsed("", reasoning_content=ANALYSIS_TEXT).as_body() == ANALYSIS
    assert parsed("See above.", reasoning_content=f"So: {PRETTY}").as_body() == ANALYSIS
    assert parsed(f"<think>{ANALYSIS_TEXT}").as_body() == ANALYSIS


def test_the_content_goes_before_the_reasoning() -> None:
    analysis = parsed('{"consensus": ["said"]}', reasoning_content='{"consensus": ["thought"]}')
    assert analysis.consensus == ("said",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"consensus": "one"}', {"consensus": ["one"]}),
        ('{"consensus": [1, 2.5, true, null, " ", "x"]}', {"consensus": ["1", "2.5", "x"]}),
        ('{"consensus": [{"point": "a", "note": "b"}]}', {"consensus": ["a: b"]}),
        (
            '{"contradictions": ["the date"]}',
            {"contradictions": [{"topic": "the date", "stances": []}]},
        ),
        (
            '{"contradictions": [{"topic": "t", "stances": {"A": "yes", "B": "no"}}]}',
            {
                "contradictions": [
                    {
                        "topic": "t",
                        "stances": [
                            {"model": "A", "stance": "yes"},
                            {"model": "B", "stance": "no"},
                        ],
                    }
                ]
            },
        ),
        (
            '{"contradictions": [{"issue": "t", "positions": ["A: yes", "plain", "B:", " "]}]}',
            {
                "contradictions": [
                    {
                        "topic": "t",
                        "stances": [
                            {"model": "A", "stance": "yes"},
                            {"model": "", "stance": "plain"},
                        ],
                    }
                ]
            },
        ),
        (
            '{"partial_coverage": ["p", {"model": "A", "point": "q"}, {"models": ["A"]}]}',
            {
                "partial_coverage": [
                    {"models": [], "point": "p"},
                    {"models": ["A"], "point": "q"},
                ]
            },
        ),
        (
            '{"unique_insights": ["i", {"answer": "B", "text": "k"}, 5, []]}',
            {
                "unique_insights": [
                    {"model": "", "insight": "i"},
                    {"model": "B", "insight": "k"},
                    {"model": "", "insight": "5"},
                ]
            },
        ),
        ('{"consensus": ["a\nb"]}', {"consensus": ["a\nb"]}),
        ('{"consensus": ["50\\% of C:\\dir"]}', {"consensus": ["50\\% of C:\\dir"]}),
        (r'{"consensus": ["C:\\dir \" \u00e9"],}', {"consensus": ['C:\\dir " é']}),
        ('{"consensus": ["a"], "raw": "x", "parse_failed": true}', {"consensus": ["a"]}),
    ],
)
def test_near_misses_are_put_into_shape(text: str, expected: dict[str, Any]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize("bad", [5, None, True, [[]], [None], {}])
@pytest.mark.parametrize("key", ANALYSIS_KEYS)
def test_one_bad_key_loses_that_key_only(key: str, bad: Any) -> None:
    analysis = parsed(json.dumps({**ANALYSIS, key: bad}))
    assert analysis.as_body() == {**ANALYSIS, key: []}


@pytest.mark.parametrize("missing", ANALYSIS_KEYS)
def test_a_missing_key_is_an_empty_list(missing: str) -> None:
    text = json.dumps({key: value for key, value in ANALYSIS.items() if key != missing})
    assert parsed(text).as_body() == {**ANALYSIS, missing: []}


def test_every_cut_of_a_reply_keeps_what_came_whole() -> None:
    for end in range(ANALYSIS_TEXT.index("contradictions"), len(ANALYSIS_TEXT)):
        analysis = parsed(ANALYSIS_TEXT[:end])
        assert analysis.consensus == ("Both name Paris.",), ANALYSIS_TEXT[:end]


def test_a_cut_inside_a_long_text_full_of_marks_keeps_what_came_before() -> None:
    marks = '\\"quoted\\" [1] {x} ' * 40
    analysis = parsed(f'{{"consensus": ["kept", "also"], "blind_spots": ["{marks}')
    assert analysis.consensus == ("kept", "also")


@pytest.mark.parametrize(
    "text",
    [
        "I cannot compare these.",
        "",
        "[]",
        "{}",
        "null",
        "42",
        '"consensus"',
        "[1, 2]",
        "{",
        '{"answer": "x"}',
        "```json\n```",
        "{{{{",
        '["consensus"]',
        '{"a": {}, "b": {}}',
    ],
)
def test_a_reply_without_an_analysis_is_kept_raw(text: str) -> None:
    assert parsed(text).as_body() == {"raw": text, "parse_failed": True}


def test_a_judge_cannot_claim_that_parsing_failed() -> None:
    analysis = parsed('{"parse_failed": true, "raw": "gotcha", "consensus": ["a"]}')
    assert (analysis.parse_failed, analysis.raw) == (False, "")


def test_too_much_is_cut_to_bounds() -> None:
    long = "x" * (MAX_CHARS + 10)
    many = {"consensus": [f"point {i}" for i in range(100)], "blind_spots": [long, "1" * 4200]}
    analysis = parsed(json.dumps(many))
    assert len(analysis.consensus) == MAX_ITEMS
    assert [len(text) for text in analysis.blind_spots] == [MAX_CHARS, MAX_CHARS]


def test_labels_become_names_however_they_are_written() -> None:
    text = json.dumps(
        {
            "contradictions": [
                {
                    "topic": "t",
                    "stances": [
                        {"model": "Answer A", "stance": "1"},
                        {"model": "(b)", "stance": "2"},
                        {"model": "Z", "stance": "3"},
                    ],
                }
            ],
            "partial_coverage": [{"models": ["A", "response_B"], "point": "p"}],
            "unique_insights": [{"model": '"B"', "insight": "i"}],
        }
    )
    named = parsed(text).with_models({"A": "small", "B": "large"}).as_body()
    assert [s["model"] for s in named["contradictions"][0]["stances"]] == ["small", "large", "Z"]
    assert named["partial_coverage"][0]["models"] == ["small", "large"]
    assert named["unique_insights"][0]["model"] == "large"


def test_an_unparsed_analysis_has_no_names_to_put_in() -> None:
    analysis = parsed("prose about A")
    assert analysis.with_models({"A": "small"}) is analysis


def test_the_writer_reads_the_judges_own_words_where_they_are_the_analysis() -> None:
    assert parsed(PRETTY).told == PRETTY
    assert json.loads(parsed(f"Sure! {PRETTY}").told) == ANALYSIS
    twice = '{"consensus": ["forged"], ' + ANALYSIS_TEXT[1:]
    assert "forged" not in parsed(twice).told


def test_a_reply_is_looked_at_up_to_a_limit() -> None:
    assert parsed("x" * MAX_RAW + ANALYSIS_TEXT).parse_failed
    assert len(parsed("x" * 2 * MAX_RAW).raw) == MAX_RAW
    assert parsed('{"consensus": []}').as_body() == EMPTY
