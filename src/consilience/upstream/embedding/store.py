"""Vectors of prototypes, kept on disk: a text is embedded once for each model, not at each start."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path

import anyio.to_thread
import numpy as np

from .base import Embedder, EmbeddingError, Matrix

MOST_ROWS = 200_000
"""Beyond that the oldest go; at 400 dimensions that is about 300 MB."""
_WAIT_S = 5.0


class VectorStore:
    """A table of vectors under a hash of model and text; holds no text.

    Losing it costs time and nothing else, so whatever is wrong with the file counts as an empty one.
    """

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: a SQLite file; made when the first vector is kept.
        """
        self._path = path

    def load(self, identity: str, texts: Sequence[str]) -> dict[str, Matrix]:
        """Gives the vectors that are there, by text."""
        found: dict[str, Matrix] = {}
        try:
            if not self._path.exists():
                return {}
            with closing(self._open()) as db:
                for text in texts:
                    row = db.execute(
                        "SELECT vector FROM vectors WHERE key = ?", (_key(identity, text),)
                    ).fetchone()
                    if row is not None:
                        found[text] = np.frombuffer(row[0], np.float32)
        except (OSError, sqlite3.Error, ValueError, TypeError):
            return {}
        return found if _belong_together(found.values()) else {}

    def keep(self, identity: str, vectors: dict[str, Matrix]) -> None:
        """Keeps vectors by text; does nothing where the place cannot be written.

        A file that is no database any more is begun anew.
        """
        rows = [(_key(identity, text), row.tobytes()) for text, row in vectors.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._insert(rows)
            except sqlite3.OperationalError:  # locked, or a place that cannot be written
                return
            except sqlite3.DatabaseError:
                self._path.unlink()
                self._insert(rows)
        except (OSError, sqlite3.Error):
            return

    def _insert(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        with closing(self._open()) as db, db:
            db.executemany("INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)", rows)
            db.execute(
                "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?",
                (MOST_ROWS,),
            )

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_WAIT_S)
        try:
            db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE, vector BLOB)")
        except BaseException:
            db.close()
            raise
        return db


def _belong_together(rows: Collection[Matrix]) -> bool:
    """Whether all are vectors of one model."""
    return len({len(row) for row in rows}) <= 1 and all(np.isfinite(row).all() for row in rows)


def _key(identity: str, text: str) -> bytes:
    return sha256(f"{identity}\0{text}".encode("utf-8", "replace")).digest()


class PrototypeVectors:
    """Vectors of texts that stay the same: from memory, from disk, or from the model, in that order."""

    def __init__(self, embedder: Embedder, store: VectorStore | None) -> None:
        """
        Args:
            embedder: gives those that nobody has.
            store: where they are kept; None: nowhere.
        """
        self._embedder = embedder
        self._store = store
        self._known: dict[str, Matrix] = {}

    async def of(self, texts: Sequence[str]) -> dict[str, Matrix]:
        """Gives the vector of each text; those that must be computed take the model's time.

        What is on disk is trusted when the model still gives one of its vectors: another model may
        answer under the same name by now.

        Raises:
            EmbeddingError: the model could not embed them.
        """
        wanted = [text for text in dict.fromkeys(texts) if text not in self._known]
        if wanted and self._store is not None:
            found = await anyio.to_thread.run_sync(
                self._store.load, self._embedder.identity, wanted
            )
            if found and await self._still_given(found):
                self._known |= found
        missing = [text for text in wanted if text not in self._known]
        for begin in range(0, len(missing), _AT_ONCE):
            part = missing[begin : begin + _AT_ONCE]
            rows = await self._embedder.embed(part)
            new = dict(zip(part, rows, strict=True))
            if not _belong_together((*new.values(), *islice(self._known.values(), 1))):
                self._known = {}
                raise EmbeddingError("the model's vectors have changed their length")
            if self._store is not None:
                await anyio.to_thread.run_sync(self._store.keep, self._embedder.identity, new)
            self._known |= new
        return {text: self._known[text] for text in texts}

    def forget(self) -> None:
        """Takes no vector for the model's any more without asking it: it gives others by now."""
        self._known = {}

    async def _still_given(self, found: Mapping[str, Matrix]) -> bool:
        """Whether the model gives the vector that was kept of a text, small differences aside."""
        text = next((text for text, row in found.items() if row.any()), None)
        if text is None or text in self._known:
            return True
        (row,) = await self._embedder.embed((text,))
        return len(row) == len(found[text]) and float(row @ found[text]) >= _STILL


_AT_ONCE = 64
"""Texts that are embedded, and kept, together: what was done before an interruption stays."""
_STILL = 0.98
"""Least similarity of a text's vector to its own of another day."""
