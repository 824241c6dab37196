"""Evaluation of a rule tree, compiled once at load: its verdict on every request, its trace on demand.

Three-valued (Kleene's strong logic): a condition whose signal failed is neither matched nor
unmatched but unknown, and stays so through NOT. An AND with a child that does not match does not
match, an OR with one that matches does, whatever is unknown beside it. Unknown at the root is no
match. Confidence: vllm-sr-routing.md 3.2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from ..rules.grammar import Combination, Condition
from ..signals.base import SignalKey, SignalResult
from .trace import RuleTrace

Results = Mapping[SignalKey, SignalResult]

Verdict = tuple[bool | None, float]
"""Whether it matches (None: nobody can say), and with which confidence; 0 unless it does."""

_NO: Verdict = (False, 0.0)
_UNKNOWN: Verdict = (None, 0.0)
_YES: Verdict = (True, 1.0)


class Rules(ABC):
    """A compiled tree. Holds no state of a request."""

    @abstractmethod
    def verdict(self, results: Results) -> Verdict:
        """Gives what the tree comes to."""

    @abstractmethod
    def trace(self, results: Results) -> RuleTrace:
        """Gives the evaluated tree, always whole: a node for every node of it."""


def compile_rules(node: Condition | Combination | None) -> Rules:
    """Compiles a tree; None, a decision without rules, matches with confidence 0."""
    if node is None:
        return _Fallback()
    return _Leaf(node) if isinstance(node, Condition) else _Inner(node)


def evaluate(node: Condition | Combination | None, results: Results) -> RuleTrace:
    """Evaluates a tree once."""
    return compile_rules(node).trace(results)


class _Fallback(Rules):
    def verdict(self, results: Results) -> Verdict:
        return True, 0.0

    def trace(self, results: Results) -> RuleTrace:
        return RuleTrace("fallback", True)


class _Leaf(Rules):
    def __init__(self, node: Condition) -> None:
        self._key = SignalKey(node.type, node.result)
        self._predicate = node.predicate
        self._on_error = _YES if node.on_error == "match" else _UNKNOWN

    def verdict(self, results: Results) -> Verdict:
        result = results.get(self._key, _NOT_EVALUATED)
        if result.error is not None:
            return self._on_error
        if self._predicate is not None:
            value = _figure(result)
            return _YES if value is not None and self._predicate.holds(value) else _NO
        if not result.matched:
            return _NO
        return _YES if result.confidence == 1.0 else (True, _sane(result.confidence))

    def trace(self, results: Results) -> RuleTrace:
        result = results.get(self._key, _NOT_EVALUATED)
        matched, confidence = self.verdict(results)
        return RuleTrace(
            "condition",
            matched is True,
            unknown=matched is None,
            confidence=confidence,
            type=self._key.kind,
            name=self._key.name,
            value=result.value,
            error=result.error,
        )


_NOT_EVALUATED = SignalResult(False, error="the signal was not evaluated")


class _Inner(Rules):
    def __init__(self, node: Combination) -> None:
        self._operator = node.operator
        self._combine = _COMBINE[node.operator]
        self._children = tuple(map(compile_rules, node.conditions))

    def verdict(self, results: Results) -> Verdict:
        return self._combine([child.verdict(results) for child in self._children])

    def trace(self, results: Results) -> RuleTrace:
        children = tuple(child.trace(results) for child in self._children)
        verdicts = [(None if c.unknown else c.matched, c.confidence) for c in children]
        matched, confidence = self._combine(verdicts)
        return RuleTrace(
            "combination",
            matched is True,
            unknown=matched is None,
            confidence=confidence,
            operator=self._operator,
            children=children,
        )


def _figure(result: SignalResult) -> float | None:
    """What a predicate is asked about: the raw value, else the confidence of a match."""
    if result.value is not None:
        return result.value
    return result.confidence if result.matched else None


def _sane(confidence: float) -> float:
    """Confidence as an orderable number: NaN would make the choice depend on chance."""
    return min(1.0, max(0.0, confidence)) if math.isfinite(confidence) else 0.0


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    if _NO in verdicts:
        return _NO
    if _UNKNOWN in verdicts:
        return _UNKNOWN
    total = math.fsum([confidence for _, confidence in verdicts])
    return True, min(1.0, total / len(verdicts)) if verdicts else 0.0


def _any(verdicts: Sequence[Verdict]) -> Verdict:
    confidences = [confidence for matched, confidence in verdicts if matched]
    if confidences:
        return True, max(confidences)
    return _UNKNOWN if _UNKNOWN in verdicts else _NO


def _none(verdicts: Sequence[Verdict]) -> Verdict:
    ((matched, _),) = verdicts
    return _UNKNOWN if matched is None else _NO if matched else _YES


_COMBINE: Mapping[str, Callable[[Sequence[Verdict]], Verdict]] = {
    "AND": _all,
    "OR": _any,
    "NOT": _none,
}
