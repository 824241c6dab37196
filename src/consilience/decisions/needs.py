"""What is asked for, to its end: signals, and the partitions, composers, scores and mappings between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..rules.grammar import Combination, Condition, conditions_of
from ..signals.base import SignalKey, SignalRule, composer_of
from .partitions import member_kind
from .projections import KIND, Partition, Projections, Score, ScoreMapping

_SCORE = "score"
"""The kind under which scores are looked for here; no results are filed under it."""

RulesByKind = Mapping[str, Sequence[SignalRule]]


class Composed(NamedTuple):
    """A signal rule whose results count only where a rule tree matches."""

    composer: Condition | Combination
    keys: Sequence[SignalKey]
    """What the rule emits."""


class Needs:
    """What must be evaluated so that some results are there, and nothing more."""

    def __init__(
        self, projections: Projections, rules: RulesByKind, asked: Iterable[SignalKey]
    ) -> None:
        """
        Args:
            projections: of the profile.
            rules: its signal rules by kind.
            asked: what the rule trees name.
        """
        graph = _Graph(projections, rules)
        seen = _reachable(asked, graph)
        self.signals = frozenset(key for key in seen if key.kind not in (KIND, _SCORE))
        """Results of signals."""
        self.partitions: Sequence[tuple[Partition, str]] = tuple(
            (partition, kind)
            for partition, kind in graph.partitions
            if any(SignalKey(kind, member) in seen for member in partition.members)
        )
        """In the configuration's order, each with the kind of its members."""
        self.composed: Sequence[Composed] = tuple(
            composed for composed in graph.composed if not seen.isdisjoint(composed.keys)
        )
        self.scores: Sequence[Score] = tuple(
            score for score in projections.scores if SignalKey(_SCORE, score.name) in seen
        )
        self.mappings: Sequence[ScoreMapping] = tuple(
            mapping
            for mapping in projections.mappings
            if any(SignalKey(KIND, output.name) in seen for output in mapping.outputs)
        )
        emitted = {SignalKey(KIND, name) for name in projections.outputs}
        self.missing = frozenset(key for key in seen if key.kind == KIND and key not in emitted)
        """Outputs that are asked for and that no mapping has."""


class _Graph:
    """Which key rests on which others."""

    def __init__(self, projections: Projections, rules: RulesByKind) -> None:
        self._scores = {score.name: score for score in projections.scores}
        self._source = {
            output.name: mapping.source
            for mapping in projections.mappings
            for output in mapping.outputs
        }
        names = {
            kind: {name for rule in of_kind for name in rule.emits()}
            for kind, of_kind in rules.items()
        }
        each = ((partition, member_kind(partition, names)) for partition in projections.partitions)
        self.partitions = tuple((partition, kind) for partition, kind in each if kind is not None)
        self.composed = tuple(_composed(rules))
        self._below: dict[SignalKey, set[SignalKey]] = {}
        for partition, kind in self.partitions:
            members = {SignalKey(kind, member) for member in partition.members}
            for member in members:
                self._below.setdefault(member, set()).update(members)
        for composed in self.composed:
            conditions = {SignalKey(c.type, c.result) for c in conditions_of(composed.composer)}
            for key in composed.keys:
                self._below.setdefault(key, set()).update(conditions)

    def below(self, key: SignalKey) -> Iterable[SignalKey]:
        """Gives what a key rests on directly."""
        if key.kind == KIND:
            source = self._source.get(key.name)
            return () if source is None else (SignalKey(_SCORE, source),)
        if key.kind == _SCORE:
            score = self._scores.get(key.name)
            return () if score is None else tuple(_inputs(score))
        return self._below.get(key, ())


def _reachable(asked: Iterable[SignalKey], graph: _Graph) -> set[SignalKey]:
    pending, seen = list(asked), set[SignalKey]()
    while pending:
        key = pending.pop()
        if key not in seen:
            seen.add(key)
            pending.extend(graph.below(key))
    return seen


def _inputs(score: Score) -> Iterator[SignalKey]:
    for each in score.inputs:
        yield SignalKey(_SCORE, each.name or "") if each.is_score else each.key


def _composed(rules: RulesByKind) -> Iterator[Composed]:
    for kind, of_kind in rules.items():
        for rule in of_kind:
            composer = composer_of(rule)
            if composer is not None:
                yield Composed(composer, tuple(SignalKey(kind, name) for name in rule.emits()))
