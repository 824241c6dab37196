"""Checks of one profile's projections: names, members, circles, bands. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ..decisions.partitions import MEMBER_KINDS, Names, member_kind
from ..decisions.projections import KIND as PROJECTION
from ..decisions.projections import METRIC_TYPE, Output, Partition, Projections, Score, ScoreInput
from ..decisions.scores import cycles
from ..rules.grammar import RuleNode, conditions_of
from ..signals import SIGNALS
from ..signals.base import composer_of
from .condition_checks import SECTIONS, check_name, check_rules
from .duplicates import duplicates
from .paths import Finding, Path, dotted
from .routing import RecipeRouting
from .vain_rules import check_empty
from .validation import near


def check_projections(profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Gives everything that is wrong or doubtful in the projections of the profile at `path`."""
    here: Path = (*path, "projections")
    projections = profile.projections
    yield from _check_names(projections, here)
    for i, partition in enumerate(projections.partitions):
        place: Path = (*here, "partitions", i)
        yield from _check_filled(partition.members, partition.name, (*place, "members"))
        yield from check_default(partition, place)
        yield from check_members(partition, profile.names, place, path)
    for i, score in enumerate(projections.scores):
        place = (*here, "scores", i, "inputs")
        yield from _check_filled(score.inputs, score.name, place)
        for j, each in enumerate(score.inputs):
            yield from _check_input(profile, each, (*place, j), path)
    yield from _check_circles(projections.scores, (*here, "scores"))
    sources = [score.name for score in projections.scores]
    for i, mapping in enumerate(projections.mappings):
        place = (*here, "mappings", i)
        yield from _check_filled(mapping.outputs, mapping.name, (*place, "outputs"))
        if mapping.source not in sources:
            yield _no_score(mapping.source, sources, (*place, "source"), (*here, "scores"))
        if mapping.method == "threshold_bands":
            yield from _check_bands(mapping.outputs, place)


def check_metrics(
    profile: RecipeRouting, metrics: Collection[str], path: Path
) -> Iterator[Finding]:
    """Checks that the figures of knowledge bases are there which scores are made of.

    Args:
        profile: stands at `path`.
        metrics: what the knowledge bases have, as `<kb>.<metric>`.
        path: of the profile.
    """
    for i, score in enumerate(profile.projections.scores):
        for j, each in enumerate(score.inputs):
            if each.type == METRIC_TYPE and each.key.name not in metrics:
                here: Path = (*path, "projections", "scores", i, "inputs", j)
                yield Finding(
                    (*here, "metric"),
                    f'the knowledge base "{each.kb}" has no metric "{each.metric}"',
                    near(each.key.name, sorted(metrics), write='"{}"'),
                    looked_in=(here, ("global", "model_catalog", "kbs")),
                )


