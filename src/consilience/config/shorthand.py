"""Short forms that the reference accepts, written out before validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_OF_NONE = ("AND", "OR")
_STRATEGIES = ("priority", "confidence")


def write_out(data: dict[str, Any]) -> None:
    """Completes a document in place.

    `global.router.strategy` holds for profiles that set none. `operator: AND` (or `OR`) alone is a
    combination of no conditions.
    """
    top = data.get("global")
    router = top.get("router") if isinstance(top, dict) else None
    strategy = router.get("strategy") if isinstance(router, dict) else None
    for profile in _profiles(data):
        if strategy in _STRATEGIES:
            profile.setdefault("strategy", strategy)
        decisions = profile.get("decisions")
        for decision in decisions if isinstance(decisions, list) else ():
            if isinstance(decision, dict):
                _complete_rules(decision.get("rules"))


def _profiles(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    owners = [data]
    recipes = data.get("recipes")
    owners += [r for r in (recipes if isinstance(recipes, list) else ()) if isinstance(r, dict)]
    for owner in owners:
        misspelt = any(key != "routing" and key.casefold() == "routing" for key in owner)
        profile = owner.get("routing") if misspelt else owner.setdefault("routing", {})
        if isinstance(profile, dict):
            yield profile


def _complete_rules(node: Any) -> None:
    if not isinstance(node, dict):
        return
    operator = node.get("operator")
    if set(node) == {"operator"} and isinstance(operator, str) and operator.upper() in _OF_NONE:
        node["conditions"] = []
    conditions = node.get("conditions")
    for child in conditions if isinstance(conditions, list) else ():
        _complete_rules(child)
