from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals import learned
from consilience.signals.examples import examples_of
from consilience.signals.learned import trained
from consilience.signals.learning import Evidence, Example, TextClassifier
from consilience.signals.lexical import terms_of
from support.meanings import vectors_of

FAMILIES = ("domain", "fact_check", "user_feedback", "jailbreak", "complexity")
EXAMPLES = [
    Example(text, label)
    for label, texts in {
        "fruit": ("a red apple", "a green pear", "some apple and pear", "one pear"),
        "tool": ("a steel hammer", "a steel saw", "one hammer", "hammer and saw"),
    }.items()
    for text in texts
]


def classifier(evidence: Evidence | None = None) -> TextClassifier:
    return TextClassifier(EXAMPLES, vectors_of(*(e.text for e in EXAMPLES)), evidence)


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
    assert classifier().left_out_accuracy >= 0.75


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
    texts = [example.text for example in examples]
    assert len(set(texts)) == len(texts)
    assert len({example.label for example in examples}) >= 2
    assert all(0 < len(text) <= 2000 for text in texts)


def test_family_is_trained_once_for_each_model_when_many_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learned, "examples_of", lambda _family: EXAMPLES)
    monkeypatch.setattr(learned, "_trained", {})
    vectors = vectors_of(*(example.text for example in EXAMPLES))
    once = trained("fruit", vectors, "a model")
    assert trained("fruit", {}, "a model") is once
    found: list[TextClassifier] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(trained("fruit", vectors, f"m{i}")))
        for i in range(3 * learned._MOST_KEPT)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 * learned._MOST_KEPT
    assert len(learned._trained) <= learned._MOST_KEPT
