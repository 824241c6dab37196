"""The file of SQLite that holds keys (their digests) and what was spent, by key and day.

All calls block, and every value is a bound parameter. Several processes may use one file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from ..errors import ConsilienceError
from .records import KeyLimits, Secret, VirtualKey, new_id

_WAIT_S = 5.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hint TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  revoked INTEGER,
  digest BLOB NOT NULL UNIQUE,
  former_digest BLOB,
  former_until INTEGER,
  models TEXT,
  requests_per_minute INTEGER,
  tokens_per_minute INTEGER,
  usd_per_day TEXT,
  usd_per_month TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS live_names ON keys (name) WHERE revoked IS NULL;
CREATE TABLE IF NOT EXISTS spend (
  account TEXT NOT NULL,
  day TEXT NOT NULL,
  usd TEXT NOT NULL,
  PRIMARY KEY (account, day)
) WITHOUT ROWID;
"""

Spend = Mapping[tuple[str, str], Decimal]
"""Dollars by account (a key's id, or `EVERYTHING`) and day (`2026-11-25`)."""
MONTH = len("2026-11")
"""Characters of a day that name its month."""
EVERYTHING = "*"
"""The account of all requests together."""


class KeyStoreError(ConsilienceError):
    """The file of keys cannot be used, or does not hold what was named."""

    code = "key_store"


