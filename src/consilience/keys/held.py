"""The file that says what each process has set aside of accounts that have a limit.

It lies beside the file of keys. Who is cut off by a power cut makes no more calls, so nothing in it
waits for the disk.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

from .shared_file import SharedFile, SharedFileError, connect, is_busy
from .store import make_private

_SCHEMA = """
CREATE TABLE IF NOT EXISTS processes (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
  account TEXT NOT NULL,
  process TEXT NOT NULL,
  usd TEXT NOT NULL,
  PRIMARY KEY (account, process)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
  account TEXT NOT NULL,
  period TEXT NOT NULL,
  usd TEXT NOT NULL,
  PRIMARY KEY (account, period)
) WITHOUT ROWID;
"""


class HeldError(SharedFileError):
    """The file cannot be used now."""

    code = "held_store"


class HeldFile(SharedFile):
    """One process's access to the file. One thread at a time."""

    holds = "money set aside"
    schema = _SCHEMA
    error = HeldError

    def __init__(self, path: Path) -> None:
        """Opens the file, makes it when it is not there, and marks this process as alive.

        Raises:
            HeldError: it cannot be opened.
        """
        super().__init__(path)
        self.process = secrets.token_hex(8)
        try:
            with self._told():
                self._alive = _mark(self._mark_of(self.process))
        except BaseException:
            super().close()
            raise
        try:
            with self.changing():
                self._db.execute("INSERT INTO processes VALUES (?)", (self.process,))
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """Leaves the file. What this process still has in it is the others' to count as spent."""
        with suppress(HeldError), self.changing():
            self._db.execute("DELETE FROM processes WHERE id = ?", (self.process,))
        self._leave()

    def held_by_others(self, account: str) -> Decimal:
        """Gives what other processes have set aside, or spent and not yet written."""
        with self._told():
            rows = self._db.execute(
                "SELECT usd FROM held WHERE account = ? AND process != ?", (account, self.process)
            )
            return sum((Decimal(usd) for (usd,) in rows), Decimal(0))

    def spent(self, account: str, period: str) -> Decimal:
        """Gives what is known to be in the file of keys; 0 when nobody has written there."""
        with self._told():
            row = self._db.execute(
                "SELECT usd FROM spent WHERE account = ? AND period = ?", (account, period)
            ).fetchone()
            return Decimal(row[0]) if row else Decimal(0)

    def put_held(self, held: Mapping[str, Decimal]) -> None:
        """Says what this process has, by account. Call it within `changing`."""
        with self._told():
            for account, usd in held.items():
                if usd > 0:
                    row = (account, self.process, format(usd, "f"))
                    self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", row)
                else:
                    self._db.execute(
                        "DELETE FROM held WHERE account = ? AND process = ?",
                        (account, self.process),
                    )

    def put_spent(self, totals: Mapping[tuple[str, str], Decimal], *, since: str) -> None:
        """Says what the file of keys has come to. Call it within `changing`.

        Args:
            totals: by account and period. Totals only grow, so the greater one is the later.
            since: older periods are forgotten.
        """
        with self._told():
            self._db.execute("DELETE FROM spent WHERE period < ?", (since,))
            for (account, period), usd in totals.items():
                most = max(usd, self.spent(account, period))
                self._db.execute(
                    "INSERT OR REPLACE INTO spent VALUES (?, ?, ?)",
                    (account, period, format(most, "f")),
                )

    def forget_spent(self) -> None:
        """Has what was spent looked up anew, if no other process is there to have it confused."""
        with self.changing():
            if self._others():
                return
            self._db.execute("DELETE FROM spent")

    def dead(self) -> list[str]:
        """Gives the processes that ended without having left."""
        with self._told():
            return [other for other in self._others() if not _is_alive(self._mark_of(other))]

    def take_over(self, dead: str) -> dict[str, Decimal]:
        """Gives what a dead process had, by account, and takes it out. Call it within `changing`."""
        with self._told():
            rows = self._db.execute("SELECT account, usd FROM held WHERE process = ?", (dead,))
            found = {account: Decimal(usd) for account, usd in rows}
            self._db.execute("DELETE FROM held WHERE process = ?", (dead,))
            self._db.execute("DELETE FROM processes WHERE id = ?", (dead,))
            return found

    def bury(self, dead: str) -> None:
        """Removes what marked a process that was taken over."""
        _remove(self._mark_of(dead))

    def _others(self) -> list[str]:
        rows = self._db.execute("SELECT id FROM processes UNION SELECT process FROM held")
        return [process for (process,) in rows if process != self.process]

    def _leave(self) -> None:
        super().close()
        self._alive.close()
        _remove(self._mark_of(self.process))

    def _mark_of(self, process: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{process}")


def held_path(keys: Path) -> Path:
    """Gives the place of the file, from that of the keys: `keys.held.sqlite3`."""
    return keys.with_name(f"{keys.stem}.held{keys.suffix}")


def _mark(path: Path) -> sqlite3.Connection:
    """Makes a file that is locked until the process ends, however it ends.

    By SQLite, which locks on every platform, and knows the locks of its own process from others'.
    """
    make_private(path)
    mark = connect(path)
    mark.execute("BEGIN EXCLUSIVE")
    return mark


def _is_alive(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(connect(path)) as mark:
            mark.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as exc:
        if not is_busy(exc):
            raise
        return True
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):  # an empty file too many does no harm
        path.unlink()
