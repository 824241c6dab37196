"""Checks of rule trees: every condition names something that its profile declares. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..decisions.projections import KIND as PROJECTION
from ..rules.grammar import Condition, RuleNode
from .paths import Finding, Path, dotted
from .routing import KINDS, RecipeRouting
from .validation import near

SECTIONS: Mapping[str, tuple[str, ...]] = {
    **{kind: ("signals", key) for kind, key in KINDS.items()},
    PROJECTION: ("projections", "mappings"),
}
"""Kind of a condition to where in a profile its names are declared."""
SPOKEN: Mapping[str, str] = {
    **dict.fromkeys(
        ("knowledge base", "knowledge bases", "knowledge-base", "knowledge_base"), "kb"
    ),
    **dict.fromkeys(("knowledge_bases", "knowledgebase", "kbs"), "kb"),
    **dict.fromkeys(("role", "roles", "user", "group"), "authz"),
    **dict.fromkeys(("regex", "phrase", "word", "text"), "keyword"),
    **dict.fromkeys(("tokens", "length"), "context"),
    **dict.fromkeys(("topic", "subject", "category"), "domain"),
    **dict.fromkeys(("similarity", "meaning"), "embedding"),
}
"""What people call a kind, in lower case, where it is spelled quite differently."""


def check_rules(
    profile: RecipeRouting, node: RuleNode | None, path: Path, profile_path: Path
) -> Iterator[Finding]:
    """Checks a rule tree that stands at `path`; without rules there is nothing to check."""
    if node is None:
        return
    if isinstance(node, Condition):
        yield from check_name(profile, node.type, node.result, path, profile_path)
        return
    for i, child in enumerate(node.conditions):
        yield from check_rules(profile, child, (*path, "conditions", i), profile_path)


def check_name(
    profile: RecipeRouting, kind: str, name: str, path: Path, profile_path: Path
) -> Iterator[Finding]:
    """Checks the `type` and `name` of the block at `path`."""
    if kind not in SECTIONS:
        yield unknown_kind(kind, path)
        return
    declared = profile.names[kind]
    home: Path = (*profile_path, *SECTIONS[kind])
    if name in declared:
        return
    elsewhere = [k for k in SECTIONS if k != kind and name in profile.names[k]]
    yield Finding(
        (*path, "name"),
        f'the {_called(kind)} "{name}" is not declared in {dotted(home)}',
        f"it is declared as a {_called(elsewhere[0])}: write `type: {elsewhere[0]}`"
        if elsewhere
        else _given_by(profile, kind, name)
        or _part_of(name, declared)
        or near(name, sorted(declared), write='"{}"'),
        absent=name,
        looked_in=(home, (*path, "label")),
    )


def _given_by(profile: RecipeRouting, kind: str, name: str) -> str | None:
    """What to write where a rule is named whose one result is called otherwise, as a role is."""
    for rule in profile.signals.rules_of(kind):
        emitted = rule.emits()
        if rule.name == name and len(emitted) == 1:
            return f'"{name}" is the entry; conditions name what it gives: write "{emitted[0]}"'
    return None


def _part_of(name: str, declared: Iterable[str]) -> str | None:
    """What to write where a rule is named whose results have names of their own (`review:hard`)."""
    results = [f'"{result}"' for result in sorted(declared) if result.startswith(f"{name}:")]
    return f"the rule has several results: write {' or '.join(results[:5])}" if results else None


def unknown_kind(kind: str, path: Path) -> Finding:
    """Says that the `type` of the block at `path` is none."""
    kinds = sorted(SECTIONS)
    by_list = {where[-1]: k for k, where in SECTIONS.items()}
    by_list |= {"projections": PROJECTION}
    return Finding(
        (*path, "type"),
        f'there is no signal kind "{kind}"; known: {", ".join(kinds)}',
        near(SPOKEN.get(kind.casefold(), by_list.get(kind, kind)), kinds, write='"{}"'),
    )


def _called(kind: str) -> str:
    return "projection output" if kind == PROJECTION else f"{kind} signal"
