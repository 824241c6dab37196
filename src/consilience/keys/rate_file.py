"""The file of what keys have used in the last minute, counted by all processes together.

It lies beside the file of keys, and only where a key has a rate. Its seconds are those of the
system's steady clock, which all processes of a machine share and which begins anew when it starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .shared_file import SharedFile, SharedFileError

Uses = Sequence[tuple[int, int]]
"""The second of each use, and how much it was; in order."""


class RateFileError(SharedFileError):
    """The file cannot be used now."""

    code = "rate_store"


class RateFile(SharedFile):
    """One process's access to the file. One thread at a time."""

    holds = "rates"
    schema = """
        CREATE TABLE IF NOT EXISTS minutes (
          key TEXT PRIMARY KEY,
          requests TEXT NOT NULL,
          tokens TEXT NOT NULL
        ) WITHOUT ROWID;
    """
    error = RateFileError

    def read(self, key: str) -> tuple[Uses, Uses]:
        """Gives what a key has used, requests and tokens; nothing when nobody wrote anything.

        Raises:
            RateFileError: the file cannot be used.
        """
        with self._told():
            row = self._db.execute(
                "SELECT requests, tokens FROM minutes WHERE key = ?", (key,)
            ).fetchone()
            return (_uses(row[0]), _uses(row[1])) if row else ((), ())

    def write(self, key: str, requests: Uses, tokens: Uses) -> None:
        """Says what a key has used. Call it within `changing`.

        Raises:
            RateFileError: the file cannot be used.
        """
        with self._told():
            row = (key, json.dumps(requests), json.dumps(tokens))
            self._db.execute("INSERT OR REPLACE INTO minutes VALUES (?, ?, ?)", row)


def rate_path(keys: Path) -> Path:
    """Gives the place of the file, from that of the keys: `keys.rates.sqlite3`."""
    return keys.with_name(f"{keys.stem}.rates{keys.suffix}")


def _uses(text: str) -> Uses:
    """Reads what `write` wrote; what somebody else put in its place counts as nothing."""
    try:
        return [(int(second), int(amount)) for second, amount in json.loads(text)]
    except (ValueError, TypeError, OverflowError):
        return ()
