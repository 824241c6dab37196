from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import encode
from consilience.decisions.evaluation import evaluate
from consilience.decisions.trace import RuleTrace, why_not
from consilience.rules.grammar import Combination, Condition, parse_rules
from consilience.rules.predicate import Predicate
from consilience.signals.base import SignalKey, SignalResult

Node = Condition | Combination
NAMES = ("a", "b", "c", "d")

leaves = st.builds(
    Condition,
    type=st.just("t"),
    name=st.sampled_from(NAMES),
    on_error=st.sampled_from([None, "match", "no_match"]),
)


def combinations(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    many = st.lists(children, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Combination, operator=st.sampled_from(["AND", "OR"]), conditions=many),
        st.builds(Combination, operator=st.just("NOT"), conditions=st.tuples(children)),
    )


trees: st.SearchStrategy[Node] = st.recursive(leaves, combinations, max_leaves=12)
outcomes = st.one_of(
    st.builds(SignalResult, st.booleans(), st.floats(0, 1)),
    st.just(SignalResult(False, error="broken")),
)
results = st.fixed_dictionaries({SignalKey("t", name): outcomes for name in NAMES})


def negated(node: Node) -> Combination:
    return Combination(operator="NOT", conditions=(node,))


def verdict(node: Node, given_results: Mapping[SignalKey, SignalResult]) -> bool | None:
    trace = evaluate(node, given_results)
    return None if trace.unknown else trace.matched


def leaf(name: str, **fields: object) -> Condition:
    return Condition.model_validate({"type": "t", "name": name, **fields})


def both(operator: str, *children: Node) -> Combination:
    return Combination.model_validate({"operator": operator, "conditions": children})


def given_that(**found: SignalResult) -> dict[SignalKey, SignalResult]:
    return {SignalKey("t", name): result for name, result in found.items()}


YES, NO, FAILED = SignalResult(True), SignalResult(False), SignalResult(False, error="broken")


def shape(node: Node) -> object:
    if isinstance(node, Condition):
        return (node.type, node.name)
    return (node.operator, [shape(child) for child in node.conditions])


def traced_shape(trace: RuleTrace) -> object:
    if trace.kind == "condition":
        return (trace.type, trace.name)
    return (trace.operator, [traced_shape(child) for child in trace.children])


def nodes(trace: RuleTrace) -> Iterator[RuleTrace]:
    yield trace
    for child in trace.children:
        yield from nodes(child)


@given(trees, results)
def test_every_node_is_in_the_trace_when_a_tree_is_evaluated(
    tree: Node, found: dict[SignalKey, SignalResult]
) -> None:
    assert traced_shape(evaluate(tree, found)) == shape(tree)


@given(trees, results)
def test_unknown_never_counts_as_a_match_when_a_tree_is_evaluated(
    tree: Node, found: dict[SignalKey, SignalResult]
) -> None:
    for node in nodes(evaluate(tree, found)):
        assert not (node.matched and node.unknown)
        assert 0.0 <= node.confidence <= 1.0
        assert node.matched or node.confidence == 0.0


@given(trees, results)
def test_double_negation_changes_nothing_when_something_is_unknown(
    tree: Node, found: dict[SignalKey, SignalResult]
) -> None:
    assert verdict(negated(negated(tree)), found) == verdict(tree, found)


@given(st.lists(trees, max_size=3), results)
def test_de_morgan_holds_when_something_is_unknown(
    parts: list[Node], found: dict[SignalKey, SignalResult]
) -> None:
    left = negated(both("AND", *parts))
    right = both("OR", *map(negated, parts))
    assert verdict(left, found) == verdict(right, found)


@given(st.permutations(["a", "b", "c"]), st.sampled_from(["AND", "OR"]), results)
def test_order_of_children_does_not_matter_when_they_are_combined(
    order: list[str], operator: str, found: dict[SignalKey, SignalResult]
) -> None:
    one = evaluate(both(operator, *map(leaf, "abc")), found)
    other = evaluate(both(operator, *map(leaf, order)), found)
    assert (one.matched, one.unknown, one.confidence) == (
        other.matched,
        other.unknown,
        other.confidence,
    )


@given(trees, results)
def test_a_failed_signal_decides_nothing_when_either_answer_would_decide_otherwise(
    tree: Node, found: dict[SignalKey, SignalResult]
) -> None:
    plain = _without_policy(tree)
    known = verdict(plain, found)
    failed = [key for key, result in found.items() if result.error is not None]
    for answer in (YES, NO):
        if known is not None:
            assert verdict(plain, {**found, **dict.fromkeys(failed, answer)}) is known


def _without_policy(node: Node) -> Node:
    if isinstance(node, Condition):
        return node.model_copy(update={"on_error": None})
    return node.model_copy(update={"conditions": tuple(map(_without_policy, node.conditions))})


@given(trees, results)
def test_reason_is_given_exactly_when_the_tree_does_not_match(
    tree: Node, found: dict[SignalKey, SignalResult]
) -> None:
    trace = evaluate(tree, found)
    assert bool(why_not(trace)) is not trace.matched


@given(trees, results)
def test_trace_is_json_when_it_is_shown(tree: Node, found: dict[SignalKey, SignalResult]) -> None:
    assert encode(evaluate(tree, found).as_body())


