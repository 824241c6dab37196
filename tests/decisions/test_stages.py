"""What is in use, and the stages between signals and rule trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from consilience.decisions.needs import Needs
from consilience.decisions.projections import Projections
from consilience.decisions.stages import Stages
from consilience.rules.grammar import Composer
from consilience.signals.base import PureSignal, RequestFacts, SignalKey, SignalResult, SignalRule

NO = SignalResult(False)
FAILED = SignalResult(False, error="broken")


class ComposedRule(SignalRule):
    composer: Composer | None = None

    def emits(self) -> Sequence[str]:
        return (f"{self.name}:hard", f"{self.name}:easy")


class Depth(PureSignal[ComposedRule]):
    kind: ClassVar[str] = "depth"
    config_key: ClassVar[str] = "depths"
    Rule: ClassVar[type[SignalRule]] = ComposedRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        return {}


class Topmost(PureSignal[SignalRule]):
    """Keeps its most confident result."""

    kind: ClassVar[str] = "embedding"
    config_key: ClassVar[str] = "embeddings"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        return {}

    def narrow(self, results: Mapping[str, SignalResult]) -> Mapping[str, SignalResult]:
        best = max(results, key=lambda name: results[name].matched * results[name].confidence)
        return {name: result if name == best else NO for name, result in results.items()}


class Breaking(Topmost):
    def narrow(self, results: Mapping[str, SignalResult]) -> Mapping[str, SignalResult]:
        raise RuntimeError


class Forgetful(Topmost):
    def narrow(self, results: Mapping[str, SignalResult]) -> Mapping[str, SignalResult]:
        return {}


def leaf(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "name": name}


RULES: Mapping[str, Sequence[SignalRule]] = {
    "keyword": [SignalRule(name=name) for name in ("a", "b", "unused")],
    "domain": [SignalRule(name=name) for name in ("law", "math", "other")],
    "depth": [
        ComposedRule.model_validate(
            {"name": "proof", "composer": {"conditions": [leaf("domain", "math")]}}
        ),
        ComposedRule(name="free"),
    ],
}
PROJECTIONS = Projections.model_validate(
    {
        "partitions": [
            {
                "name": "subject",
                "semantics": "exclusive",
                "members": ["law", "math", "other"],
                "default": "other",
            }
        ],
        "scores": [
            {
                "name": "top",
                "method": "weighted_sum",
                "inputs": [
                    {"type": "score", "name": "effort", "weight": 2.0},
                    {"type": "keyword", "name": "a", "weight": 0.25},
                ],
            },
            {
                "name": "effort",
                "method": "weighted_sum",
                "inputs": [{"type": "depth", "name": "proof:hard", "weight": 1.0}],
            },
            {
                "name": "idle",
                "method": "weighted_sum",
                "inputs": [{"type": "keyword", "name": "unused", "weight": 1.0}],
            },
        ],
        "mappings": [
            {
                "name": "band",
                "source": "top",
                "method": "threshold_bands",
                "outputs": [{"name": "low", "lt": 1.0}, {"name": "high", "gte": 1.0}],
            },
            {
                "name": "idle_band",
                "source": "idle",
                "method": "multi_emit",
                "outputs": [{"name": "never_asked"}],
            },
        ],
    }
)


def needs(*asked: SignalKey, rules: Mapping[str, Sequence[SignalRule]] = RULES) -> Needs:
    return Needs(PROJECTIONS, rules, asked)


def keys(text: str) -> set[SignalKey]:
    return {SignalKey(*each.split(" ", 1)) for each in text.split(", ") if each}


@pytest.mark.parametrize(
    ("asked", "signals"),
    [
        ("keyword b", "keyword b"),
        ("domain law", "domain law, domain math, domain other"),
        ("depth proof:easy", "depth proof:easy, domain law, domain math, domain other"),
        ("depth free:easy", "depth free:easy"),
        (
            "projection high",
            "keyword a, depth proof:hard, domain law, domain math, domain other",
        ),
        ("projection gone", ""),
        ("kb gone", "kb gone"),
    ],
)
def test_signals_in_use_are_all_that_rules_rest_on_and_no_more(asked: str, signals: str) -> None:
    assert needs(*keys(asked)).signals == keys(signals)


def test_projections_in_use_are_those_that_rules_rest_on() -> None:
    found = needs(SignalKey("projection", "high"))

    assert [score.name for score in found.scores] == ["top", "effort"]
    assert [mapping.name for mapping in found.mappings] == ["band"]
    assert [partition.name for partition, _ in found.partitions] == ["subject"]


def test_results_are_the_same_object_when_there_is_nothing_to_do() -> None:
    found = {SignalKey("keyword", "b"): SignalResult(True)}
    stages = Stages(needs(*found), [Depth(RULES["depth"])])  # type: ignore[arg-type]  # rules are composed

    assert stages.apply(found) is found
    assert not stages.projects
    assert list(stages.trace(found)) == []


def applied(found: Mapping[str, SignalResult], *asked: str) -> dict[str, SignalResult]:
    """What rule trees read, by `kind name`; what is not given was found not to match."""
    in_use = needs(*(SignalKey(*each.split(" ", 1)) for each in asked))
    results = {key: found.get(f"{key.kind} {key.name}", NO) for key in in_use.signals}
    return {
        f"{key.kind} {key.name}": result
        for key, result in Stages(in_use, []).apply(results).items()
    }


@pytest.mark.parametrize(
    ("subject", "matched", "detail"),
    [
        ({"domain math": SignalResult(True, 0.9)}, True, {}),
        ({"domain law": SignalResult(True, 0.9)}, False, {"composer": "composer did not match"}),
        (
            {"domain law": SignalResult(True, 0.9), "domain math": SignalResult(True, 0.8)},
            False,
            {"composer": "composer did not match"},
        ),
    ],
)
def test_composer_is_asked_after_partitions(
    subject: dict[str, SignalResult], matched: bool, detail: dict[str, str]
) -> None:
    found = applied(
        {"depth proof:hard": SignalResult(True, 0.7, 0.7), **subject}, "depth proof:hard"
    )["depth proof:hard"]

    assert (found.matched, found.value, found.detail) == (matched, 0.7, detail)


def test_match_is_an_error_when_its_composer_is_unknown() -> None:
    failed = dict.fromkeys(("domain law", "domain math", "domain other"), FAILED)

    found = applied(
        {"depth proof:hard": SignalResult(True), **failed}, "depth proof:hard", "depth proof:easy"
    )

    assert found["depth proof:hard"].error == (
        "its composer could not be evaluated: domain 'math' could not be evaluated (broken)"
    )
    assert not found["depth proof:hard"].matched
    assert found["depth proof:easy"] is NO


def test_scores_see_what_composers_took_back() -> None:
    hard = {"depth proof:hard": SignalResult(True)}

    outside = applied({**hard, "keyword a": SignalResult(True)}, "projection high")
    inside = applied({**hard, "domain math": SignalResult(True)}, "projection high")

    assert (outside["projection low"].matched, outside["projection low"].value) == (True, 0.25)
    assert (inside["projection high"].matched, inside["projection high"].value) == (True, 2.0)


def test_outputs_are_unknown_when_everything_below_them_failed() -> None:
    found = applied({"keyword a": FAILED, "depth proof:hard": FAILED}, "projection high")

    assert found["projection high"].error == (
        "every input of score 'top' failed: score:effort, keyword:a"
    )


def test_output_that_no_mapping_has_is_an_error() -> None:
    assert applied({}, "projection gone")["projection gone"].error == (
        "no projection output named 'gone' is configured"
    )


def test_trace_has_every_projection_in_use() -> None:
    in_use = needs(SignalKey("projection", "high"))
    stages = Stages(in_use, [])
    results = stages.apply(dict.fromkeys(in_use.signals, NO))

    bodies = [trace.as_body() for trace in stages.trace(results)]

    assert [(body["type"], body["name"]) for body in bodies] == [
        ("partition", "subject"),
        ("score", "effort"),
        ("score", "top"),
        ("mapping", "band"),
    ]
    assert bodies[0]["winner"] == "other"


def narrowed(kind: type[Topmost]) -> dict[str, SignalResult]:
    rules = [SignalRule(name="a"), SignalRule(name="b")]
    found = {
        SignalKey("embedding", "a"): SignalResult(True, 0.5),
        SignalKey("embedding", "b"): SignalResult(True, 0.9),
        SignalKey("keyword", "a"): SignalResult(True),
    }
    stages = Stages(needs(*found, rules={"embedding": rules}), [kind(rules)])
    results = stages.apply(found)
    assert results[SignalKey("keyword", "a")].matched
    return {key.name: result for key, result in results.items() if key.kind == "embedding"}


def test_signal_narrows_its_own_results() -> None:
    assert narrowed(Topmost) == {"a": NO, "b": SignalResult(True, 0.9)}


def test_results_stay_when_a_signal_leaves_them_out() -> None:
    assert narrowed(Forgetful) == {"a": SignalResult(True, 0.5), "b": SignalResult(True, 0.9)}


def test_results_are_errors_when_narrowing_breaks(caplog: pytest.LogCaptureFixture) -> None:
    found = narrowed(Breaking)

    assert {result.error for result in found.values()} == {"failed: RuntimeError"}
    assert [record.message for record in caplog.records] == ["signal_failed"]


def test_narrowing_changes_nothing_by_default() -> None:
    results: dict[str, Any] = {"a": NO}

    assert Depth([ComposedRule(name="a")]).narrow(results) is results
