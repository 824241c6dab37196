"""What kinds share that tell labels apart by a classifier trained at load on packaged examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from .base import SignalRule
from .examples import examples_of
from .learning import Evidence, TextClassifier
from .lexical import Terms
from .vectors import Vector, Vectors, VectorSignal

_MOST_KEPT = 16
_trained: dict[tuple[str, str], TextClassifier] = {}
"""By family and embedding model: a configuration that is loaded again need not train again."""

RuleT = TypeVar("RuleT", bound=SignalRule)


def trained(
    family: str, vectors: Vectors, identity: str, evidence: Evidence | None = None
) -> TextClassifier:
    """Gives the classifier of a family; trains it when there is none for this embedding model."""
    key = (family, identity)
    found = _trained.get(key)
    if found is None:
        found = TextClassifier(examples_of(family), vectors, evidence)
        if len(_trained) >= _MOST_KEPT:
            _trained.clear()
        _trained[key] = found
    return found


class LearnedSignal(VectorSignal[RuleT]):
    """A kind whose classifier learns from `examples/<family>.jsonl`."""

    family: str
    """Of the examples."""
    evidence: Evidence | None = None
    """What else the classifier goes by."""
    classifier: TextClassifier | None = None
    """None before `learn`."""

    def prototypes(self) -> Sequence[str]:
        return [example.text for example in examples_of(self.family)]

    def learn(self, vectors: Vectors, identity: str) -> None:
        self.classifier = trained(self.family, vectors, identity, self.evidence)

    def probabilities(self, text: str, vector: Vector, terms: Terms) -> Mapping[str, float]:
        """Gives the probability of each label of the family; see `TextClassifier`.

        Raises:
            RuntimeError: `learn` was not called.
        """
        if self.classifier is None:
            raise RuntimeError("nothing was learned yet")
        return self.classifier.probabilities(text, vector, terms)
