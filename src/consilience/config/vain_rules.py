"""Rules that load and decide nothing: what never matches, and what another decision always beats.

Warned of only where it is certain, whatever a request says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ..loopers.fusion.options import FusionOptions
from ..rules.grammar import Combination, RuleNode
from .paths import Finding, Path
from .routing import Decision, RecipeRouting

_DECIDES = ("name", "rules", "priority", "tier", "algorithm")


def check_vain_rules(profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Gives what can never match or never win among the decisions at `path`."""
    decisions = profile.decisions
    for i, decision in enumerate(decisions):
        yield from check_empty(decision.rules, (*path, i, "rules"))
    catch_alls = [i for i, each in enumerate(decisions) if _always_matches(each.rules)]
    for j, decision in enumerate(decisions):
        before = (i for i in catch_alls if _beats(profile, decisions[i], decision))
        yield from (_beaten(decisions, i, j, path) for i in islice(before, 1))


def check_empty(node: RuleNode | None, path: Path) -> Iterator[Finding]:
    """Gives each OR without conditions in a rule tree that stands at `path`."""
    if not isinstance(node, Combination):
        return
    if node.operator == "OR" and not node.conditions:
        yield Finding(
            path,
            "OR of no conditions never matches",
            "fill `conditions`; a decision without `rules` always matches",
            warning=True,
        )
    for i, child in enumerate(node.conditions):
        yield from check_empty(child, (*path, "conditions", i))


def _always_matches(node: RuleNode | None) -> bool:
    if node is None:
        return True
    if not isinstance(node, Combination) or node.operator != "AND":
        return False
    return all(_always_matches(child) for child in node.conditions)


def _beats(profile: RecipeRouting, catch_all: Decision, decision: Decision) -> bool:
    """Whether a decision that always matches goes before another, whatever its confidence."""
    # A Fusion slug lets only Fusion decisions compete, so a plain one is no obstacle to them.
    if _is_fusion(decision) and not _is_fusion(catch_all):
        return False
    if catch_all.tier != decision.tier:
        return catch_all.tier < decision.tier
    by_priority = profile.strategy == "priority" and not any(d.tier for d in profile.decisions)
    return by_priority and catch_all.priority > decision.priority


def _is_fusion(decision: Decision) -> bool:
    algorithm = decision.algorithm
    return algorithm is not None and isinstance(algorithm.options, FusionOptions)


def _beaten(decisions: Sequence[Decision], i: int, j: int, path: Path) -> Finding:
    first, second = decisions[i], decisions[j]
    field = "priority" if first.tier == second.tier else "tier"
    return Finding(
        (*path, j, "name"),
        f'the decision "{second.name}" can never win: "{first.name}" matches every request and'
        f" has the {'higher' if field == 'priority' else 'lower'} {field}",
        f'give "{first.name}" the lowest priority, or rules'
        if field == "priority"
        else f'give "{first.name}" the highest tier, or rules',
        warning=True,
        looked_in=(
            *((*path, k, name) for k in (i, j) for name in _DECIDES),
            (*path[:-1], "strategy"),
            ("global", "router", "strategy"),
        ),
    )
