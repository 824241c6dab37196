"""Signal `reask`: whether the user asks the same again.

Config: `routing.signals.reasks`. The last user message is compared with each of the `lookback_turns` user
messages before it, newest first; a rule is met when all of them are at least as similar as
`threshold`. Of the rules that are met only those with the most turns match. Confidence and value are
the least similarity of the run. At most 8 turns are compared, each by its sample of 2 048
characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from typing import Annotated, ClassVar

from pydantic import Field

from ..chat.request import text_of
from .base import RequestFacts, SignalResult, SignalRule
from .excerpt import sampled
from .vectors import Vectors, VectorSignal

MOST_TURNS = 8


class ReaskRule(SignalRule):
    """One entry of `routing.signals.reasks`."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least similarity."""
    lookback_turns: Annotated[int, Field(strict=True, ge=1, le=MOST_TURNS)] = 1
    """How many user messages before the last one."""


class Reask(VectorSignal[ReaskRule]):
    """The same question again."""

    kind: ClassVar[str] = "reask"
    config_key: ClassVar[str] = "reasks"
    Rule: ClassVar[type[SignalRule]] = ReaskRule

    def prototypes(self, identity: str) -> Sequence[str]:
        return ()

    def learn(self, vectors: Vectors, identity: str) -> None:
        """Learns nothing: turns are compared with each other."""

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        earlier = self._earlier(facts)
        return (facts.sample, *earlier) if facts.sample and earlier else ()

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        earlier = self._earlier(facts) if facts.sample else ()
        run = _run([_alike(facts.sample, turn, vectors) for turn in earlier])
        met = {
            rule.name: rule.lookback_turns
            for rule in self.rules
            if len(run) >= rule.lookback_turns and run[rule.lookback_turns - 1] >= rule.threshold
        }
        longest = max(met.values(), default=0)
        return {
            rule.name: self._result(rule, run, met.get(rule.name) == longest) for rule in self.rules
        }

    @staticmethod
    def _result(rule: ReaskRule, run: Sequence[float], matched: bool) -> SignalResult:
        least = run[rule.lookback_turns - 1] if len(run) >= rule.lookback_turns else 0.0
        return SignalResult(matched, min(1.0, max(0.0, least)), value=least)

    def _earlier(self, facts: RequestFacts) -> Sequence[str]:
        """Samples of the user messages before the last one, newest first."""
        most = max(rule.lookback_turns for rule in self.rules)
        of_user = (m for m in reversed(facts.request.messages) if m["role"] == "user")
        samples = (sampled(text_of(message)) for message in islice(of_user, 1, most + 1))
        return tuple(takewhile(bool, samples))  # a turn without text breaks the run


def _alike(text: str, other: str, vectors: Vectors) -> float:
    """How similar two texts are; exactly 1 when they are the same, whatever floats make of it."""
    return 1.0 if text == other else float(vectors[text] @ vectors[other])


def _run(similarities: Sequence[float]) -> Sequence[float]:
    """The least similarity of the first turn, of the first two, and so on."""
    least, run = 1.0, []
    for similarity in similarities:
        least = min(least, similarity)
        run.append(least)
    return run
