"""Vectors of prototypes, kept on disk: a text is embedded once for each model, not at each start."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import anyio.to_thread
import numpy as np

from .base import Embedder, Matrix

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
        if not self._path.exists():
            return {}
        found: dict[str, Matrix] = {}
        try:
            with closing(self._open()) as db:
                for text in texts:
                    row = db.execute(
                        "SELECT vector FROM vectors WHERE key = ?", (_key(identity, text),)
                    ).fetchone()
                    if row is not None:
                        found[text] = np.frombuffer(row[0], np.float32)
        except sqlite3.Error:
            return {}
        return found

    def keep(self, identity: str, vectors: dict[str, Matrix]) -> None:
        """Keeps vectors by text; does nothing where the place cannot be written."""
        rows = [(_key(identity, text), row.tobytes()) for text, row in vectors.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as db, db:
                db.executemany("INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)", rows)
                db.execute(
                    "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?",
                    (MOST_ROWS,),
                )
        except (OSError, sqlite3.Error):
            return

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_WAIT_S)
        db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE, vector BLOB)")
        return db


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

        Raises:
            EmbeddingError: the model could not embed them.
        """
        wanted = [text for text in dict.fromkeys(texts) if text not in self._known]
        if wanted and self._store is not None:
            self._known |= await anyio.to_thread.run_sync(
                self._store.load, self._embedder.identity, wanted
            )
        missing = [text for text in wanted if text not in self._known]
        for begin in range(0, len(missing), _AT_ONCE):
            part = missing[begin : begin + _AT_ONCE]
            rows = await self._embedder.embed(part)
            new = dict(zip(part, rows, strict=True))
            if self._store is not None:
                await anyio.to_thread.run_sync(self._store.keep, self._embedder.identity, new)
            self._known |= new
        return {text: self._known[text] for text in texts}


_AT_ONCE = 256
"""Texts that are embedded, and kept, together: what was done before an interruption stays."""
