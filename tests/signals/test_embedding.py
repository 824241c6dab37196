from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.signals.base import SignalResult
from consilience.signals.embedding import (
    Embedding,
    EmbeddingConfig,
    EmbeddingRule,
    Endpoint,
    SemanticSettings,
)
from support.conversation import facts
from support.meanings import found, matched

pytestmark = pytest.mark.anyio

TEXT = "red green blue grey"


def rule(name: str, *candidates: str, threshold: float = 0.6, **more: Any) -> EmbeddingRule:
    return EmbeddingRule(name=name, candidates=candidates, threshold=threshold, **more)


def configured(**config: Any) -> SemanticSettings:
    return SemanticSettings(embedding_config=EmbeddingConfig(**config))


async def says(*rules: EmbeddingRule, text: str = TEXT, **config: Any) -> dict[str, SignalResult]:
    return dict(await found(Embedding, rules, facts(text), settings=configured(**config)))


@pytest.mark.parametrize(("threshold", "match"), [(0.5, True), (0.51, False)])
async def test_rule_matches_from_its_threshold_on(threshold: float, match: bool) -> None:
    results = await says(rule("colours", "red", threshold=threshold), enable_soft_matching=False)
    assert results["colours"].matched is match
    assert results["colours"].value == pytest.approx(0.5)
    assert results["colours"].confidence == pytest.approx(0.5)


async def test_rule_below_its_threshold_matches_softly_when_no_other_does() -> None:
    results = await says(rule("colours", "red green", threshold=0.9), rule("far", "one"))
    assert matched(results) == ["colours"]
    assert results["colours"].detail == {"soft": True}


async def test_rule_below_its_threshold_does_not_match_when_another_does() -> None:
    results = await says(rule("soft", "red green", threshold=0.9), rule("hard", TEXT))
    assert matched(results) == ["hard"]
    assert results["hard"].detail == {}


@pytest.mark.parametrize("config", [{"enable_soft_matching": False}, {"min_score_threshold": 0.8}])
async def test_nothing_matches_softly_when_it_may_not(config: dict[str, Any]) -> None:
    assert matched(await says(rule("colours", "red green", threshold=0.9), **config)) == []


@pytest.mark.parametrize(
    ("most", "expected"), [(1, ["whole"]), (2, ["whole", "half"]), (0, ["whole", "half", "less"])]
)
def test_only_the_best_rules_stay_when_several_match(most: int, expected: list[str]) -> None:
    signal = Embedding([rule("whole", TEXT)], configured(top_k=most))
    scores = {"whole": 1.0, "half": 0.8, "less": 0.7}
    results = {name: SignalResult(True, value=value) for name, value in scores.items()}
    narrowed = signal.narrow(results | {"none": SignalResult(False, value=0.9)})
    assert [name for name, result in narrowed.items() if result.matched] == expected
    assert {name: result.value for name, result in narrowed.items()} == scores | {"none": 0.9}


@pytest.mark.parametrize("modality", ["image", "audio"])
async def test_rule_never_matches_when_it_is_not_about_text(modality: str) -> None:
    results = await says(rule("seen", TEXT, query_modality=modality), rule("far", "one"))
    assert matched(results) == []


async def test_score_is_the_mean_when_the_rule_says_so() -> None:
    results = await says(rule("mean", "red", "yellow", threshold=0.25, aggregation_method="mean"))
    assert results["mean"].value == pytest.approx(0.25)


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
async def test_nothing_matches_when_there_is_nothing_to_compare(text: str) -> None:
    assert matched(await says(rule("colours", "red", threshold=0.1), text=text)) == []


async def test_middle_of_a_long_text_is_compared() -> None:
    filler = "one two three four " * 2000
    results = await says(
        rule("colours", "violet", threshold=0.001), text=f"{filler}{'violet ' * 60}{filler}"
    )
    assert matched(results) == ["colours"]


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, True),
        ({"model": "wordllama-256"}, False),
        ({"embedding_config": {"backend": "onnx"}}, False),
        ({"embedding_config": {"backend": "openai_compatible"}}, True),
    ],
)
def test_endpoint_is_asked_unless_a_local_model_is_named(
    settings: dict[str, Any], asked: bool
) -> None:
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m"}
    parsed = SemanticSettings.model_validate({"endpoint": endpoint, **settings})
    assert (parsed.remote is parsed.endpoint) is asked


@pytest.mark.parametrize(
    "url",
    ["localhost/v1", "ftp://a/v1", "http://", "http://u:p@a/v1", "http://a/v1?x=1", "http://a/ b"],
)
def test_address_of_an_endpoint_is_refused_when_it_cannot_be_asked(url: str) -> None:
    with pytest.raises(ValidationError):
        Endpoint(base_url=url, model="m")


def test_key_of_an_endpoint_is_refused_when_it_fits_no_header() -> None:
    with pytest.raises(ValidationError, match="one line of Latin characters"):
        Endpoint.model_validate({"base_url": "http://a/v1", "model": "m", "api_key": "a\nb"})


@pytest.mark.parametrize("candidates", [(), ("",), ("x" * 2001,), ("x",) * 501])
def test_candidates_are_refused_when_they_are_none_or_too_much(candidates: Any) -> None:
    with pytest.raises(ValidationError):
        EmbeddingRule(name="a", threshold=0.5, candidates=candidates)
