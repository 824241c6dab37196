"""A file of SQLite that several processes change while they serve.

What is in it must outlive a killed process, not a power cut, so nothing waits for the disk: a
write-ahead log, never synced. Nothing waits for another process either: who finds one at the file
is told that it is busy, and tries again if there is time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from ..errors import ConsilienceError
from .store import make_private

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PRIMARY = 0xFF
"""The part of SQLite's extended codes that names the class of a failure."""
_LOG_PAGES = 64
"""Pages of the log until they are taken into the file: a moment's work at a time."""


class SharedFileError(ConsilienceError):
    """The file cannot be used now."""

    code = "shared_file"

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy
        """Whether another process is at it, and is likely done in a moment."""


class SharedFile:
    """One process's access to the file. One thread at a time."""

    holds: ClassVar[str]
    """What it is the file of, in a message."""
    schema: ClassVar[str]
    error: ClassVar[type[SharedFileError]] = SharedFileError

    def __init__(self, path: Path) -> None:
        """Opens the file, makes it when it is not there.

        Raises:
            SharedFileError: it cannot be opened.
        """
        self.path = path
        with self._told():
            self._inode = make_private(path)
            self._db = connect(path)
        try:
            with self._told():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = OFF")
                self._db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                self._db.executescript(self.schema)
        except BaseException:
            self._db.close()
            raise

    @property
    def moved(self) -> bool:
        """Whether the file that is open is no longer the one of that name."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Leaves the file."""
        self._db.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keeps everybody else from changing anything; what is done within is done, or none of it.

        Raises:
            SharedFileError: it cannot be used, or another process is at it.
        """
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self._told():
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some failures have ended it already
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what SQLite and the system say into an error of ours."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, ArithmeticError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise self.error(
                f"the file of {self.holds} {self.path} cannot be used: {reason}", busy=is_busy(exc)
            ) from exc


def connect(path: Path) -> sqlite3.Connection:
    """Opens a file of SQLite whose transactions are begun by hand, at once or not at all.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def is_busy(exc: Exception) -> bool:
    """Whether SQLite failed because another process is at the file."""
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code & _PRIMARY in _BUSY
