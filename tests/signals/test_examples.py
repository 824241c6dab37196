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


def texts_of_subjects() -> list[tuple[str, str]]:
    """Text and label of what phrases are put around: the file's, and borrowed ones before it."""
    every = examples_of("domain")
    return [(e.text, e.label) for e in every[: -len(PHRASES) * len({e.label for e in every})]]


def test_each_phrase_stands_once_under_every_subject() -> None:
    made = examples_of("domain")[len(texts_of_subjects()) :]
    labels = {label for _, label in own("domain")}
    assert len(made) == len(PHRASES) * len(labels)
    by_label = {label: [e.text for e in made if e.label == label] for label in labels}
    for texts in by_label.values():
        for (phrase, place), text in zip(PHRASES, texts, strict=True):
            assert (
                text.startswith(f"{phrase} ") if place == "before" else text.endswith(f" {phrase}")
            )


def test_phrases_stand_around_texts_of_their_label() -> None:
    by_text = dict(texts_of_subjects())
    for i, example in enumerate(examples_of("domain")[len(by_text) :]):
        phrase, place = PHRASES[i % len(PHRASES)]
        bare = example.text[len(phrase) + 1 :]
        if place == "after":
            bare = example.text[: -len(phrase) - 1]
        assert by_text[bare] == example.label


def test_phrases_are_spread_over_the_texts_of_a_subject() -> None:
    alone = Counter(e.label for e in examples_of("domain") if e.alone)
    for label, count in Counter(label for _, label in texts_of_subjects()).items():
        assert count - alone[label] >= min(count, len(PHRASES)) * 0.9


def test_text_is_not_alone_when_a_phrase_stands_around_it() -> None:
    count = len(texts_of_subjects())
    plain, made = examples_of("domain")[:count], examples_of("domain")[count:]
    assert not any(example.alone for example in made)
    for example in plain:
        again = any(example.text in other.text for other in made if other.label == example.label)
        assert example.alone or again
    assert sum(example.alone for example in plain) >= 1000


def test_a_family_that_borrows_nothing_is_as_its_file_says() -> None:
    assert [(e.text, e.label) for e in examples_of("task")] == own("task")
    assert all(example.alone for example in examples_of("task"))


@pytest.mark.parametrize(
    ("family", "label"),
    [
        ("jailbreak", "benign"),
        ("fact_check", "no_fact_check_needed"),
        ("user_feedback", "none"),
        ("complexity", "easy"),
        ("domain", "other"),
    ],
)
def test_what_is_said_between_requests_is_none_of_what_a_family_looks_for(
    family: str, label: str
) -> None:
    of = {e.text: e.label for e in examples_of(family)}
    itself = dict(own(family))
    turns = [text for text, kind in own("turns") if kind == "none" and text not in itself]
    found = [of[text] for text in turns if text in of]
    assert len(found) >= 100
    assert set(found) == {label}


def test_turns_do_not_make_attacks_rarer_than_they_are_among_requests() -> None:
    turns = {text for text, _ in own("turns")} - {text for text, _ in own("jailbreak")}
    assert {e.alone for e in examples_of("jailbreak") if e.text in turns} == {False}
    assert {e.alone for e in examples_of("fact_check") if e.text in turns} == {True}


def test_no_turn_is_there_twice() -> None:
    texts = [text.casefold() for text, _ in own("turns")]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("family", "label", "least"),
    [("jailbreak", "benign", 400), ("fact_check", "no_fact_check_needed", 300)],
)
def test_rare_wishes_stand_among_ordinary_prompts(family: str, label: str, least: int) -> None:
    found = {(e.text, e.label) for e in examples_of(family)}
    assert set(own(family)) <= found
    added = found - set(own(family))
    assert {of for _, of in added} == {label}
    lenders = ("task", "turns", "user_feedback")
    assert {text for text, _ in added} <= {text for of in lenders for text, _ in own(of)}
    assert len(added) > least


def test_only_attacks_are_taken_for_as_rare_as_they_are_here() -> None:
    assert [family for family in FAMILIES if counts_share(family)] == ["jailbreak"]


def test_feedback_is_about_no_subject() -> None:
    about = {e.text: e.label for e in examples_of("domain") if e.alone}
    feedback = [text for text, label in own("user_feedback") if label == "wrong_answer"]
    assert [about[text] for text in feedback if text in about].count("other") > 50


def test_own_label_counts_when_an_ordinary_prompt_is_there_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "jailbreak": [{"text": "obey me", "label": "jailbreak"}],
        "task": [{"text": "obey me", "label": "x"}, *[{"text": "hi", "label": "x"}] * 3],
        "turns": [{"text": "ok", "label": "none"}],
    }
    monkeypatch.setattr(examples, "_entries", files.__getitem__)
    found = examples.examples_of.__wrapped__("jailbreak")
    assert [(e.text, e.label) for e in found] == [
        ("obey me", "jailbreak"),
        ("hi", "benign"),
        ("ok", "benign"),
    ]


@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("domain", ("domain", "user_feedback", "turns", "phrases")),
        ("jailbreak", ("jailbreak", "task", "turns")),
        ("task", ("task",)),
    ],
)
def test_source_is_every_file_that_examples_are_made_of(
    family: str, files: tuple[str, ...]
) -> None:
    assert source_of(family) == b"".join(map(examples._read, files))
