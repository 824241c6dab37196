"""Rule trees: what a decision, or the composer of a signal rule, demands of the signal results.

A node is a condition (one signal result) or a combination of nodes. `RuleNode` is the pydantic
field type for either; a problem's location is its place in the document, nothing else.

Source: vllm-sr-routing.md 3.1 and contract section 4. Stricter than the reference: an unknown
operator, a NOT with other than one child and a node that mixes both forms are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from .misfit import MisfitError
from .predicate import Predicate
from .spelling import in_any_case

MAX_DEPTH = 32
"""Levels of a rule tree."""

Operator = Literal["AND", "OR", "NOT"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Frozen):
    """A leaf: one signal result."""

    type: Annotated[str, Field(min_length=1)]
    """The signal's kind."""
    name: Annotated[str, Field(min_length=1)]
    """The name of one of its results."""
    label: str | None = None
    """Of a classifier: which of its labels."""
    predicate: Predicate | None = None
    """Asks for the raw value instead of the match."""
    on_error: Literal["match", "no_match"] | None = None
    """What a signal that failed counts as. `no_match`, the default, leaves the condition unknown,
    so that NOT does not turn a failure into a match."""

    @property
    def result(self) -> str:
        """The name under which the signal result is filed."""
        return self.name if self.label is None else f"{self.name}:{self.label}"


_LEAF_KEYS = frozenset(Condition.model_fields)
_TREE_KEYS = frozenset({"operator", "conditions"})


def _node(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Picks the model by the keys that are there.

    A ValidationError that leaves a validator keeps its inner locations under the outer one.
    """
    if isinstance(value, Condition | Combination):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError(
            "rule_node",
            "a rule must be an object: `type` and `name`, or `operator` and `conditions`",
        )
    keys = set(value)
    leaf, tree = sorted(keys & _LEAF_KEYS), sorted(keys & _TREE_KEYS)
    if leaf and tree:
        raise PydanticCustomError(
            "rule_node",
            "a rule is a condition or a combination, not both: {leaf} cannot stand beside {tree}",
            {"leaf": _listed(leaf), "tree": _listed(tree)},
        )
    if not leaf and not tree:
        raise PydanticCustomError(
            "rule_node",
            "a rule needs `type` and `name`, or `operator` and `conditions`; found {found}",
            {"found": _listed(sorted(map(str, keys))[:8]) or "an empty object"},
        )
    if _is_too_deep(value):
        raise PydanticCustomError(
            "rule_depth", "rules nest more than {limit} levels deep", {"limit": MAX_DEPTH}
        )
    return (Combination if tree else Condition).model_validate(dict(value))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _is_too_deep(value: Mapping[str, Any]) -> bool:
    level: list[Mapping[str, Any]] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    conditions = node.get("conditions")
    if isinstance(conditions, list | tuple):
        yield from (child for child in conditions if isinstance(child, Mapping))


class Combination(_Frozen):
    """An inner node: AND (all), OR (any) or NOT (its one child does not match)."""

    operator: Annotated[Operator, in_any_case("AND", "OR", "NOT")]
    """Letter case is free."""
    conditions: tuple[RuleNode, ...]
    """AND of none always matches, with confidence 0; OR of none never does."""

    @field_validator("conditions", mode="before")
    @classmethod
    def _not_has_one_child(cls, conditions: object, info: ValidationInfo) -> object:
        # Before the children are read: one that is wrong itself must count, too.
        if info.data.get("operator") == "NOT" and isinstance(conditions, list | tuple):
            found = len(conditions)
            if found != 1:
                message = f"NOT takes exactly one condition, found {found}"
                raise MisfitError(message, "operator", "conditions")
        return conditions


# After the class: a model of another module could not resolve a forward reference in it.
RuleNode = Annotated[Condition | Combination, WrapValidator(_node)]
"""A condition or a combination, as a pydantic field type."""
Combination.model_rebuild()


class _All(_Frozen):
    """Conditions that must all match."""

    conditions: tuple[RuleNode, ...]
    """At least one, or it always matches."""


def _all_by_default(value: object) -> object:
    if isinstance(value, Mapping) and "conditions" in value and "operator" not in value:
        return {**value, "operator": "AND"}
    return value


Composer = Annotated[
    Condition | Combination,
    WrapValidator(_node),
    BeforeValidator(_all_by_default, json_schema_input_type=Condition | Combination | _All),
]
"""A tree whose first operator may be missing: AND."""

_ADAPTER: TypeAdapter[Condition | Combination] = TypeAdapter(RuleNode)


def parse_rules(value: object) -> Condition | Combination:
    """Reads a rule tree; a bare condition at the root is one.

    Raises:
        pydantic.ValidationError: a ValueError whose `errors()[i]["loc"]` is the path in the tree.
    """
    return _ADAPTER.validate_python(value)


def conditions_of(node: Condition | Combination | None) -> Iterator[Condition]:
    """Gives every condition of a tree, left to right."""
    if isinstance(node, Condition):
        yield node
    elif node is not None:
        for child in node.conditions:
            yield from conditions_of(child)
