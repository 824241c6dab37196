"""Vectors of prototypes on disk: losing them costs time and nothing else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from consilience.upstream.embedding import store
from consilience.upstream.embedding.base import EmbeddingError, Matrix
from consilience.upstream.embedding.store import PrototypeVectors, VectorStore
from support.meanings import WordEncoder

pytestmark = pytest.mark.anyio

ROWS = {"a": np.array([1, 0], np.float32), "b": np.array([0, 1], np.float32)}


class Model:
    """An embedder that keeps what it was asked, and may fail or be replaced."""

    limit_s = 2.0

    def __init__(self, identity: str = "words") -> None:
        self.identity = identity
        self.asked: list[tuple[str, ...]] = []
        self.fails_at: int | None = None
        self.turned = 1.0
        self.dimensions: int | None = None

    async def embed(self, texts: Sequence[str]) -> Matrix:
        self.asked.append(tuple(texts))
        if len(self.asked) == self.fails_at:
            raise EmbeddingError("unreachable")
        rows: Matrix = np.roll(WordEncoder().encode(texts), int(self.turned), axis=1)
        return rows if self.dimensions is None else rows[:, : self.dimensions]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "vectors.sqlite3"


def same(found: dict[str, Matrix], expected: dict[str, Matrix]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[text], row) for text, row in expected.items()
    )


def test_vectors_are_there_again_for_the_same_model(path: Path) -> None:
    VectorStore(path).keep("model", ROWS)
    assert same(VectorStore(path).load("model", ["a", "b", "c"]), ROWS)
    assert VectorStore(path).load("other", ["a"]) == {}


def test_file_holds_no_text(path: Path) -> None:
    VectorStore(path).keep("model", {"canary-4711": ROWS["a"]})
    assert b"canary" not in path.read_bytes()


def test_nothing_is_made_when_nothing_is_kept(path: Path) -> None:
    assert VectorStore(path).load("model", ["a"]) == {}
    assert not path.parent.exists()


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "x" * 10_000, "a\0b"])
def test_any_text_has_a_place(path: Path, text: str) -> None:
    VectorStore(path).keep("model", {text: ROWS["a"]})
    assert same(VectorStore(path).load("model", [text]), {text: ROWS["a"]})


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_broken_file_counts_as_empty_and_is_begun_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    kept = VectorStore(path)
    assert kept.load("model", ["a"]) == {}
    kept.keep("model", ROWS)
    assert same(kept.load("model", ["a", "b"]), ROWS)


def _with_vector(path: Path, value: object) -> None:
    VectorStore(path).keep("model", ROWS)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE vectors SET vector = ?", (value,))


@pytest.mark.parametrize(
    "value",
    [None, "text", 7, b"odd", np.array([np.nan, 1], np.float32).tobytes()],
)
def test_vector_that_is_none_counts_as_missing(path: Path, value: object) -> None:
    _with_vector(path, value)
    assert VectorStore(path).load("model", ["a"]) == {}


def test_vectors_of_unlike_length_count_as_missing(path: Path) -> None:
    VectorStore(path).keep("model", {**ROWS, "c": np.ones(3, np.float32)})
    assert VectorStore(path).load("model", ["a", "c"]) == {}


def test_table_of_another_kind_counts_as_empty(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE vectors (other TEXT)")
    VectorStore(path).keep("model", ROWS)
    assert VectorStore(path).load("model", ["a"]) == {}


@pytest.mark.parametrize("place", ["folder is a file", "file is a folder", "name is too long"])
def test_place_that_cannot_be_written_keeps_nothing(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    path = {
        "folder is a file": tmp_path / "file" / "vectors.sqlite3",
        "file is a folder": tmp_path / "folder",
        "name is too long": tmp_path / ("x" * 5000),
    }[place]
    VectorStore(path).keep("model", ROWS)
    assert VectorStore(path).load("model", ["a"]) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_folder_keeps_nothing(path: Path) -> None:
    path.parent.mkdir(mode=0o500)
    VectorStore(path).keep("model", ROWS)
    assert VectorStore(path).load("model", ["a"]) == {}


def test_file_that_another_process_has_locked_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_WAIT_S", 0.01)
    VectorStore(path).keep("model", {"a": ROWS["a"]})
    with closing(sqlite3.connect(path)) as db:
        db.execute("BEGIN EXCLUSIVE")
        VectorStore(path).keep("model", {"b": ROWS["b"]})
        assert VectorStore(path).load("model", ["a"]) == {}
    assert same(VectorStore(path).load("model", ["a", "b"]), {"a": ROWS["a"]})


def test_oldest_go_when_there_are_too_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ROWS", 10)
    for i in range(25):
        VectorStore(path).keep("model", {str(i): ROWS["a"]})
    found = VectorStore(path).load("model", [str(i) for i in range(25)])
    assert list(found) == [str(i) for i in range(15, 25)]


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from consilience.upstream.embedding.store import VectorStore
store = VectorStore(Path(sys.argv[1]))
for i in range(30):
    store.keep(sys.argv[2], {f"{i}": np.ones(4, np.float32)})
"""


