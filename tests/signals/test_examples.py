"""The packaged examples, and those that are made of them."""

from __future__ import annotations

from collections import Counter

import pytest

from consilience.signals import examples
from consilience.signals.examples import FAMILIES, counts_share, examples_of, source_of

PHRASES = [(e["text"], e["place"]) for e in examples._entries("phrases")]


def own(family: str) -> list[tuple[str, str]]:
    """Text and label of what stands in a family's file."""
    return [(entry["text"], entry["label"]) for entry in examples._entries(family)]


def test_each_phrase_stands_once_under_every_subject() -> None:
    made = examples_of("domain")[len(own("domain")) :]
    labels = {label for _, label in own("domain")}
    assert len(made) == len(PHRASES) * len(labels)
    by_label = {label: [e.text for e in made if e.label == label] for label in labels}
    for texts in by_label.values():
        for (phrase, place), text in zip(PHRASES, texts, strict=True):
            assert (
                text.startswith(f"{phrase} ") if place == "before" else text.endswith(f" {phrase}")
            )


def test_phrases_stand_around_texts_of_their_label() -> None:
    by_text = dict(own("domain"))
    for i, example in enumerate(examples_of("domain")[len(by_text) :]):
        phrase, place = PHRASES[i % len(PHRASES)]
        bare = example.text[len(phrase) + 1 :]
        if place == "after":
            bare = example.text[: -len(phrase) - 1]
        assert by_text[bare] == example.label


def test_phrases_are_spread_over_the_texts_of_a_subject() -> None:
    alone = Counter(e.label for e in examples_of("domain") if e.alone)
    for label, count in Counter(label for _, label in own("domain")).items():
        assert count - alone[label] >= min(count, len(PHRASES)) * 0.9


def test_text_is_not_alone_when_a_phrase_stands_around_it() -> None:
    count = len(own("domain"))
    plain, made = examples_of("domain")[:count], examples_of("domain")[count:]
    assert not any(example.alone for example in made)
    for example in plain:
        again = any(example.text in other.text for other in made if other.label == example.label)
        assert example.alone or again
    assert sum(example.alone for example in plain) >= 1000


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in {"domain", "jailbreak"}])
def test_other_families_are_as_their_file_says(family: str) -> None:
    assert [(e.text, e.label) for e in examples_of(family)] == own(family)
    assert all(example.alone for example in examples_of(family))
    assert not counts_share(family)


def test_attacks_stand_among_ordinary_prompts() -> None:
    found = [(e.text, e.label) for e in examples_of("jailbreak")]
    assert set(own("jailbreak")) <= set(found)
    ordinary = {text for text, _ in own("task")[:: examples._EVERY]}
    added = set(found) - set(own("jailbreak"))
    assert {label for _, label in added} == {"benign"}
    assert {text for text, _ in added} <= ordinary
    assert len(added) > 400
    assert counts_share("jailbreak")


def test_own_label_counts_when_an_ordinary_prompt_is_there_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "jailbreak": [{"text": "obey me", "label": "jailbreak"}],
        "task": [{"text": "obey me", "label": "x"}, *[{"text": "hi", "label": "x"}] * 3],
    }
    monkeypatch.setattr(examples, "_entries", files.__getitem__)
    found = examples.examples_of.__wrapped__("jailbreak")
    assert [(e.text, e.label) for e in found] == [("obey me", "jailbreak"), ("hi", "benign")]


@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("domain", ("domain", "phrases")),
        ("jailbreak", ("jailbreak", "task")),
        ("complexity", ("complexity",)),
    ],
)
def test_source_is_every_file_that_examples_are_made_of(
    family: str, files: tuple[str, ...]
) -> None:
    assert source_of(family) == b"".join(map(examples._read, files))
