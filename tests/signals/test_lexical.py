from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals.lexical import MOST_WORDS, terms_of


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        (" \0\ud800 — ", ()),
        ("Running runs", ("run", "run run", "runni~")),
        ("Verträge vertraglich", ("verträg", "vertraglich", "verträg vertraglich", "vertr~")),
        ("peach orchard", ("peach", "orchard", "peach orchard", "orcha~")),
        ("don't stop", ("don't", "stop", "don't stop")),
        ("你好吗", ("你", "好", "吗", "你 好", "好 吗")),
        ("why?", ("whi", "?", "whi ?")),
        ("a_b", ("a", "b", "a b")),
        ("```x", ("```", "x", "``` x")),
    ],
)
def test_terms_are_stems_their_pairs_and_the_beginnings_of_long_words(
    text: str, terms: tuple[str, ...]
) -> None:
    assert terms_of(text) == terms


def test_terms_are_bounded_when_a_text_is_long() -> None:
    assert len(terms_of(" ".join(map(str, range(5000))))) == 2 * MOST_WORDS - 1
    long = (str(i * 100_003).zfill(9)[::-1] for i in range(5000))
    assert len(terms_of(" ".join(long))) <= 3 * MOST_WORDS - 1


@given(st.text())
def test_terms_of_any_text_are_distinct(text: str) -> None:
    terms = terms_of(text)
    assert len(set(terms)) == len(terms)
    assert terms == terms_of(text)


def test_terms_are_the_same_in_every_thread() -> None:
    words = [f"{stem}{end}" for stem in ("walk", "talk", "jump") for end in ("ing", "ed", "s")]
    texts = [" ".join(words[i:] + words[:i]) for i in range(len(words))]
    expected = [terms_of(text) for text in texts]
    found: list[bool] = []

    def compare() -> None:
        found.extend([terms_of(text) for text in texts] == expected for _ in range(50))

    threads = [threading.Thread(target=compare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200
