"""What a match rests on, what stood in a tree's way, and why one match loses to another."""

from __future__ import annotations

import pytest

from consilience.decisions.evaluation import evaluate
from consilience.decisions.selection import Candidate, Strategy, select, why_lost
from consilience.decisions.trace import RuleTrace, matched_rules, obstacles
from consilience.rules.grammar import parse_rules
from consilience.signals.base import SignalKey, SignalResult

FOUND = {
    SignalKey("t", "yes"): SignalResult(True, 0.8),
    SignalKey("t", "sure"): SignalResult(True, 0.9),
    SignalKey("t", "no"): SignalResult(False),
    SignalKey("t", "bad"): SignalResult(False, error="broken"),
}


def traced(text: str) -> RuleTrace:
    """Evaluates a tree written as `AND(yes, NOT(no))`."""
    return evaluate(parse_rules(_parsed(text)), FOUND)


def _parsed(text: str) -> dict[str, object]:
    if "(" not in text:
        return {"type": "t", "name": text}
    operator, inner = text[:-1].split("(", 1)
    parts, depth, start = [], 0, 0
    for i, char in enumerate(inner + ","):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(inner[start:i].strip())
            start = i + 1
    return {"operator": operator, "conditions": [_parsed(part) for part in parts if part]}


@pytest.mark.parametrize(
    ("tree", "rules"),
    [
        ("yes", ["t:yes"]),
        ("AND(yes, sure, yes)", ["t:yes", "t:sure"]),
        ("OR(yes, sure, no)", ["t:sure"]),
        ("OR(AND(yes, NOT(no)), sure)", ["t:yes"]),
        ("OR(yes, yes)", ["t:yes"]),
        ("NOT(no)", []),
        ("AND(yes, no)", []),
        ("AND()", []),
        ("no", []),
    ],
)
def test_match_rests_on_the_best_conditions(tree: str, rules: list[str]) -> None:
    assert list(matched_rules(traced(tree))) == rules


def test_match_without_rules_rests_on_nothing() -> None:
    assert matched_rules(evaluate(None, {})) == ()


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ("yes", []),
        ("no", ["no"]),
        ("AND(yes, no, bad)", ["no", "bad"]),
        ("OR(no, bad)", ["no", "bad"]),
        ("NOT(sure)", ["sure"]),
        ("AND(yes, NOT(OR(no, sure)))", ["sure"]),
        ("NOT(bad)", ["bad"]),
    ],
)
def test_obstacles_are_the_conditions_in_the_way(tree: str, names: list[str]) -> None:
    assert [node.name for node in obstacles(traced(tree))] == names


def test_combination_without_conditions_is_an_obstacle_itself() -> None:
    (never,) = obstacles(traced("OR()"))
    (always,) = obstacles(traced("NOT(AND())"))

    assert (never.operator, always.operator) == ("OR", "AND")


@pytest.mark.parametrize(
    ("strategy", "loser", "words"),
    [
        ("priority", Candidate("a", 1.0, 5), "priority 5 against 9 of 'best'"),
        ("priority", Candidate("a", 0.25, 9), "confidence 0.25 against 0.5 of 'best'"),
        ("confidence", Candidate("a", 0.25, 99), "confidence 0.25 against 0.5 of 'best'"),
        ("confidence", Candidate("a", 0.5, 5), "priority 5 against 9 of 'best'"),
        ("priority", Candidate("c", 0.5, 9), "as good as 'best', whose name comes first"),
    ],
)
def test_loser_is_told_what_decided(strategy: Strategy, loser: Candidate, words: str) -> None:
    best = Candidate("best", 0.5, 9)

    assert select([loser, best], strategy) is best
    assert why_lost(loser, best, strategy) == words


def test_tier_is_told_when_tiers_decide() -> None:
    best, loser = Candidate("best", 0.1, tier=1), Candidate("a", 0.9, 99, tier=2)

    assert select([loser, best]) is best
    assert why_lost(loser, best, tiered=True) == "tier 2 against 1 of 'best'"