@pytest.mark.parametrize(
    ("operator", "children", "expected"),
    [
        ("AND", (YES, FAILED), None),
        ("AND", (NO, FAILED), False),
        ("AND", (), True),
        ("OR", (YES, FAILED), True),
        ("OR", (NO, FAILED), None),
        ("OR", (), False),
        ("NOT", (FAILED,), None),
        ("NOT", (NO,), True),
        ("NOT", (YES,), False),
    ],
)
def test_verdict_follows_kleene_when_signals_fail(
    operator: str, children: tuple[SignalResult, ...], expected: bool | None
) -> None:
    tree = both(operator, *(leaf(str(i)) for i in range(len(children))))
    found = {SignalKey("t", str(i)): result for i, result in enumerate(children)}
    assert verdict(tree, found) is expected


def test_policy_decides_when_a_signal_failed() -> None:
    found = given_that(a=FAILED)
    assert verdict(leaf("a", on_error="match"), found) is True
    assert verdict(negated(leaf("a", on_error="match")), found) is False
    assert verdict(leaf("a", on_error="no_match"), found) is None
    assert verdict(negated(leaf("a", on_error="no_match")), found) is None


def test_condition_is_unknown_when_its_signal_was_not_evaluated() -> None:
    trace = evaluate(leaf("a"), {})
    assert (trace.matched, trace.unknown, trace.error) == (
        False,
        True,
        "the signal was not evaluated",
    )


@pytest.mark.parametrize(
    ("tree", "confidence"),
    [
        (leaf("half"), 0.5),
        (both("AND", leaf("half"), leaf("full")), 0.75),
        (both("OR", leaf("half"), leaf("full"), leaf("none")), 1.0),
        (negated(leaf("none")), 1.0),
        (both("AND", leaf("best"), negated(leaf("none"))), 0.9),
        (both("AND"), 0.0),
        (both("OR", both("AND")), 0.0),
        (leaf("none"), 0.0),
        (leaf("odd"), 0.0),
        (leaf("over"), 1.0),
        (leaf("half", predicate={"gte": 0.5}), 1.0),
    ],
)
def test_confidence_is_combined_as_the_reference_does_when_nodes_match(
    tree: Node, confidence: float
) -> None:
    found = given_that(
        half=SignalResult(True, 0.5),
        full=SignalResult(True, 1.0),
        best=SignalResult(True, 0.8),
        none=SignalResult(False, 0.7),
        odd=SignalResult(True, math.nan),
        over=SignalResult(True, 7.0),
    )
    assert evaluate(tree, found).confidence == pytest.approx(confidence)


def test_decision_matches_without_confidence_when_it_has_no_rules() -> None:
    assert evaluate(None, {}).as_body() == {
        "node_type": "fallback",
        "matched": True,
        "confidence": 0,
    }


@pytest.mark.parametrize(
    ("result", "matched"),
    [
        (SignalResult(False, value=5.0), True),
        (SignalResult(True, value=1.0), False),
        (SignalResult(True, confidence=4.0), True),
        (SignalResult(False, confidence=4.0), False),
        (SignalResult(True, value=math.nan), False),
        (SignalResult(True, value=math.inf), False),
    ],
)
def test_predicate_asks_for_the_figure_when_a_condition_has_one(
    result: SignalResult, matched: bool
) -> None:
    node = Condition(type="t", name="a", predicate=Predicate(gte=3))
    assert evaluate(node, given_that(a=result)).matched is matched


def test_body_shows_the_whole_tree_when_it_is_asked_for() -> None:
    tree = parse_rules(
        {
            "operator": "AND",
            "conditions": [
                {"type": "t", "name": "no"},
                {"operator": "NOT", "conditions": [{"type": "t", "name": "bad"}]},
                {"type": "t", "name": "size", "predicate": {"gt": 2}},
            ],
        }
    )
    found = given_that(no=NO, bad=FAILED, size=SignalResult(False, value=3.0))
    assert evaluate(tree, found).as_body() == {
        "node_type": "AND",
        "matched": False,
        "confidence": 0.0,
        "children": [
            {
                "node_type": "leaf",
                "signal_type": "t",
                "signal_name": "no",
                "matched": False,
                "confidence": 0.0,
            },
            {
                "node_type": "NOT",
                "matched": False,
                "confidence": 0.0,
                "unknown": True,
                "children": [
                    {
                        "node_type": "leaf",
                        "signal_type": "t",
                        "signal_name": "bad",
                        "matched": False,
                        "confidence": 0.0,
                        "unknown": True,
                        "error": "broken",
                    }
                ],
            },
            {
                "node_type": "leaf",
                "signal_type": "t",
                "signal_name": "size",
                "matched": True,
                "confidence": 1.0,
                "value": 3.0,
            },
        ],
    }


def test_reason_names_what_stood_in_the_way_when_a_tree_does_not_match() -> None:
    tree = both("AND", leaf("yes"), leaf("no"), negated(leaf("yes")), leaf("bad"))
    found = given_that(yes=YES, no=NO, bad=FAILED)
    assert why_not(evaluate(tree, found)) == (
        "t 'no' did not match and t 'yes' matched and t 'bad' could not be evaluated (broken)"
    )
    assert why_not(evaluate(both("OR"), {})) == "an OR without conditions never matches"
