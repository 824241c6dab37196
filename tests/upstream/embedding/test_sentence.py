"""The real sentence model, and folders that hold none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.upstream.embedding.base import EmbeddingError
from consilience.upstream.embedding.catalog import MINILM, encoder_of_folder
from consilience.upstream.embedding.sentence import BATCH_TOKENS, SentenceFiles, _batches, _frame
from consilience.upstream.weights import path_of
from support.meanings import sentence_encoder

GRAPH, TOKENIZER = (path_of(each) for each in MINILM.files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as sentence-transformers exports a model."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").symlink_to(GRAPH)
    (tmp_path / "tokenizer.json").symlink_to(TOKENIZER)
    return tmp_path


def test_text_is_more_like_what_means_the_same() -> None:
    rows = sentence_encoder().encode(
        ["How do I get my money back?", "I want a refund", "It will rain tomorrow"]
    )
    assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2]) + 0.2


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(), max_size=100))
def test_any_text_has_a_row_of_length_one(text: str) -> None:
    (row,) = sentence_encoder().encode([text])
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-4)


def test_rows_are_in_the_order_of_the_texts_when_they_are_sorted_by_length() -> None:
    texts = [("word " * (i * 7 % 30 + 1)) + str(i) for i in range(BATCH_TOKENS // 8)]
    together = sentence_encoder().encode(texts)
    for i in (0, 7, len(texts) // 2, len(texts) - 1):
        assert float(together[i] @ sentence_encoder().encode([texts[i]])[0]) > 0.97


@given(st.lists(st.integers(0, 2 * BATCH_TOKENS), max_size=60))
def test_runs_hold_every_text_once_and_only_so_many_tokens(lengths: list[int]) -> None:
    batches = list(_batches(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= BATCH_TOKENS or len(batch) == 1


def test_texts_run_together_with_those_of_their_length() -> None:
    long = BATCH_TOKENS // 2
    assert list(_batches([long, 2, long, 3])) == [[1, 3], [0, 2]]


@pytest.mark.parametrize("text", ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "</s>"])
def test_control_tokens_in_a_prompt_are_text(text: str) -> None:
    tokens = sentence_encoder()._ids(f"a {text} b")
    assert len(tokens) > 5
    assert not {0, 100, 101, 102, 103} & set(tokens[1:-1])


def test_nothing_gives_no_row() -> None:
    assert sentence_encoder().is_quick([])
    assert not sentence_encoder().is_quick([""])
    assert len(sentence_encoder().encode([])) == 0


def test_what_comes_after_the_most_tokens_is_not_read() -> None:
    text = "word " * 300
    rows = sentence_encoder().encode([text, f"{text} and a different end"])
    assert np.allclose(rows[0], rows[1], atol=1e-4)


def test_model_runs_in_several_threads() -> None:
    expected = sentence_encoder().encode(["the same text"])
    near: list[bool] = []

    def compare() -> None:
        near.append(np.allclose(sentence_encoder().encode(["the same text"]), expected, atol=1e-4))

    threads = [threading.Thread(target=compare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert near == [True] * 4


def test_folder_gives_the_same_vectors_and_another_identity(folder: Path) -> None:
    encoder = encoder_of_folder(folder)
    assert np.allclose(encoder.encode(["red"]), sentence_encoder().encode(["red"]), atol=1e-5)
    assert encoder.identity.startswith(str(folder.resolve()))


@pytest.mark.parametrize(("first", "pooling"), [(True, "cls"), (False, "mean")])
def test_pooling_is_that_of_the_folder(folder: Path, first: bool, pooling: str) -> None:
    (folder / "1_Pooling").mkdir()
    config = {"pooling_mode_cls_token": first}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert SentenceFiles.of_folder(folder).pooling == pooling
    alike = np.allclose(
        encoder_of_folder(folder).encode(["red and blue"]),
        sentence_encoder().encode(["red and blue"]),
        atol=1e-3,
    )
    assert alike is (pooling == "mean")


def _replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return change


def _tokenizer(**changed: Any) -> Callable[[Path], None]:
    definition = {**json.loads(TOKENIZER.read_text("utf-8")), **changed}
    return _replaced("tokenizer.json", json.dumps(definition).encode())


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no graph": (
        lambda folder: (folder / "onnx" / "model.onnx").unlink(),
        "there is no model.onnx",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    "graph": (_replaced("onnx/model.onnx", b"none"), "model.onnx cannot be loaded"),
    "tokenizer": (_replaced("tokenizer.json", b"{"), "tokenizer.json is not readable JSON"),
    "tokenizer list": (_replaced("tokenizer.json", b"[]"), "tokenizer.json cannot be loaded"),
    "not text": (_replaced("tokenizer.json", b"\xff"), "tokenizer.json is not readable JSON"),
    "pooling": (_replaced("1_Pooling/config.json", b"{"), "config.json is not readable JSON"),
    "tokens": (
        _tokenizer(
            post_processor={"type": "BertProcessing", "cls": ["x", 999_999], "sep": ["y", 1]}
        ),
        "model.onnx cannot be run",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_folder_without_a_model_is_an_error(folder: Path, broken: str) -> None:
    change, part = BROKEN[broken]
    change(folder)
    with pytest.raises(EmbeddingError, match=part):
        encoder_of_folder(folder)


def test_model_without_tokens_around_a_text_takes_an_empty_one(folder: Path) -> None:
    _tokenizer(post_processor=None)(folder)
    assert np.isfinite(encoder_of_folder(folder).encode(["", "red"])).all()


@pytest.mark.parametrize(
    ("processor", "frame"),
    [
        ({}, ([], [])),
        ({"type": "ByteLevel"}, ([], [])),
        ({"type": "BertProcessing", "cls": ["[CLS]", 101], "sep": ["[SEP]", 102]}, ([101], [102])),
        (
            {"processors": [{"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]}]},
            ([0], [2]),
        ),
        (
            {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "a"}},
                    {"Sequence": {"id": "A"}},
                    {"SpecialToken": {"id": "b"}},
                ],
                "special_tokens": {"a": {"ids": [1]}, "b": {"ids": [2, 3]}},
            },
            ([1], [2, 3]),
        ),
    ],
)
def test_special_tokens_are_those_of_the_tokenizer(processor: Any, frame: Any) -> None:
    assert _frame(processor) == frame


def test_post_processor_of_an_unknown_form_is_an_error(folder: Path) -> None:
    _tokenizer(post_processor={"type": "BertProcessing"})(folder)
    with pytest.raises(EmbeddingError, match=r"tokenizer\.json"):
        encoder_of_folder(folder)