def check_composers(profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Checks the rule trees that signal rules of the profile at `path` carry."""
    for signal in SIGNALS:
        for i, rule in enumerate(profile.signals.rules_of(signal.kind)):
            place: Path = (*path, "signals", signal.config_key, i, "composer")
            yield from check_composer(profile, composer_of(rule), place, path)


def check_composer(
    profile: RecipeRouting, tree: RuleNode | None, path: Path, profile_path: Path
) -> Iterator[Finding]:
    """Checks the rule tree of a signal rule, which stands at `path`."""
    yield from check_rules(profile, tree, path, profile_path)
    yield from check_empty(tree, path)
    if any(leaf.type == PROJECTION for leaf in conditions_of(tree)):
        yield Finding(path, "a composer cannot ask for a projection: those are computed after it")


def check_default(partition: Partition, path: Path) -> Iterator[Finding]:
    """Checks a partition, which stands at `path`, by itself."""
    default, members = partition.default, partition.members
    yield from duplicates(
        (((*path, "members", i), member) for i, member in enumerate(members)), "the member"
    )
    if default is not None and default not in members:
        yield Finding(
            (*path, "default"),
            f'the default "{default}" is not a member of "{partition.name}"',
            near(default, members, write='"{}"'),
            absent=default,
            looked_in=((*path, "members"),),
        )
    if partition.semantics == "exclusive" and "temperature" in partition.model_fields_set:
        yield Finding(
            (*path, "temperature"),
            "`temperature` has no effect on semantics exclusive",
            warning=True,
            looked_in=((*path, "temperature"), (*path, "semantics")),
        )


def check_members(
    partition: Partition, names: Names, path: Path, profile_path: Path
) -> Iterator[Finding]:
    """Checks that a partition's members are all domain signals or all embedding signals.

    Args:
        partition: stands at `path`.
        names: what the profile's rules emit, by kind.
        path: of the partition.
        profile_path: of the profile.
    """
    if member_kind(partition, names) is not None:
        return
    homes = tuple((*profile_path, *SECTIONS[kind]) for kind in MEMBER_KINDS if kind in SECTIONS)
    declared = {kind: frozenset(names.get(kind, ())) for kind in MEMBER_KINDS}
    absent = False
    for i, member in enumerate(partition.members):
        if any(member in of_kind for of_kind in declared.values()):
            continue
        absent = True
        other = next((kind for kind, of_kind in names.items() if member in of_kind), None)
        yield Finding(
            (*path, "members", i),
            f'"{member}" is a {other} signal; a partition has domain or embedding signals'
            if other
            else f'there is no domain or embedding signal "{member}"',
            None
            if other
            else near(member, sorted(frozenset().union(*declared.values())), write='"{}"'),
            absent=member,
            looked_in=homes,
        )
    if not absent:
        kinds = " and ".join(
            f"{kind} ({next(m for m in partition.members if m in declared[kind])!r})"
            for kind in MEMBER_KINDS
            if declared[kind] & set(partition.members)
        )
        yield Finding(
            (*path, "members"),
            f'the members of "{partition.name}" are signals of two kinds: {kinds}',
            "make a partition for each kind",
            looked_in=homes,
        )


def _check_names(projections: Projections, path: Path) -> Iterator[Finding]:
    sections = {
        "partition": [partition.name for partition in projections.partitions],
        "score": [score.name for score in projections.scores],
        "mapping": [mapping.name for mapping in projections.mappings],
    }
    for what, names in sections.items():
        places = (((*path, f"{what}s", i, "name"), name) for i, name in enumerate(names))
        yield from duplicates(places, f"the {what}")
    yield from duplicates(
        (
            ((*path, "mappings", i, "outputs", j, "name"), output.name)
            for i, mapping in enumerate(projections.mappings)
            for j, output in enumerate(mapping.outputs)
        ),
        "the output",
    )


def _check_filled(entries: Sequence[object], name: str, path: Path) -> Iterator[Finding]:
    if not entries:
        yield Finding(path, f'"{name}" has no {path[-1]}', looked_in=(path,))


def _check_input(
    profile: RecipeRouting, each: ScoreInput, path: Path, profile_path: Path
) -> Iterator[Finding]:
    if each.is_score:
        scores = [score.name for score in profile.projections.scores]
        if each.name not in scores:
            home: Path = (*profile_path, "projections", "scores")
            yield _no_score(each.name or "", scores, (*path, "name"), home)
    elif each.type == METRIC_TYPE:
        return  # `check_metrics` looks into the knowledge bases
    elif each.type not in SECTIONS:
        kinds = sorted({*SECTIONS, "score", METRIC_TYPE})
        yield Finding(
            (*path, "type"),
            f'an input cannot be of type "{each.type}"; known: {", ".join(kinds)}',
            near(each.type, kinds, write='"{}"'),
        )
    else:
        yield from check_name(profile, each.type, each.name or "", path, profile_path)


def _no_score(name: str, scores: Sequence[str], path: Path, home: Path) -> Finding:
    return Finding(
        path,
        f'the score "{name}" is not declared in {dotted(home)}',
        near(name, scores, write='"{}"'),
        absent=name,
        looked_in=(home,),
    )


def _check_circles(scores: Sequence[Score], path: Path) -> Iterator[Finding]:
    for circle in cycles(scores):
        i = next(i for i, score in enumerate(scores) if score.name == circle[0])
        j = next(
            j for j, each in enumerate(scores[i].inputs) if each.is_score and each.name == circle[1]
        )
        shown = " -> ".join(f'"{name}"' for name in circle)
        yield Finding(
            (*path, i, "inputs", j, "name"), f"scores cannot be made of each other: {shown}"
        )


Cut = tuple[float, int]
"""A place between figures: just before one (0) or just after it (1)."""


class Band(NamedTuple):
    """An output's range of figures."""

    start: Cut
    end: Cut
    position: int
    output: Output


def _check_bands(outputs: Sequence[Output], mapping: Path) -> Iterator[Finding]:
    """Warns of figures that no band has, or two; before and after all bands there may be none."""
    path: Path = (*mapping, "outputs")
    depends: Sequence[Path] = (path, (*mapping, "method"))
    for i, output in enumerate(outputs[:-1]):
        if output.predicate is None:
            yield Finding(
                (*path, i),
                f'"{output.name}" has no bounds: the outputs after it are never reached',
                warning=True,
                looked_in=depends,
            )
            return
    bands = sorted(_band(i, output) for i, output in enumerate(outputs) if output.predicate)
    rest = any(output.predicate is None for output in outputs)
    for one, other in itertools.pairwise(bands):
        first, second = sorted((one, other), key=lambda band: band.position)
        place: Path = (*path, second.position)
        names = f'"{first.output.name}" and "{second.output.name}"'
        if other.start < one.end:
            where = _span(other.start, min(one.end, other.end))
            yield Finding(
                place,
                f"{names} overlap where {where}: the first of them is taken",
                warning=True,
                looked_in=depends,
            )
        elif other.start > one.end and not rest:
            where = _span(one.end, other.start)
            yield Finding(
                place,
                f"between {names} is a gap: no output fits {where}",
                warning=True,
                looked_in=depends,
            )


def _band(position: int, output: Output) -> Band:
    start: Cut = (-math.inf, 0)
    end: Cut = (math.inf, 1)
    if output.gt is not None or output.gte is not None:
        start = (output.gt, 1) if output.gt is not None else (output.gte or 0.0, 0)
    if output.lt is not None or output.lte is not None:
        end = (output.lt, 0) if output.lt is not None else (output.lte or 0.0, 1)
    return Band(start, end, position, output)


def _span(start: Cut, end: Cut) -> str:
    if start[0] == end[0]:
        return f"score = {start[0]:g}"
    low = "" if math.isinf(start[0]) else f"{start[0]:g} {'<' if start[1] else '<='} "
    high = "" if math.isinf(end[0]) else f" {'<=' if end[1] else '<'} {end[0]:g}"
    return f"{low}score{high}"
