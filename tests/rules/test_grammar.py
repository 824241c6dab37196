from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from consilience.rules.grammar import (
    MAX_DEPTH,
    Combination,
    Composer,
    Condition,
    RuleNode,
    conditions_of,
    parse_rules,
)

LEAF = {"type": "keyword", "name": "a"}


class Holder(BaseModel):
    model_config = ConfigDict(frozen=True)

    rules: RuleNode | None = None


def refusals(rules: Any) -> dict[tuple[int | str, ...], str]:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"rules": rules})
    return {error["loc"]: error["msg"] for error in caught.value.errors()}


def nested(levels: int) -> Any:
    node: Any = LEAF
    for _ in range(levels - 1):
        node = {"operator": "NOT", "conditions": [node]}
    return node


def test_bare_condition_is_a_tree_when_it_stands_at_the_root() -> None:
    assert parse_rules(LEAF) == Condition(type="keyword", name="a")


@pytest.mark.parametrize("operator", ["AND", "and", "And"])
def test_operator_is_read_when_its_case_is_free(operator: str) -> None:
    tree = parse_rules({"operator": operator, "conditions": [LEAF, LEAF]})
    assert isinstance(tree, Combination)
    assert tree.operator == "AND"


def test_tree_is_unchanged_when_it_is_validated_again() -> None:
    tree = parse_rules({"operator": "NOT", "conditions": [LEAF]})
    assert Holder(rules=tree).rules is tree


def test_every_mistake_is_reported_at_its_place_when_there_are_several() -> None:
    found = refusals(
        {
            "operator": "OR",
            "conditions": [
                {"type": "keyword", "nme": "x"},
                {"operator": "XOR", "conditions": []},
                {"operator": "AND", "conditions": [{"operator": "NOT", "conditions": []}]},
                {"type": "keyword", "name": "x", "operator": "AND"},
                {"kind": "keyword"},
                "keyword:x",
                {"type": "keyword", "name": "x", "predicate": {"gt": 1, "gte": 1}},
                {"type": "keyword", "name": "x", "on_error": "skip"},
            ],
        }
    )
    at = ("rules", "conditions")
    assert sorted(found, key=str) == sorted(
        [
            (*at, 0, "name"),
            (*at, 0, "nme"),
            (*at, 1, "operator"),
            (*at, 2, "conditions", 0, "conditions"),
            (*at, 3),
            (*at, 4),
            (*at, 5),
            (*at, 6, "predicate"),
            (*at, 7, "on_error"),
        ],
        key=str,
    )
    assert "'AND', 'OR' or 'NOT'" in found[(*at, 1, "operator")]


class Composed(BaseModel):
    composer: Composer | None = None


def test_first_operator_of_a_composer_is_and_when_it_is_missing() -> None:
    tree = Composed.model_validate({"composer": {"conditions": [LEAF, LEAF]}}).composer

    assert isinstance(tree, Combination)
    assert tree.operator == "AND"


@pytest.mark.parametrize(
    ("composer", "place"),
    [
        ({"operator": "XOR", "conditions": []}, ("composer", "operator")),
        ({"conditions": [{"conditions": []}]}, ("composer", "conditions", 0, "operator")),
        ({"conditions": [{"type": "keyword"}]}, ("composer", "conditions", 0, "name")),
        ("keyword:a", ("composer",)),
    ],
)
def test_composer_is_refused_like_any_tree(composer: Any, place: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Composed.model_validate({"composer": composer})

    assert [error["loc"] for error in caught.value.errors()] == [place]


@pytest.mark.parametrize("count", [0, 2])
def test_not_is_refused_when_it_has_other_than_one_child(count: int) -> None:
    found = refusals({"operator": "not", "conditions": [LEAF] * count})
    assert found == {
        ("rules", "conditions"): f"Value error, NOT takes exactly one condition, found {count}"
    }


@pytest.mark.parametrize("operator", ["AND", "OR"])
def test_combination_is_accepted_when_it_is_empty(operator: str) -> None:
    tree = parse_rules({"operator": operator, "conditions": []})
    assert isinstance(tree, Combination)
    assert (tree.operator, tree.conditions) == (operator, ())


def test_combination_is_refused_when_conditions_are_missing() -> None:
    assert list(refusals({"operator": "AND"})) == [("rules", "conditions")]


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"gt": 1, "gte": 1},
        {"lt": 1, "lte": 1},
        {"gte": 2, "lte": 1},
        {"gt": 1, "lte": 1},
        {"gte": 1, "lt": 1},
        {"gte": float("nan")},
        {"gte": float("inf")},
        {"eq": 1},
    ],
)
def test_predicate_is_refused_when_nothing_fits_it(predicate: dict[str, Any]) -> None:
    assert all(
        loc[:2] == ("rules", "predicate") for loc in refusals({**LEAF, "predicate": predicate})
    )


def test_predicate_is_accepted_when_one_value_fits_it() -> None:
    leaf = parse_rules({**LEAF, "predicate": {"gte": 1, "lte": 1}})
    assert isinstance(leaf, Condition)
    assert leaf.predicate is not None
    assert [leaf.predicate.holds(v) for v in (0.9, 1, 1.1)] == [False, True, False]


def test_depth_is_bounded_when_rules_nest() -> None:
    parse_rules(nested(MAX_DEPTH))
    assert "levels deep" in refusals(nested(MAX_DEPTH + 1))[("rules",)]
    assert "levels deep" in refusals(nested(100_000))[("rules",)]


def test_conditions_are_listed_left_to_right_when_the_tree_is_walked() -> None:
    tree = parse_rules(
        {
            "operator": "OR",
            "conditions": [
                {"operator": "NOT", "conditions": [{"type": "t", "name": "1"}]},
                {"type": "t", "name": "2"},
            ],
        }
    )
    assert [c.name for c in conditions_of(tree)] == ["1", "2"]
    assert not list(conditions_of(None))


def test_schema_describes_both_forms_when_it_is_asked_for() -> None:
    definitions = Holder.model_json_schema()["$defs"]
    assert {"Combination", "Condition", "Predicate"} <= definitions.keys()
