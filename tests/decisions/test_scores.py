from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from consilience.decisions.projections import Score, ScoreInput
from consilience.decisions.scores import ScoreValue, WeightedSum, cycles, in_order
from consilience.signals.base import SignalKey, SignalResult

RESULTS = {
    SignalKey("keyword", "yes"): SignalResult(True, 0.8, 3.0),
    SignalKey("keyword", "no"): SignalResult(False, 0.9, 0.25),
    SignalKey("keyword", "plain"): SignalResult(True),
    SignalKey("keyword", "nan"): SignalResult(True, math.nan, math.nan),
    SignalKey("keyword", "bad"): SignalResult(False, error="broken"),
    SignalKey("kb", "privacy.margin"): SignalResult(False, value=-0.4),
}


def score(name: str, *inputs: dict[str, Any]) -> Score:
    return Score.model_validate(
        {
            "name": name,
            "method": "weighted_sum",
            "inputs": [{"type": "keyword", "weight": 1.0, **each} for each in inputs],
        }
    )


def value(*inputs: dict[str, Any], **scores: float | None) -> ScoreValue:
    known = {name: ScoreValue(v, error=None if v else "gone") for name, v in scores.items()}
    return WeightedSum(score("s", *inputs)).value(RESULTS, known)


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ({"name": "yes"}, 1.0),
        ({"name": "no"}, 0.0),
        ({"name": "yes", "match": 4, "miss": -1}, 4.0),
        ({"name": "no", "match": 4, "miss": -1}, -1.0),
        ({"name": "yes", "value_source": "confidence"}, 0.8),
        ({"name": "no", "value_source": "confidence"}, 0.0),
        ({"name": "no", "value_source": "confidence", "miss": 0.1}, 0.1),
        ({"name": "nan", "value_source": "confidence", "miss": 0.1}, 0.1),
        ({"name": "yes", "value_source": "raw"}, 3.0),
        ({"name": "no", "value_source": "raw"}, 0.25),
        ({"name": "plain", "value_source": "raw", "miss": 0.5}, 0.5),
        ({"name": "nan", "value_source": "raw", "miss": 0.5}, 0.5),
        ({"type": "kb_metric", "kb": "privacy", "metric": "margin"}, -0.4),
        ({"type": "score", "name": "other", "value_source": "score"}, 0.7),
        ({"type": "projection", "name": "other"}, 0.7),
    ],
)
def test_input_counts_as_its_source_says(each: dict[str, Any], expected: float) -> None:
    found = value({**each, "weight": 2.0}, other=0.7)

    assert found.value == pytest.approx(2 * expected)
    assert found.failed == []


def test_score_is_the_sum_of_weighted_inputs() -> None:
    found = value(
        {"name": "yes", "weight": -0.5},
        {"name": "yes", "weight": 0.25, "value_source": "confidence"},
        {"name": "no", "weight": 9},
    )

    assert found.value == pytest.approx(-0.3)


def test_failed_input_is_a_miss_and_is_named() -> None:
    found = value(
        {"name": "yes"},
        {"name": "bad", "miss": 0.5},
        {"name": "gone"},
        {"type": "score", "name": "x"},
    )

    assert found.value == pytest.approx(1.5)
    assert found.failed == ["keyword:bad", "keyword:gone", "score:x"]


def test_score_is_unknown_when_every_input_failed() -> None:
    found = value(*[{"name": "bad"}] * 6)

    assert found.value is None
    assert found.error == (
        "every input of score 's' failed: keyword:bad, keyword:bad, keyword:bad, keyword:bad and 2 more"
    )


def test_unknown_score_is_a_failed_input_of_another() -> None:
    found = value({"type": "score", "name": "lost"}, {"name": "yes"}, lost=None)

    assert (found.value, found.failed) == (1.0, ["score:lost"])


def test_trace_tells_what_each_input_adds() -> None:
    compiled = WeightedSum(score("s", {"name": "yes", "weight": 0.5}, {"name": "bad", "weight": 2}))
    values = {"s": compiled.value(RESULTS, {})}

    assert compiled.trace(RESULTS, values).as_body() == {
        "type": "score",
        "name": "s",
        "value": 0.5,
        "inputs": [
            {
                "type": "keyword",
                "name": "yes",
                "value_source": "binary",
                "weight": 0.5,
                "value": 1.0,
                "contribution": 0.5,
            },
            {
                "type": "keyword",
                "name": "bad",
                "value_source": "binary",
                "weight": 2.0,
                "value": 0.0,
                "contribution": 0.0,
                "error": "broken",
            },
        ],
    }


def test_scores_come_after_those_they_are_made_of() -> None:
    on = {"type": "score"}
    scores = [
        score("top", {**on, "name": "mid"}, {**on, "name": "low"}),
        score("mid", {**on, "name": "low"}),
        score("low", {"name": "yes"}),
    ]

    assert [each.name for each in in_order(scores)] == ["low", "mid", "top"]
    assert list(cycles(scores)) == []


def test_circle_is_named_in_full() -> None:
    on = {"type": "projection"}
    scores = [
        score("a", {**on, "name": "b"}),
        score("b", {**on, "name": "c"}),
        score("c", {**on, "name": "a"}, {"name": "yes"}),
        score("self", {**on, "name": "self"}),
    ]

    found = sorted(cycles(scores), key=len)

    assert found[0] == ("self", "self")
    assert len(found) == 2
    assert found[1][0] == found[1][-1]
    assert "".join(found[1]) in ("abca", "bcab", "cabc")
    with pytest.raises(ValueError, match="made of each other: "):
        in_order(scores)


def test_long_chain_of_scores_has_an_order() -> None:
    chain = [score(f"s{i}", {"type": "score", "name": f"s{i + 1}"}) for i in range(499)]
    chain.append(score("s499", {"name": "yes"}))

    assert next(iter(in_order(chain))).name == "s499"


@pytest.mark.parametrize(
    ("each", "words"),
    [
        ({"type": "keyword"}, "an input of type keyword needs `name`"),
        ({"type": "kb_metric", "kb": "a"}, "an input of type kb_metric needs `metric`"),
        ({"type": "keyword", "name": "a", "kb": "b"}, "`kb` does not go with"),
        (
            {"type": "score", "name": "a", "value_source": "raw"},
            "`value_source` of an input of type",
        ),
        (
            {"type": "keyword", "name": "a", "value_source": "score"},
            "`value_source` score goes with",
        ),
        ({"type": "keyword", "name": "a", "weight": math.inf}, "finite"),
    ],
)
def test_input_is_refused_when_its_fields_do_not_go_together(
    each: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ScoreInput.model_validate({"weight": 1.0, **each})
