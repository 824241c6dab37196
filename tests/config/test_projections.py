"""What is wrong or doubtful in projections beyond what files in `mistakes/` show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from consilience.config import build_config
from consilience.config.projection_checks import check_composer, check_default, check_members
from consilience.decisions.projections import Partition
from consilience.rules.grammar import parse_rules

from .builders import data

PROFILE = ("routing",)


def warnings(*outputs: dict[str, Any], method: str = "threshold_bands") -> dict[str, str]:
    """What is said of a mapping with these outputs, by the end of the path."""
    score = {
        "name": "effort",
        "method": "weighted_sum",
        "inputs": [{"type": "keyword", "name": "k", "weight": 1}],
    }
    mapping = {"name": "m", "source": "effort", "method": method, "outputs": list(outputs)}
    routing = {
        "signals": {"keywords": [{"name": "k", "keywords": ["x"]}]},
        "projections": {"scores": [score], "mappings": [mapping]},
    }
    found = build_config(data(routing=routing), environ={}).warnings
    return {w.path.removeprefix("routing.projections.mappings[0]."): w.message for w in found}


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "a", "lt": 0.2}, {"name": "b", "gte": 0.2}],
        [{"name": "a", "lte": 0.2}, {"name": "b", "gt": 0.2, "lt": 3}, {"name": "c", "gte": 3}],
        [{"name": "b", "gte": 0.2}, {"name": "a", "lt": 0.2}],
        [{"name": "only", "gte": 0.5}],
        [{"name": "a", "lt": 0.2}, {"name": "b", "gt": 0.5}, {"name": "rest"}],
        [{"name": "rest"}],
    ],
)
def test_bands_without_gap_and_overlap_are_not_warned_of(outputs: list[dict[str, Any]]) -> None:
    assert warnings(*outputs) == {}


@pytest.mark.parametrize(
    ("outputs", "path", "words"),
    [
        (
            [{"name": "a", "lt": 0.2}, {"name": "b", "gte": 0.3}],
            "outputs[1]",
            'between "a" and "b" is a gap: no output fits 0.2 <= score < 0.3',
        ),
        (
            [{"name": "a", "lte": 0.2}, {"name": "b", "gt": 0.3}],
            "outputs[1]",
            'between "a" and "b" is a gap: no output fits 0.2 < score <= 0.3',
        ),
        (
            [{"name": "b", "gt": 0.2}, {"name": "a", "lt": 0.2}],
            "outputs[1]",
            'between "b" and "a" is a gap: no output fits score = 0.2',
        ),
        (
            [{"name": "a", "lte": 0.2}, {"name": "b", "gte": 0.2}],
            "outputs[1]",
            '"a" and "b" overlap where score = 0.2: the first of them is taken',
        ),
        (
            [{"name": "a", "lt": 0.4}, {"name": "b", "gte": 0.2, "lt": 0.3}],
            "outputs[1]",
            '"a" and "b" overlap where 0.2 <= score < 0.3: the first of them is taken',
        ),
        (
            [{"name": "a", "lt": 0.4}, {"name": "b", "lt": 0.3}],
            "outputs[1]",
            '"a" and "b" overlap where score < 0.3: the first of them is taken',
        ),
        (
            [{"name": "rest"}, {"name": "a", "lt": 0.4}],
            "outputs[0]",
            '"rest" has no bounds: the outputs after it are never reached',
        ),
    ],
)
def test_gap_and_overlap_are_named(outputs: list[dict[str, Any]], path: str, words: str) -> None:
    assert warnings(*outputs) == {path: words}


def test_outputs_may_overlap_when_all_that_fit_are_emitted() -> None:
    assert warnings({"name": "a", "gte": 0}, {"name": "b", "gte": 1}, method="multi_emit") == {}


def partition(**fields: Any) -> Partition:
    return Partition.model_validate({"name": "p", "semantics": "exclusive", **fields})


def test_temperature_is_warned_of_when_nothing_reads_it() -> None:
    (finding,) = check_default(partition(members=["a"], temperature=0.3), ("p",))

    assert finding.warning
    assert finding.path == ("p", "temperature")


@pytest.mark.parametrize(
    ("members", "names", "path", "message", "suggestion"),
    [
        (
            ["law", "helth"],
            {"domain": {"law", "health"}},
            ("p", "members", 1),
            'there is no domain or embedding signal "helth"',
            'did you mean "health"?',
        ),
        (
            ["law", "weighs"],
            {"domain": {"law"}, "keyword": {"weighs"}},
            ("p", "members", 1),
            '"weighs" is a keyword signal; a partition has domain or embedding signals',
            None,
        ),
        (
            ["law", "refund"],
            {"domain": {"law"}, "embedding": {"refund"}},
            ("p", "members"),
            "the members of \"p\" are signals of two kinds: domain ('law') and embedding ('refund')",
            "make a partition for each kind",
        ),
    ],
)
def test_members_of_a_partition_are_signals_of_one_kind(
    members: list[str],
    names: Mapping[str, Collection[str]],
    path: tuple[str | int, ...],
    message: str,
    suggestion: str | None,
) -> None:
    (finding,) = check_members(partition(members=members), names, ("p",), PROFILE)

    assert (finding.path, finding.message, finding.suggestion) == (path, message, suggestion)
    assert not finding.warning


@pytest.mark.parametrize("kind", ["domain", "embedding"])
def test_members_of_one_kind_are_accepted(kind: str) -> None:
    of = partition(members=["a", "b"])

    assert list(check_members(of, {kind: {"a", "b", "c"}}, ("p",), PROFILE)) == []


def test_conditions_of_a_composer_are_checked_like_those_of_a_decision() -> None:
    routing = {"signals": {"keywords": [{"name": "weighs", "keywords": ["x"]}]}}
    profile = build_config(data(routing=routing), environ={}).routing
    tree = parse_rules({"operator": "OR", "conditions": [{"type": "keyword", "name": "wieghs"}]})
    path = ("routing", "signals", "complexity", 0, "composer")

    (finding,) = check_composer(profile, tree, path, PROFILE)

    assert finding.path == (*path, "conditions", 0, "name")
    assert finding.suggestion == 'did you mean "weighs"?'


def test_composer_may_not_ask_for_a_projection() -> None:
    projections = {
        "scores": [
            {
                "name": "s",
                "method": "weighted_sum",
                "inputs": [{"type": "keyword", "name": "k", "weight": 1}],
            }
        ],
        "mappings": [
            {"name": "m", "source": "s", "method": "multi_emit", "outputs": [{"name": "o"}]}
        ],
    }
    signals = {"keywords": [{"name": "k", "keywords": ["x"]}]}
    routing = {"signals": signals, "projections": projections}
    profile = build_config(data(routing=routing), environ={}).routing

    (finding,) = check_composer(
        profile, parse_rules({"type": "projection", "name": "o"}), ("composer",), PROFILE
    )

    assert finding.message.startswith("a composer cannot ask for a projection")
