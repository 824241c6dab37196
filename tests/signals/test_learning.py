from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals import learned
from consilience.signals.examples import FAMILIES, examples_of, source_of
from consilience.signals.learned import classifier_of
from consilience.signals.learning import Evidence, Example, TextClassifier
from consilience.signals.lexical import terms_of
from consilience.signals.weights import kept
from consilience.upstream.embedding.base import on_scale
from consilience.upstream.embedding.catalog import EMBEDDING_MODELS, WORDLLAMA, EmbeddingModel
from consilience.upstream.embedding.local import LocalEmbedder
from support.meanings import vectors_of

EXAMPLES = [
    Example(text, label)
    for label, texts in {
        "fruit": ("a red apple", "a green pear", "some apple and pear", "one pear"),
        "tool": ("a steel hammer", "a steel saw", "one hammer", "hammer and saw"),
    }.items()
    for text in texts
]


def classifier(evidence: Evidence | None = None) -> TextClassifier:
    return TextClassifier.train(EXAMPLES, vectors_of(*(e.text for e in EXAMPLES)), evidence)


def probable(text: str, of: TextClassifier | None = None) -> dict[str, float]:
    return dict((of or classifier()).probabilities(text, vectors_of(text)[text], terms_of(text)))


@pytest.mark.parametrize(("text", "label"), [("pear", "fruit"), ("the hammer", "tool")])
def test_label_is_that_of_examples_like_the_text(text: str, label: str) -> None:
    assert max(probable(text).items(), key=lambda item: item[1])[0] == label


def test_same_examples_give_the_same_figures() -> None:
    assert probable("a pear") == probable("a pear")


def test_unknown_words_say_nothing() -> None:
    assert max(probable("zzz qqq www").values()) < 0.7


def test_evidence_counts_beside_words() -> None:
    def is_red(text: str) -> Sequence[float]:
        return (10.0 * ("red" in text or "green" in text),)

    with_evidence = probable("red zzz", classifier(is_red))
    assert with_evidence["fruit"] > probable("red zzz")["fruit"]


def test_most_examples_are_told_by_the_others() -> None:
    assert classifier().learned.left_out_accuracy >= 0.75


@given(st.text(max_size=50))
def test_probabilities_add_up_to_one_for_any_text(text: str) -> None:
    figures = probable(text, _CLASSIFIER)
    assert list(figures) == ["fruit", "tool"]
    assert sum(figures.values()) == pytest.approx(1)
    assert all(0 <= figure <= 1 for figure in figures.values())


_CLASSIFIER = classifier()


@pytest.mark.parametrize("family", FAMILIES)
def test_packaged_examples_are_distinct_and_of_several_labels(family: str) -> None:
    examples = examples_of(family)
    texts = [example.text for example in examples if example.alone]
    assert len(set(texts)) == len(texts)
    assert len({example.label for example in examples}) >= 2
    assert all(0 < len(text) <= 2000 for text in texts)


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_packaged_weights_are_fresh(model: EmbeddingModel, family: str) -> None:
    identity = LocalEmbedder(model.encoder(), model.floor).identity
    found = kept(family, identity, source_of(family))
    assert found is not None, "the examples have changed: python -m benchmarks.train"
    assert set(found.labels) == {example.label for example in examples_of(family)}
    assert found.by_word.shape == (len(found.inverse), len(found.labels))


def test_packaged_weights_are_those_that_training_gives() -> None:
    model, family = WORDLLAMA, "complexity"
    embedder = LocalEmbedder(model.encoder(), model.floor)
    examples = examples_of(family)
    texts = [example.text for example in examples]
    rows = on_scale(model.encoder().encode(texts), model.floor)
    vectors = dict(zip(texts, rows, strict=True))
    found = kept(family, embedder.identity, source_of(family))
    assert found is not None
    of_package, anew = TextClassifier(found), TextClassifier.train(examples, vectors)
    for text in texts[:50]:
        terms = terms_of(text)
        assert of_package.probabilities(text, vectors[text], terms) == pytest.approx(
            anew.probabilities(text, vectors[text], terms), abs=0.02
        )


def test_weights_are_not_used_for_other_examples_or_another_model() -> None:
    identity = LocalEmbedder(WORDLLAMA.encoder(), WORDLLAMA.floor).identity
    assert kept("complexity", identity, b"something else") is None
    assert kept("complexity", "another model", source_of("complexity")) is None


def test_family_is_trained_once_for_each_model_when_many_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learned, "examples_of", lambda _family: EXAMPLES)
    monkeypatch.setattr(learned, "source_of", lambda _family: b"")
    monkeypatch.setattr(learned, "_ready", {})
    vectors = vectors_of(*(example.text for example in EXAMPLES))
    once = classifier_of("fruit", vectors, "a model")
    assert classifier_of("fruit", {}, "a model") is once
    found: list[TextClassifier] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(classifier_of("fruit", vectors, f"m{i}")))
        for i in range(3 * learned._MOST_KEPT)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 * learned._MOST_KEPT
    assert len(learned._ready) <= learned._MOST_KEPT