class KeyStore:
    """One open file of keys. Use it from one thread at a time, and close it."""

    def __init__(self, path: Path, *, wait_s: float = _WAIT_S) -> None:
        """Opens the file; makes it, for its owner alone, when it is not there.

        Args:
            path: the file.
            wait_s: seconds for which another process may have it locked.

        Raises:
            KeyStoreError: it cannot be opened, or was written by a newer version.
        """
        self.path = path
        with _told(path):
            self.inode = make_private(path)
            self._db = sqlite3.connect(
                path, timeout=wait_s, isolation_level=None, check_same_thread=False
            )
        try:
            with _told(path):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def changes(self) -> int:
        """Grows whenever another connection has written."""
        with _told(self.path):
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def records(self) -> list[VirtualKey]:
        """Gives every key, revoked ones included, oldest first."""
        with _told(self.path):
            rows = self._db.execute("SELECT * FROM keys ORDER BY created, id")
            names = [column[0] for column in rows.description]
            return [_record(dict(zip(names, row, strict=True))) for row in rows]

    def create(
        self, name: str, secret: Secret, limits: KeyLimits, *, now: int, expires: int | None = None
    ) -> VirtualKey:
        """Adds a key.

        Raises:
            KeyStoreError: a key of this name is in use.
        """
        key = VirtualKey(
            new_id(), name, secret.hint, now, limits, expires=expires, digest=secret.digest
        )
        row = _row(key)
        columns, places = ", ".join(row), ", ".join("?" * len(row))
        with _told(self.path):
            try:
                self._db.execute(
                    f"INSERT INTO keys ({columns}) VALUES ({places})",  # noqa: S608  # our own names
                    tuple(row.values()),
                )
            except sqlite3.IntegrityError as exc:
                raise KeyStoreError(
                    f"there is a key called {name!r} already; revoke or rotate it, or choose"
                    " another name"
                ) from exc
        return key

    def revoke(self, name: str, *, now: int) -> VirtualKey:
        """Ends a key, given by name or id.

        Raises:
            KeyStoreError: no key in use is called so.
        """
        with self._writing():
            key = self._live(name)
            self._db.execute("UPDATE keys SET revoked = ? WHERE id = ?", (now, key.id))
        return key

    def rotate(
        self, name: str, secret: Secret, *, now: int, grace_s: int = 0, end_former: bool = False
    ) -> VirtualKey:
        """Puts a new key in the place of one, given by name or id; limits and spend stay.

        Args:
            name: the key's name or id.
            secret: the new key.
            now: Unix seconds.
            grace_s: seconds for which the old key stays good.
            end_former: whether a key that an earlier rotation left good may end at once.

        Raises:
            KeyStoreError: no key in use is called so, or its former one is still good.
        """
        with self._writing():
            key = self._live(name)
            if not end_former and key.former_until is not None and now < key.former_until:
                raise KeyStoreError(_still_good(key.name, key.former_until))
            self._db.execute(
                "UPDATE keys SET digest = ?, hint = ?, former_digest = ?, former_until = ?"
                " WHERE id = ?",
                (secret.digest, secret.hint, key.digest, now + grace_s, key.id),
            )
        return key

    def add_spend(self, spend: Spend) -> Spend:
        """Adds to what was spent, all of it or nothing.

        Gives what it comes to, by account and both day and month.
        """
        totals: dict[tuple[str, str], Decimal] = {}
        with self._writing():
            for (account, day), usd in spend.items():
                row = self._db.execute(
                    "SELECT usd FROM spend WHERE account = ? AND day = ?", (account, day)
                ).fetchone()
                total = usd + (Decimal(row[0]) if row else 0)
                self._db.execute(
                    "INSERT OR REPLACE INTO spend (account, day, usd) VALUES (?, ?, ?)",
                    (account, day, format(total, "f")),
                )
                totals[account, day] = total
            for account, month in {(account, day[:MONTH]) for account, day in spend}:
                totals[account, month] = self._spent_in(account, month)
        return totals

    def spend_since(self, day: str) -> dict[tuple[str, str], Decimal]:
        """Gives what was spent on this day and later."""
        with _told(self.path):
            rows = self._db.execute("SELECT account, day, usd FROM spend WHERE day >= ?", (day,))
            return {(account, on): Decimal(usd) for account, on, usd in rows}

    def _spent_in(self, account: str, month: str) -> Decimal:
        rows = self._db.execute(
            "SELECT usd FROM spend WHERE account = ? AND day >= ? AND day < ?",
            (account, month, f"{month}-99"),
        )
        return sum((Decimal(usd) for (usd,) in rows), Decimal(0))

    def _live(self, name: str) -> VirtualKey:
        row = self._db.execute(
            "SELECT id FROM keys WHERE revoked IS NULL AND (id = ? OR name = ?)", (name, name)
        ).fetchone()
        if row is None:
            raise KeyStoreError(f"no key in use is called {name!r}; see: consilience keys list")
        return next(key for key in self.records() if key.id == row[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise KeyStoreError(f"{self.path} was written by a newer version of consilience")
        if version == _VERSION:
            return
        # no write-ahead log: with one, a file that is put in this one's place would be mixed with it
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version = {_VERSION}")


def _still_good(name: str, until: int) -> str:
    return (
        f"the key that {name!r} had before is good until"
        f" {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC, and only one can be beside the"
        " present one; rotate after that, or say --now to end it at once"
    )


def default_store(environ: Mapping[str, str] | None = None) -> Path:
    """Gives where keys are kept when the configuration does not say.

    `CONSILIENCE_DATA`, else the platform's place for a user's data: `XDG_DATA_HOME` or
    `~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("CONSILIENCE_DATA"):
        return Path(chosen).expanduser() / "keys.sqlite3"
    if sys.platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        xdg = environ.get("XDG_DATA_HOME", "")
        base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".local" / "share"
    return base / "consilience" / "keys.sqlite3"


def is_there(path: Path) -> bool:
    """Whether there is a file of keys.

    Raises:
        KeyStoreError: the place cannot be looked at, which is not the same as no file.
    """
    with _told(path):
        try:
            path.stat()
        except FileNotFoundError:
            return False
        return True


def make_private(path: Path) -> int:
    """Sees to it that the file exists and is its owner's alone, as SQLite's journal is then.

    Gives its inode, by which it is told from another that takes its place.
    """
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    found = path.stat()
    if found.st_mode & 0o077:
        with suppress(PermissionError):  # another user's file that we may write: theirs to mend
            path.chmod(0o600)
    return found.st_ino


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system say into an error of ours."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, ArithmeticError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise KeyStoreError(f"the file of keys {path} cannot be used: {reason}") from exc


def _row(key: VirtualKey) -> dict[str, Any]:
    limits = key.limits
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "created": key.created,
        "expires": key.expires,
        "digest": key.digest,
        "models": None if limits.models is None else json.dumps(list(limits.models)),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "usd_per_day": _written(limits.usd_per_day),
        "usd_per_month": _written(limits.usd_per_month),
    }


def _record(row: Mapping[str, Any]) -> VirtualKey:
    models: Sequence[str] | None = None if row["models"] is None else json.loads(row["models"])
    limits = KeyLimits(
        None if models is None else tuple(models),
        row["requests_per_minute"],
        row["tokens_per_minute"],
        _read(row["usd_per_day"]),
        _read(row["usd_per_month"]),
    )
    own = ("id", "name", "hint", "created", "expires", "revoked")
    digests = ("digest", "former_digest", "former_until")
    return VirtualKey(limits=limits, **{name: row[name] for name in (*own, *digests)})


def _written(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _read(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
