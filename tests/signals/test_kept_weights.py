"""What is learned, as a file and back; and files that cannot be used."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consilience.signals import learned as families
from consilience.signals import weights
from consilience.signals.learned import classifier_of, ready, texts_to_learn
from consilience.signals.learning import Evidence, Example, TextClassifier
from consilience.signals.lexical import terms_of
from consilience.signals.weights import as_file, file_name, kept
from support.meanings import vectors_of

MODEL, SOURCE = "words-1:abc/0.4", b"the examples"
EXAMPLES = [
    Example(text, label)
    for label, texts in {
        "fruit": ("a red apple", "a green pear", "some apple and pear", "un melón 梨"),
        "tool": ("a steel hammer", "a steel saw", "one hammer", "hammer and saw 锤"),
    }.items()
    for text in texts
]
TEXTS = (*(example.text for example in EXAMPLES), "a pear", "")


def trained(evidence: Evidence | None = None) -> TextClassifier:
    return TextClassifier.train(EXAMPLES, vectors_of(*TEXTS), evidence, by_share=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights lie in a folder of the test, and nobody has learned anything."""
    monkeypatch.setattr(weights, "files", lambda _package: tmp_path)
    monkeypatch.setattr(families, "examples_of", lambda _family: EXAMPLES)
    monkeypatch.setattr(families, "source_of", lambda _family: SOURCE)
    monkeypatch.setattr(families, "counts_share", lambda _family: True)
    monkeypatch.setattr(families, "_ready", {})
    return tmp_path


def put(folder: Path, content: bytes) -> None:
    (folder / file_name("fruit", MODEL)).write_bytes(content)


def is_long(text: str) -> tuple[float, float]:
    return float(len(text) > 10), 1.0


@pytest.mark.parametrize("evidence", [None, is_long])
def test_classifier_says_the_same_when_it_comes_from_a_file(
    folder: Path, evidence: Evidence | None
) -> None:
    whole = trained(evidence)
    put(folder, as_file(whole.learned, MODEL, SOURCE))
    found = kept("fruit", MODEL, SOURCE)
    assert found is not None
    assert (found.labels, tuple(found.inverse)) == (whole.labels, tuple(whole.learned.inverse))
    assert found.left_out_accuracy == whole.learned.left_out_accuracy
    assert found.lean == pytest.approx(whole.learned.lean)
    again = TextClassifier(found, evidence)
    for text, vector in vectors_of(*TEXTS).items():
        given_terms = terms_of(text)
        assert again.probabilities(text, vector, given_terms) == pytest.approx(
            whole.probabilities(text, vector, given_terms), abs=0.01
        )


def test_file_is_the_same_every_time() -> None:
    first, second = (
        np.load(io.BytesIO(as_file(trained().learned, MODEL, SOURCE))) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_classifier_is_ready_when_its_weights_are_fresh(folder: Path) -> None:
    put(folder, as_file(trained().learned, MODEL, SOURCE))
    assert texts_to_learn("fruit", MODEL) == ()
    assert classifier_of("fruit", {}, MODEL) is ready("fruit", MODEL)


@pytest.mark.parametrize(
    ("identity", "source"),
    [(MODEL, b"other examples"), ("words-1:abd/0.4", SOURCE), ("words-1:abc/0", SOURCE)],
)
def test_weights_are_stale_when_examples_or_vectors_have_changed(
    folder: Path, identity: str, source: bytes
) -> None:
    put(folder, as_file(trained().learned, identity, source))
    assert kept("fruit", MODEL, SOURCE) is None


def test_weights_are_stale_when_training_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, as_file(trained().learned, MODEL, SOURCE))
    assert kept("fruit", MODEL, SOURCE) is not None
    monkeypatch.setattr(weights, "_VERSION", -1)
    assert kept("fruit", MODEL, SOURCE) is None


def _written(write: Callable[[io.BytesIO], None]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


WHOLE = as_file(trained().learned, MODEL, SOURCE)
BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "half": lambda: WHOLE[: len(WHOLE) // 2],
    "text": lambda: b"<html>404</html>",
    "pickle": lambda: b"\x80\x04N.",
    "other arrays": lambda: _written(lambda out: np.savez(out, a=np.zeros(3))),
    "objects": lambda: _written(lambda out: np.savez(out, stamp=np.array([{}], dtype=object))),
    "a bare array": lambda: _written(lambda out: np.save(out, np.zeros(3))),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_classifier_is_trained_anew_when_its_file_is_broken(
    folder: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, BROKEN[broken]())
    with caplog.at_level(logging.WARNING):
        texts = texts_to_learn("fruit", MODEL)
    assert texts == [example.text for example in EXAMPLES]
    assert [record.message for record in caplog.records] == ["weights_unreadable"]
    found = classifier_of("fruit", vectors_of(*texts), MODEL)
    assert found.labels == ("fruit", "tool")
    assert texts_to_learn("fruit", MODEL) == ()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(WHOLE) - 1), bits=st.integers(1, 255))
def test_byte_that_is_wrong_is_noticed_or_harmless(folder: Path, place: int, bits: int) -> None:
    content = bytearray(WHOLE)
    content[place] ^= bits
    put(folder, bytes(content))
    found = kept("fruit", MODEL, SOURCE)
    whole = trained().learned.by_vector.astype(np.float16)
    assert found is None or np.array_equal(found.by_vector, whole.astype(np.float32))


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("wordllama-256:64b4/centred/0.4", "domain.wordllama-256.npz"),
        ("/home/me/My Model.v2:1:2", "domain.-home-me-my-model-v2.npz"),
        ("../../etc/passwd:1", "domain.-etc-passwd.npz"),
        ("", "domain..npz"),
    ],
)
def test_file_name_is_one_of_the_folder_whatever_the_model(identity: str, name: str) -> None:
    assert file_name("domain", identity) == name
