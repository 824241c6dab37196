"""The real static model, and files that are none."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from consilience.upstream.embedding.base import EmbeddingError
from consilience.upstream.embedding.catalog import WORDLLAMA
from consilience.upstream.embedding.static import (
    _MOST_CHARACTERS,
    MAX_TOKENS,
    StaticEncoder,
    _centred,
    _script,
)
from consilience.upstream.weights import path_of
from support.meanings import static_encoder


def similarity(a: str, b: str) -> float:
    rows = static_encoder().encode([a, b])
    return float(rows[0] @ rows[1])


@pytest.mark.parametrize(
    ("text", "like", "unlike"),
    [
        ("a happy dog", "a joyful puppy", "the stock market"),
        ("reset my password", "I forgot my login", "bake a cake"),
        ("我想退款", "申请退款", "今天天气很好"),
    ],
)
def test_text_is_more_like_what_means_the_same(text: str, like: str, unlike: str) -> None:
    assert similarity(text, like) > similarity(text, unlike)


@given(st.text(st.characters(), max_size=200))
def test_any_text_has_a_row_of_length_one_or_zero(text: str) -> None:
    (row,) = static_encoder().encode([text])
    assert row.dtype == np.float32
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-4) or not row.any()
    assert np.array_equal(row, static_encoder().encode([text])[0])


def test_row_is_the_same_alone_and_among_others() -> None:
    texts = ["one", "a longer text of some words", "龘", ""]
    rows = static_encoder().encode(texts)
    for text, row in zip(texts, rows, strict=True):
        assert np.array_equal(static_encoder().encode([text])[0], row)


def test_nothing_gives_no_row() -> None:
    assert len(static_encoder().encode([])) == 0
    assert not static_encoder().encode([""]).any()


def test_characters_without_tokens_of_their_own_are_like_themselves_only() -> None:
    assert similarity("𠀀𠀁𠀂", "𠀀𠀁𠀂") == pytest.approx(1)
    assert abs(similarity("𠀀𠀁𠀂", "𠄀𠄁𠄂")) < 0.5


def test_what_comes_after_the_most_tokens_is_not_read() -> None:
    text = "word " * (MAX_TOKENS + 10)
    assert np.array_equal(*static_encoder().encode([text, f"{text} other things"]))


def test_kept_characters_are_bounded() -> None:
    for begin in range(0x20000, 0x20000 + 2 * _MOST_CHARACTERS, 300):
        static_encoder().encode(["".join(map(chr, range(begin, begin + 300)))])
    assert len(static_encoder()._characters) <= _MOST_CHARACTERS


def test_rows_are_the_same_when_what_was_kept_had_to_go() -> None:
    (before,) = static_encoder().encode(["龘龖"])
    test_kept_characters_are_bounded()
    assert np.array_equal(static_encoder().encode(["龘龖"])[0], before)


def test_character_is_kept_after_many_that_nobody_writes_again() -> None:
    test_kept_characters_are_bounded()
    static_encoder().encode(["龘"])
    assert "龘" in static_encoder()._characters


@pytest.mark.parametrize(
    ("texts", "quick"),
    [
        ([], True),
        (["word " * 400] * 4, True),
        (["word " * 400] * 5, False),
        (["龘" * 2048], True),
        (["我想退款吗"] * 100, True),
        (["".join(map(chr, range(0x29000, 0x29040)))], True),
        (["".join(map(chr, range(0x28000, 0x28041)))], False),
        ([chr(0x23000 + i) for i in range(100)], False),
    ],
)
def test_texts_are_quick_when_they_are_short_and_few_characters_are_new(
    texts: list[str], quick: bool
) -> None:
    assert static_encoder().is_quick(texts) is quick


def test_characters_are_new_once() -> None:
    text = "".join(map(chr, range(0x24000, 0x24100)))
    assert not static_encoder().is_quick([text])
    static_encoder().encode([text])
    assert static_encoder().is_quick([text])


@pytest.mark.parametrize("text", ["</s>", "<s>", "<unk>", "<0xFF>", "[CLS]"])
def test_control_tokens_in_a_prompt_are_text(text: str) -> None:
    tokens = static_encoder()._tokens.encode(f"a {text} b", False)
    assert len(tokens) > 4
    assert not {0, 1, 2} & set(tokens)
    assert not static_encoder()._bytes.keys() & set(tokens)


def test_each_script_has_a_mean_of_nothing() -> None:
    vocabulary = {chr(0x4E00 + i): i for i in range(30)}
    vocabulary |= {f"\u2581{chr(0x430 + i)}": 30 + i for i in range(30)}
    vocabulary |= {"word": 60, "\u00e9": 61, "\u05d0": 62}
    rows = np.random.default_rng(1).normal(3, 1, (63, 8)).astype(np.float32)
    centred = _centred(rows.copy(), vocabulary)
    assert np.allclose(centred[:30].mean(axis=0), 0, atol=1e-5)
    assert np.allclose(centred[30:60].mean(axis=0), 0, atol=1e-5)
    assert np.array_equal(centred[60:], rows[60:])


def test_vocabulary_may_name_more_tokens_than_there_are_rows() -> None:
    rows = np.ones((25, 4), np.float32)
    centred = _centred(rows, {chr(0x4E00 + i): i for i in range(30)})
    assert not centred.any()


@pytest.mark.parametrize(
    ("piece", "script"),
    [
        ("word", None),
        ("\u2581", None),
        ("\u00e9t\u00e9", None),
        ("\u2581\u0434\u0430", "CYRILLIC"),
        ("\u65e5", "CJK"),
        ("\u306e", "CJK"),
        ("\u30a2", "CJK"),
        ("\ue000", None),
    ],
)
def test_script_is_that_of_the_first_letter_that_is_not_latin(
    piece: str, script: str | None
) -> None:
    assert _script(piece) == script


def test_texts_of_another_script_are_not_all_alike() -> None:
    texts = ["今天天气很好", "申请退款", "写一个函数", "合同有效吗"]
    rows = static_encoder().encode(texts)
    similarity = rows @ rows.T
    assert max(similarity[i, j] for i in range(4) for j in range(i)) < 0.4


def test_rows_are_the_same_in_every_thread() -> None:
    texts = [f"text {i} {chr(0x2A000 + i)}" for i in range(100)]
    expected = static_encoder().encode(texts)
    equal: list[bool] = []

    def compare() -> None:
        equal.extend(np.array_equal(static_encoder().encode(texts), expected) for _ in range(20))

    threads = [threading.Thread(target=compare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 80


@pytest.mark.parametrize("broken", ["missing", "empty", "two matrices", "no vocabulary"])
def test_file_that_is_no_model_is_an_error_without_its_folder(tmp_path: Path, broken: str) -> None:
    weights, tokenizer = (path_of(each) for each in WORDLLAMA.files)
    if broken == "no vocabulary":
        tokenizer = tmp_path / "tokenizer.json"
        tokenizer.write_text(json.dumps({"model": {}}))
    else:
        weights = tmp_path / "model.safetensors"
        if broken == "empty":
            weights.write_bytes(b"")
        if broken == "two matrices":
            row = np.zeros((1, 1), np.float32)
            save_file({"a": row, "b": row}, weights)
    with pytest.raises(EmbeddingError, match="cannot be loaded") as caught:
        StaticEncoder(weights, tokenizer, identity="x")
    assert str(tmp_path) not in str(caught.value)
