"""Checks of rule trees: every condition names something that its profile declares. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ..decisions.projections import KIND as PROJECTION
from ..rules.grammar import Condition, RuleNode
from ..signals.classifier import Classifier
from ..signals.complexity import Complexity
from ..signals.language import Language, code_of
from .paths import Finding, Path, dotted
from .routing import KINDS, RecipeRouting
from .validation import near

SECTIONS: Mapping[str, tuple[str, ...]] = {
    **{kind: ("signals", key) for kind, key in KINDS.items()},
    PROJECTION: ("projections", "mappings"),
}
"""Kind of a condition to where in a profile its names are declared."""
LABELLED = (Classifier.kind, Complexity.kind)
"""Kinds whose results belong to a rule and have a label."""
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
        if node.label is not None and node.type in SECTIONS:
            yield from _check_label(profile, node, path, profile_path)
        else:
            yield from check_name(profile, node.type, node.name, path, profile_path)
        return
    for i, child in enumerate(node.conditions):
        yield from check_rules(profile, child, (*path, "conditions", i), profile_path)


def _check_label(
    profile: RecipeRouting, node: Condition, path: Path, profile_path: Path
) -> Iterator[Finding]:
    """Checks a condition that has a `label`: only results that have one can be named so."""
    declared = profile.names[node.type]
    if node.result in declared:
        return
    place: Path = (*path, "label")
    labels = [name.removeprefix(f"{node.name}:") for name in _results(node.name, declared)]
    if node.type not in LABELLED:
        yield Finding(
            place,
            f"`label` goes with {' and '.join(LABELLED)} conditions, not with {node.type}",
            "remove it",
            looked_in=(place, (*path, "type")),
        )
    if not labels:
        yield from check_name(profile, node.type, node.name, path, profile_path)
        return
    yield Finding(
        place,
        f'the {_called(node.type)} "{node.name}" has no label "{node.label}"',
        near(node.label or "", labels, write='"{}"') or f"it has {_either(labels)}",
        absent=node.result,
        looked_in=((*profile_path, *SECTIONS[node.type]), path),
    )


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
        or _part_of(kind, name, declared)
        or _coded(kind, name, declared)
        or near(name, sorted(declared), write='"{}"')
        or (near(name, _owners(declared), write='"{}"') if kind in LABELLED else None),
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


def _part_of(kind: str, name: str, declared: Iterable[str]) -> str | None:
    """What to write where a rule is named whose results have names of their own (`review:hard`)."""
    results = _results(name, declared)
    if kind == Classifier.kind and results:
        labels = [result.removeprefix(f"{name}:") for result in results]
        return f"say which of its labels: write `label: ` and {_either(labels)} beside it"
    return f"the rule has several results: write {_either(results)}" if results else None


def _results(name: str, declared: Iterable[str]) -> list[str]:
    return [result for result in sorted(declared) if result.startswith(f"{name}:")]


def _owners(declared: Iterable[str]) -> list[str]:
    """The rules that these results belong to."""
    return sorted({result.partition(":")[0] for result in declared})


def _either(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words[:5])


def _coded(kind: str, name: str, declared: Collection[str]) -> str | None:
    """What to write where a language is named by its word."""
    code = code_of(name) if kind == Language.kind else None
    return f'did you mean "{code}"?' if code in declared else None


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
