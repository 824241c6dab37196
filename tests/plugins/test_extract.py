"""What stays of a text that is shortened."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.plugins.extract import Extractor, question_words, tokens_of

MARK = re.compile(r"\[\.\.\. ([\d,]+) characters left out \.\.\.\]\n?")
LOG = [f"line {i}: worker {i} is well, latency {i % 97} ms" for i in range(2000)]


def shortened(text: str, question: str, tokens: int) -> str:
    return Extractor(question_words(question)).extract(text, tokens)


def test_short_text_stays_as_it_is() -> None:
    assert shortened("a\n\nb\n", "a", 2) == "a\n\nb\n"


def test_beginning_and_end_stay() -> None:
    got = shortened("\n".join(LOG), "why?", 200)

    assert got.startswith("line 0: ")
    assert got.endswith(LOG[-1])


def test_lines_that_speak_of_the_question_stay() -> None:
    lines = [*LOG[:700], "worker 9 says: disk full", *LOG[700:1400], "no DISK left", *LOG[1400:]]

    got = shortened("\n".join(lines), "Why is the disk of a worker full?", 200)

    assert "disk full" in got
    assert "no DISK left" in got


def test_rare_words_count_more_than_common_ones() -> None:
    lines = [*LOG, "zebra", *LOG]

    assert "zebra" in shortened("\n".join(lines), "worker latency line zebra", 100)


def test_cuts_are_marked_and_add_up() -> None:
    text = "\n".join(LOG)

    got = shortened(text, "line 1000", 300)

    left_out = sum(int(count.replace(",", "")) for count in MARK.findall(got))
    # a mark in the middle stands on a line of its own
    assert abs(len(MARK.sub("", got)) + left_out - len(text)) <= len(MARK.findall(got))
    assert len(MARK.findall(got)) >= 2


def test_one_long_line_is_cut_in_pieces() -> None:
    text = "x" * 20_000 + " needle " + "y" * 20_000

    got = shortened(text, "where is the needle", 400)

    assert " needle " in got
    assert tokens_of(got) <= 400


def test_script_without_spaces_is_ranked() -> None:
    text = "一切正常。" * 5000 + "磁盘满了。" + "一切正常。" * 5000

    assert "磁盘满了" in shortened(text, "磁盘为什么满了", 600)


@pytest.mark.parametrize("text", ["\n" * 300_000, "x" * 300_000, "é\n" * 200_000, "a b " * 99_999])
def test_any_long_text_gets_short(text: str) -> None:
    assert tokens_of(shortened(text, "a b", 100)) <= 100


@given(st.text(max_size=3000), st.text(max_size=50), st.integers(1, 300))
def test_result_is_about_as_short_as_asked_for(text: str, question: str, tokens: int) -> None:
    got = shortened(text, question, tokens)

    assert tokens_of(got) <= max(tokens, 30)


def test_texts_of_a_request_share_what_is_read() -> None:
    extractor = Extractor(question_words("needle"), left=100_000)
    text = "\n".join([*LOG[:1000], "needle", *LOG[1000:]])

    got = [extractor.extract(text, 200) for _ in range(2)]

    assert ["needle" in each for each in got] == [True, False]
    assert got[1].startswith("line 0: ")
    assert got[1].endswith(LOG[-1])


@pytest.mark.parametrize("tokens", [100, 150, 400])
@pytest.mark.parametrize(
    ("said", "wanted", "about"),
    [
        ("This sentence says nothing of it. ", "The zebra is striped. ", "zebra"),
        ("这是关于茶的句子。", "斑马有条纹。", "斑马"),
    ],
)
def test_a_text_without_line_ends_keeps_both_ends_and_what_matters(
    tokens: int, said: str, wanted: str, about: str
) -> None:
    text = f"BEGINNING. {said * 150}{wanted}{said * 150} END."
    kept = shortened(text, about, tokens)
    assert kept.startswith("BEGINNING.")
    assert kept.endswith("END.")
    assert about in kept
    assert 0.4 * tokens <= tokens_of(kept) <= tokens
