"""An evaluated rule tree, always whole, and what can be said of it in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..rules.grammar import Operator

TraceKind = Literal["condition", "combination", "fallback"]
"""`fallback`: there were no rules, which always matches."""

_NODE_TYPES: Mapping[TraceKind, str] = {"condition": "leaf", "fallback": "fallback"}
"""What the reference calls a node that is no combination."""


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One evaluated node of a rule tree."""

    kind: TraceKind
    matched: bool
    """False, too, when it is unknown."""
    unknown: bool = False
    """Nobody can say whether it matches, because a signal failed."""
    confidence: float = 0.0
    """0 to 1; 0 when not matched."""
    operator: Operator | None = None
    """Of a combination."""
    type: str | None = None
    """Of a condition: the signal's kind."""
    name: str | None = None
    """Of a condition: the signal result's name."""
    value: float | None = None
    """Of a condition: the signal's raw figure."""
    error: str | None = None
    """Of a condition: why the signal could not be evaluated."""
    children: Sequence[RuleTrace] = ()

    def as_body(self) -> dict[str, Any]:
        """Gives the trace as JSON in the reference's words; what is not there is left out."""
        body: dict[str, Any] = {"node_type": self.operator or _NODE_TYPES[self.kind]}
        if self.kind == "condition":
            body |= {"signal_type": self.type, "signal_name": self.name}
        body |= {"matched": self.matched, "confidence": round(self.confidence, 4)}
        if self.unknown:
            body["unknown"] = True
        if self.value is not None and math.isfinite(self.value):
            body["value"] = self.value
        if self.error is not None:
            body["error"] = self.error
        if self.kind == "combination":
            body["children"] = [child.as_body() for child in self.children]
        return body


def why_not(trace: RuleTrace) -> str:
    """Says in one sentence which conditions kept a tree from matching; empty when it matched."""
    return " and ".join(dict.fromkeys(map(_in_words, obstacles(trace))))


def obstacles(trace: RuleTrace) -> tuple[RuleTrace, ...]:
    """Gives the conditions that kept a tree from matching, in its order; empty when it matched.

    Under NOT that is a condition that did match. A combination without conditions counts as one.
    """
    return () if trace.matched else tuple(_obstacles(trace, wanted=True))


def matched_rules(trace: RuleTrace) -> tuple[str, ...]:
    """Gives the conditions that a match rests on, as `type:name`, each once.

    Of an OR those of its best child, the first of equals; of a NOT none. Empty when it did not
    match.
    """
    return tuple(dict.fromkeys(_grounds(trace)))


def _grounds(trace: RuleTrace) -> Iterator[str]:
    if not trace.matched or trace.operator == "NOT":
        return
    if trace.kind == "condition":
        yield f"{trace.type}:{trace.name}"
        return
    matched = [child for child in trace.children if child.matched]
    if trace.operator == "OR":
        matched = [max(matched, key=lambda child: child.confidence)]
    for child in matched:
        yield from _grounds(child)


def _obstacles(trace: RuleTrace, *, wanted: bool) -> Iterator[RuleTrace]:
    """The conditions that decided against `wanted`."""
    if trace.operator == "NOT":
        yield from _obstacles(trace.children[0], wanted=not wanted)
    elif not trace.children:
        yield trace
    for child in trace.children if trace.operator != "NOT" else ():
        if child.unknown or child.matched is not wanted:
            yield from _obstacles(child, wanted=wanted)


def _in_words(node: RuleTrace) -> str:
    if node.kind != "condition":
        return (
            f"an {node.operator} without conditions {'always' if node.matched else 'never'} matches"
        )
    label = f"{node.type} {node.name!r}"
    if node.unknown:
        return f"{label} could not be evaluated ({node.error})"
    return f"{label} {'matched' if node.matched else 'did not match'}"
