"""What kinds share that tell labels apart by a classifier that has learned from packaged examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from .base import SignalRule
from .examples import counts_share, examples_of, source_of
from .learning import Evidence, TextClassifier
from .lexical import Terms
from .vectors import Vectors, VectorSignal, plain
from .weights import kept

_MOST_KEPT = 32
_ready: dict[tuple[str, str], TextClassifier] = {}
"""By family and embedding model: a configuration that is loaded again need not learn again."""

RuleT = TypeVar("RuleT", bound=SignalRule)


def ready(family: str, identity: str, evidence: Evidence | None = None) -> TextClassifier | None:
    """Gives the classifier of a family for an embedding model, when there is no need to train it."""
    found = _ready.get((family, identity))
    if found is None:
        learned = kept(family, identity, source_of(family))
        if learned is None:
            return None
        found = TextClassifier(learned, evidence)
        _keep((family, identity), found)
    return found


def classifier_of(
    family: str, vectors: Vectors, identity: str, evidence: Evidence | None = None
) -> TextClassifier:
    """Gives the classifier of a family; trains it when nobody has for this embedding model.

    Args:
        family: of the examples.
        vectors: of the examples' texts, unless it is `ready`.
        identity: of the embedding model.
        evidence: what else the classifier goes by.
    """
    found = ready(family, identity, evidence)
    if found is None:
        found = TextClassifier.train(
            examples_of(family), plain(vectors), evidence, by_share=counts_share(family)
        )
        _keep((family, identity), found)
    return found


def texts_to_learn(family: str, identity: str, evidence: Evidence | None = None) -> Sequence[str]:
    """Gives the texts whose vectors `classifier_of` needs."""
    if ready(family, identity, evidence) is not None:
        return ()
    return [example.text for example in examples_of(family)]


def _keep(key: tuple[str, str], classifier: TextClassifier) -> None:
    if len(_ready) >= _MOST_KEPT:
        _ready.clear()
    _ready[key] = classifier


class LearnedSignal(VectorSignal[RuleT]):
    """A kind whose classifier learns from `examples/<family>.jsonl`."""

    family: str
    """Of the examples."""
    evidence: Evidence | None = None
    """What else the classifier goes by."""
    classifier: TextClassifier | None = None
    """None before `learn`."""

    def prototypes(self, identity: str) -> Sequence[str]:
        return texts_to_learn(self.family, identity, self.evidence)

    def learn(self, vectors: Vectors, identity: str) -> None:
        self.classifier = classifier_of(self.family, vectors, identity, self.evidence)

    def probabilities(self, text: str, vectors: Vectors, terms: Terms) -> Mapping[str, float]:
        """Gives the probability of each label of the family; see `TextClassifier`.

        Raises:
            RuntimeError: `learn` was not called.
        """
        if self.classifier is None:
            raise RuntimeError("nothing was learned yet")
        return self.classifier.probabilities(text, plain(vectors)[text], terms)
