"""Signal `jailbreak`: whether a text tries to override or to extract an assistant's instructions.

Config: `routing.signals.jailbreak`. What the score is, the `method` says:

- `classifier` (the default): the probability that a classifier gives which was trained on the packaged
  examples (see `learning`) and goes by tell-tale phrases (`jailbreak_phrases`), too;
- `contrastive`: likeness to the nearest of `jailbreak_patterns` less that to the nearest of
  `benign_patterns`;
- `patterns`: 1 when one of `jailbreak_patterns` stands in the text as written, at word boundaries, and
  none of `benign_patterns` does;
- `hybrid`: the greatest of the classifier's score, that of `patterns`, and the likeness to the nearest
  jailbreak pattern when it is nearer than every benign one, stretched so that what is unrelated has 0:
  else the threshold of a probability would take it for an attack that every text is a little like it.

It matches from `threshold` on (contrastive 0.1, `patterns` 0.5, otherwise 0.5 or what
`global.model_catalog.modules.prompt_guard` says). Confidence and value are the score. The last user
message is read in overlapping pieces of 2 048 characters, at most 8 of them, from its beginning and
its end; with `include_history` the other messages' beginnings, too, those of tools included. The
piece with the greatest score counts.

It is no security boundary: whoever writes the prompt can find words that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from ..chat.request import text_of
from ..rules.misfit import MisfitError
from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .jailbreak_phrases import phrases_in
from .learned import LearnedSignal
from .lexical import terms_of
from .patterns import Pattern, compile_pattern, literal
from .similarity import UNRELATED, Bank, Candidates, PrototypeScoring
from .vectors import Vectors

PIECE = 2048
OVERLAP = 64
MOST_PIECES = 8
_FROM_THE_END = 2
_TOGETHER = 64
"""Patterns that are compiled into one."""
_OURS = ("system", "developer")
"""Roles whose messages are the instructions."""
_NEAREST = PrototypeScoring(best_weight=1.0)
_TRAINED = "there is no trained network: a classifier learns from packaged examples"

Method = Literal["classifier", "contrastive", "patterns", "hybrid"]


class JailbreakRule(SignalRule):
    """One entry of `routing.signals.jailbreak`."""

    method: Method = "classifier"
    """What the score is; see the documentation of signals."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least score. None: the method's."""
    jailbreak_patterns: Candidates = ()
    """Examples of attacks; of `patterns` and `hybrid`, words that stand in them."""
    benign_patterns: Candidates = ()
    """Examples of what is none, however like one."""
    include_history: Annotated[bool, Field(strict=True)] = False
    """Whether messages before the last one are read."""

    @model_validator(mode="after")
    def _has_patterns(self) -> JailbreakRule:
        if self.method in ("contrastive", "patterns") and not self.jailbreak_patterns:
            raise MisfitError(
                f"method {self.method!r} compares with `jailbreak_patterns`: give some",
                "method",
                "jailbreak_patterns",
            )
        return self

    def warnings(self) -> Sequence[str]:
        if self.method == "classifier" and (self.jailbreak_patterns or self.benign_patterns):
            return (
                f"rule {self.name!r}: method 'classifier' reads no patterns; 'hybrid' does both",
            )
        return ()


class PromptGuardSettings(SignalSettings):
    """`global.model_catalog.modules.prompt_guard`."""

    ignored_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("model_ref", "model_id", "use_cpu", "variant", "use_modernbert", "use_mmbert_32k"),
            *("jailbreak_mapping_path", "positive_labels", "on_error"),
        ),
        _TRAINED,
    )

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether any rule can match."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of rules without their own. The reference has 0.7, for a network that is surer."""