def test_two_processes_write_at_once(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name])  # noqa: S603  # our own
        for name in ("one", "two")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for name in ("one", "two"):
        assert len(VectorStore(path).load(name, [str(i) for i in range(30)])) == 30


def test_threads_share_a_store(path: Path) -> None:
    kept = VectorStore(path)
    threads = [
        threading.Thread(target=kept.keep, args=("model", {str(i): ROWS["a"]})) for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.load("model", [str(i) for i in range(12)])) == 12


async def test_prototypes_are_embedded_once_and_kept(path: Path) -> None:
    texts = ["red", "blue", "red"]
    first, second = Model(), Model()
    vectors = await PrototypeVectors(first, VectorStore(path)).of(texts)
    again = await PrototypeVectors(second, VectorStore(path)).of(texts)
    assert first.asked == [("red", "blue")]
    assert second.asked == [("red",)]  # to see whether the model is the same still
    assert same(again, vectors)


async def test_only_what_is_new_is_embedded(path: Path) -> None:
    await PrototypeVectors(Model(), VectorStore(path)).of(["red"])
    model = Model()
    prototypes = PrototypeVectors(model, VectorStore(path))
    assert list(await prototypes.of(["red", "blue"])) == ["red", "blue"]
    assert await prototypes.of(["blue"])
    assert model.asked == [("red",), ("blue",)]


async def test_nothing_is_kept_where_there_is_no_store() -> None:
    model = Model()
    prototypes = PrototypeVectors(model, None)
    await prototypes.of(["red"])
    await prototypes.of(["red"])
    assert model.asked == [("red",)]


@pytest.mark.parametrize(("turned", "dimensions"), [(5.0, None), (1.0, 100)])
async def test_what_was_kept_is_dropped_when_another_model_answers_under_the_name(
    path: Path, turned: float, dimensions: int | None
) -> None:
    texts = ["red", "blue"]
    await PrototypeVectors(Model(), VectorStore(path)).of(texts)
    other = Model()
    other.turned, other.dimensions = turned, dimensions
    vectors = await PrototypeVectors(other, VectorStore(path)).of(texts)
    assert other.asked == [("red",), ("red", "blue")]
    assert same(VectorStore(path).load("words", texts), vectors)


async def test_texts_without_tokens_do_not_stand_for_the_model(path: Path) -> None:
    await PrototypeVectors(Model(), VectorStore(path)).of(["…", "red"])
    model = Model()
    await PrototypeVectors(model, VectorStore(path)).of(["…", "red"])
    assert model.asked == [("red",)]


async def test_vectors_that_change_their_length_are_an_error_and_then_begun_anew(
    path: Path,
) -> None:
    model = Model()
    prototypes = PrototypeVectors(model, VectorStore(path))
    await prototypes.of(["red"])
    model.dimensions = 100
    with pytest.raises(EmbeddingError, match="changed their length"):
        await prototypes.of(["red", "blue"])
    vectors = await prototypes.of(["red", "blue"])
    assert {len(row) for row in vectors.values()} == {100}


async def test_what_was_done_before_a_failure_stays(path: Path) -> None:
    texts = [f"text {i}" for i in range(3 * store._AT_ONCE)]
    model = Model()
    model.fails_at = 3
    with pytest.raises(EmbeddingError):
        await PrototypeVectors(model, VectorStore(path)).of(texts)
    model = Model()
    await PrototypeVectors(model, VectorStore(path)).of(texts)
    assert sum(map(len, model.asked)) == store._AT_ONCE + 1
