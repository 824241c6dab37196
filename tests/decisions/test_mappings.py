from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from consilience.decisions.mappings import Bands
from consilience.decisions.projections import Output, ScoreMapping
from consilience.decisions.scores import ScoreValue
from consilience.signals.base import SignalKey, SignalResult

LOW_MID_HIGH = [
    {"name": "low", "lt": 0.2},
    {"name": "mid", "gte": 0.2, "lt": 0.5},
    {"name": "high", "gte": 0.5},
]


def mapping(outputs: list[dict[str, Any]], **fields: Any) -> ScoreMapping:
    return ScoreMapping.model_validate(
        {"name": "m", "source": "s", "method": "threshold_bands", "outputs": outputs, **fields}
    )


def mapped(of: ScoreMapping, score: ScoreValue) -> dict[str, SignalResult]:
    results: dict[SignalKey, SignalResult] = {}
    Bands(of).apply(score, results)
    assert {key.kind for key in results} == {"projection"}
    return {key.name: result for key, result in results.items()}


def matched(of: ScoreMapping, value: float) -> list[str]:
    return [name for name, r in mapped(of, ScoreValue(value)).items() if r.matched]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (-9.0, ["low"]),
        (0.19, ["low"]),
        (0.2, ["mid"]),
        (0.49, ["mid"]),
        (0.5, ["high"]),
        (math.inf, []),
        (math.nan, []),
    ],
)
def test_first_output_that_fits_matches(value: float, names: list[str]) -> None:
    assert matched(mapping(LOW_MID_HIGH), value) == names


@pytest.mark.parametrize(
    ("method", "names"), [("threshold_bands", ["some"]), ("multi_emit", ["some", "much"])]
)
def test_method_says_whether_more_than_one_may_match(method: str, names: list[str]) -> None:
    outputs = [{"name": "some", "gt": 0}, {"name": "much", "gt": 1}, {"name": "not", "lte": 0}]

    assert matched(mapping(outputs, method=method), 2.0) == names


@pytest.mark.parametrize(
    ("slope", "value", "confidence"),
    [
        (None, 0.2, 0.5),
        (None, 0.3, 1 / (1 + math.exp(-12 * 0.1))),
        (None, 0.45, 1 / (1 + math.exp(-12 * 0.05))),
        (4.0, 0.3, 1 / (1 + math.exp(-4 * 0.1))),
    ],
)
def test_confidence_grows_with_the_distance_to_the_nearest_bound(
    slope: float | None, value: float, confidence: float
) -> None:
    fields = {} if slope is None else {"calibration": {"slope": slope}}

    found = mapped(mapping(LOW_MID_HIGH, **fields), ScoreValue(value))["mid"]

    assert found.confidence == pytest.approx(confidence)
    assert found.value == value


def test_output_without_bounds_always_fits_with_confidence_one() -> None:
    found = mapped(mapping([{"name": "high", "gte": 1}, {"name": "rest"}]), ScoreValue(-1e300))

    assert found["rest"].matched
    assert found["rest"].confidence == 1.0


def test_outputs_are_unknown_when_the_score_is() -> None:
    found = mapped(
        mapping([*LOW_MID_HIGH, {"name": "rest"}]), ScoreValue(None, ["a:b"], "all failed")
    )

    assert {(r.matched, r.error) for r in found.values()} == {(False, "all failed")}


def test_detail_names_score_and_failed_inputs() -> None:
    found = mapped(mapping(LOW_MID_HIGH), ScoreValue(0.1, ["keyword:bad"]))

    assert found["low"].detail == {"score": "s", "failed_inputs": ["keyword:bad"]}


def test_trace_tells_every_output() -> None:
    bands = Bands(mapping(LOW_MID_HIGH[:2]))
    results: dict[SignalKey, SignalResult] = {}
    bands.apply(ScoreValue(0.2), results)

    assert bands.trace(results).as_body() == {
        "type": "mapping",
        "name": "m",
        "source": "s",
        "outputs": [
            {"name": "low", "matched": False, "confidence": None},
            {"name": "mid", "matched": True, "confidence": 0.5},
        ],
    }


@pytest.mark.parametrize("bounds", [{"gt": 1, "gte": 1}, {"gte": 2, "lt": 1}, {"gt": math.nan}])
def test_output_is_refused_when_nothing_fits_it(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Output.model_validate({"name": "a", **bounds})