class Jailbreak(LearnedSignal[JailbreakRule]):
    """Attacks on an assistant's instructions."""

    kind: ClassVar[str] = "jailbreak"
    config_key: ClassVar[str] = "jailbreak"
    Rule: ClassVar[type[SignalRule]] = JailbreakRule
    Settings: ClassVar[type[BaseModel] | None] = PromptGuardSettings
    settings_key: ClassVar[str] = "model_catalog.modules.prompt_guard"
    family = "jailbreak"
    evidence = staticmethod(phrases_in)

    def __init__(self, rules: Sequence[JailbreakRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        self._own = settings if isinstance(settings, PromptGuardSettings) else PromptGuardSettings()
        self._classifies = any(rule.method in ("classifier", "hybrid") for rule in rules)
        self._compiled = {rule.name: _Patterns(rule) for rule in rules}

    @property
    def compares(self) -> bool:
        return self._own.enabled and any(rule.method != "patterns" for rule in self.rules)

    def prototypes(self, identity: str) -> Sequence[str]:
        learned = super().prototypes(identity) if self._classifies else ()
        own = (t for r in self.rules for t in (*r.jailbreak_patterns, *r.benign_patterns))
        return (*learned, *own)

    def learn(self, vectors: Vectors, identity: str) -> None:
        if self._classifies:
            super().learn(vectors, identity)
        for compiled in self._compiled.values():
            compiled.learn(vectors)

    def wanted(self, facts: RequestFacts) -> Sequence[str]:
        if not self.compares:
            return ()
        return self._pieces(facts, history=any(rule.include_history for rule in self.rules))

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        if not self._own.enabled:
            return {rule.name: SignalResult(False, value=0.0) for rule in self.rules}
        learned: dict[str, float] = {}
        return {rule.name: self._result(rule, facts, vectors, learned) for rule in self.rules}

    def judge_without(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        written = [rule for rule in self.rules if rule.method == "patterns"]
        return {rule.name: self._result(rule, facts, {}, {}) for rule in written}

    def _result(
        self,
        rule: JailbreakRule,
        facts: RequestFacts,
        vectors: Vectors,
        learned: dict[str, float],
    ) -> SignalResult:
        compiled, scores = self._compiled[rule.name], [0.0]
        for piece in self._pieces(facts, history=rule.include_history):
            if rule.method in ("classifier", "hybrid"):
                if piece not in learned:
                    learned[piece] = self._probability(piece, vectors)
                scores.append(learned[piece])
            scores.append(compiled.score(piece, vectors))
        score = max(scores)
        least = self._own.threshold if rule.method in ("classifier", "hybrid") else 0.5
        least = 0.1 if rule.method == "contrastive" else least
        if rule.threshold is not None:
            least = rule.threshold
        return SignalResult(score >= least, min(1.0, score), value=score)

    def _probability(self, piece: str, vectors: Vectors) -> float:
        return self.probabilities(piece, vectors, terms_of(piece))["jailbreak"]

    @staticmethod
    def _pieces(facts: RequestFacts, *, history: bool) -> Sequence[str]:
        found = pieces_of(facts.text)
        if history:
            others = (m for m in facts.request.messages if m["role"] not in _OURS)
            begun = dict.fromkeys(text_of(message).strip()[:PIECE] for message in others)
            room = max(MOST_PIECES - len(found), 1)
            further = [piece for piece in begun if piece and piece not in found]
            found = (*found, *further[-room:])
        return found


class _Patterns:
    """A rule's own patterns, compiled."""

    def __init__(self, rule: JailbreakRule) -> None:
        self._rule = rule
        written = rule.method in ("patterns", "hybrid")
        bad, good = rule.jailbreak_patterns, rule.benign_patterns
        self._bad = _compiled(bad) if written else ()
        self._good = _compiled(good) if written else ()
        self._banks: tuple[Bank, Bank] | None = None

    def learn(self, vectors: Vectors) -> None:
        rule = self._rule
        self._banks = (
            Bank(rule.jailbreak_patterns, vectors, _NEAREST),
            Bank(rule.benign_patterns, vectors, _NEAREST),
        )

    def score(self, piece: str, vectors: Vectors) -> float:
        score = 0.0
        if self._bad:
            text = piece.encode("utf-8", "replace")
            score = float(_occurs(self._bad, text) and not _occurs(self._good, text))
        if self._rule.method in ("contrastive", "hybrid") and self._banks is not None:
            vector = vectors[piece]
            bad, good_score = (bank.score(vector) for bank in self._banks)
            if self._rule.method == "contrastive":
                return max(0.0, bad - good_score)
            if bad > good_score:
                score = max(score, (bad - UNRELATED) / (1 - UNRELATED))
        return score


def _compiled(words: Sequence[str]) -> Sequence[Pattern]:
    """Patterns of a size that RE2 takes, which together find any of the words."""
    parts = (words[begin : begin + _TOGETHER] for begin in range(0, len(words), _TOGETHER))
    return tuple(compile_pattern(literal(*part)) for part in parts)


def _occurs(patterns: Sequence[Pattern], text: bytes) -> bool:
    return any(pattern.search(text) is not None for pattern in patterns)


def pieces_of(text: str) -> Sequence[str]:
    """Gives the overlapping pieces in which a text is read; none of an empty one."""
    stripped = text.strip()
    if len(stripped) <= PIECE:
        return (stripped,) if stripped else ()
    step = PIECE - OVERLAP
    begins = list(range(0, len(stripped) - OVERLAP, step))
    if len(begins) > MOST_PIECES:
        last = len(stripped) - PIECE
        begins = [
            *begins[: MOST_PIECES - _FROM_THE_END],
            *(last - step * i for i in reversed(range(_FROM_THE_END))),
        ]
    return tuple(dict.fromkeys(stripped[begin : begin + PIECE] for begin in begins))
