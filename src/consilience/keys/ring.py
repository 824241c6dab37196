"""Every key in memory, kept up with the file by a thread, which also writes what was spent.

A request is never looked up in the file: its digest is found here or nowhere. What the command line
changes is seen within `every_s`. Spend is written as it comes; while the file cannot be used it is
kept in memory, one number for each account and day.
"""

from __future__ import annotations

import hmac
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from ..errors import ConsilienceError
from ..telemetry.log import log
from .held import HeldError
from .records import VirtualKey
from .share import Amounts, Look, Share
from .store import MONTH, KeyStore, KeyStoreError, Spend, is_there

EVERY_S = 1.0
"""How old what is known of the file may be."""
LONGEST_BUSY_S = 1.0
"""How long a file may be another process's before that counts as a failure."""
KEYS, HELD = "key_store", "held_store"
"""Its files, as `/health` and the log name them."""
_NOTHING = Decimal(0)


class KeyRing:
    """The keys of one file. Opened and closed any number of times; the last to close ends it."""

    def __init__(
        self,
        path: Path,
        *,
        every_s: float = EVERY_S,
        unix_time: Callable[[], float] = time.time,  # noqa: TID251  # days are of the calendar
    ) -> None:
        """
        Args:
            path: the file; need not exist.
            every_s: seconds between looks at it.
            unix_time: gives the time of day.
        """
        self.path = path
        self._every_s = every_s
        self._unix_time = unix_time
        self._by_digest: Mapping[bytes, VirtualKey] = {}
        self._others: Mapping[tuple[str, str], Decimal] = {}
        """What other processes spent, and what was spent before this one began, by day and month."""
        self._kept: Mapping[tuple[str, str], Decimal] = {}
        """What the file says, by account and both day and month."""
        self._own: dict[tuple[str, str], Decimal] = {}
        self._share = Share(path, self._known, every_s=every_s)
        self._due: queue.SimpleQueue[Spend | None] = queue.SimpleQueue()
        self._unwritten: dict[tuple[str, str], Decimal] = {}
        self._written: dict[tuple[str, str], Decimal] = {}
        self._inherited: dict[tuple[str, str], Decimal] = {}
        """The part of `_unwritten` that other processes spent, before they died."""
        self._failing: dict[str, str] = {}
        self._busy_since: float | None = None
        self._store: KeyStore | None = None
        self._seen: tuple[int, int] | None = None
        """The file's state and the day that were last taken in."""
        self._month = ""
        self._thread: threading.Thread | None = None
        self._users = 0
        self.exists = False
        """Whether the file has, or had while this process ran, any key: once locked, a door does
        not open because a file is lost."""

    def open(self) -> None:
        """Reads the file and begins to watch it. Blocks for the milliseconds that takes.

        Raises:
            KeyStoreError: there is a file and it cannot be read. Nobody is let in by mistake.
        """
        if self._thread is None:
            try:
                self._share.open()
            except HeldError as exc:  # it is tried again, and until then no budget can hold
                self._note_held(exc)
            self.look()
            self._thread = threading.Thread(target=self._watch, name="keys", daemon=True)
            self._thread.start()
        self._users += 1

    def close(self) -> None:
        """Writes what is due and stops watching, once everybody who opened it has closed it."""
        self._users -= 1
        thread = self._thread
        if self._users or thread is None:
            return
        self._thread = None
        self._due.put(None)
        thread.join()

    def find(self, digest: bytes) -> VirtualKey | None:
        """Gives the key of this digest, or of which it was the digest before it was rotated."""
        key = self._by_digest.get(digest)
        if key is None:
            return None
        known = (key.digest, key.former_digest or key.digest)
        matches = [hmac.compare_digest(digest, each) for each in known]
        return key if any(matches) else None

    def spend(self, account: str, day: str, usd: Decimal) -> None:
        """Counts what was spent on a day (`2026-11-25`), and has it written. Never waits."""
        month = day[:MONTH]
        if month != self._month:
            self._month = month
            self._own = {at: usd for at, usd in self._own.items() if at[1].startswith(month)}
        self._share.change(account, usd)
        _add(self._own, (account, day), usd)
        _add(self._own, (account, month), usd)
        self._due.put({(account, day): usd})

    def spent(self, account: str, period: str) -> Decimal:
        """Gives what was spent on a day (`2026-11-25`) or in a month (`2026-11`), by anyone."""
        at = (account, period)
        return self._own.get(at, _NOTHING) + self._others.get(at, _NOTHING)

    def hold(self, wanted: Amounts, check: Callable[[Look], None]) -> None:
        """Sets money aside, in the sight of every process; see `Share.hold`. Never waits.

        Raises:
            HeldError: what others have cannot be known now.
        """
        self._share.hold(wanted, check)

    def release(self, account: str, usd: Decimal) -> None:
        """Gives back what was set aside. Tell what of it was spent first."""
        self._share.change(account, -usd)
        self._due.put({})

    @property
    def troubles(self) -> tuple[str, ...]:
        """Which of its files cannot be used now: `key_store`, `held_store`."""
        return tuple(self._failing)

    def look(self) -> None:
        """Writes what is due and takes in what others have changed. Blocks.

        Raises:
            KeyStoreError: the file cannot be used; what was known stays known.
        """
        self._settle()
        if self._store is None:
            if not is_there(self.path):
                if self.exists:
                    raise KeyStoreError(
                        f"the file of keys {self.path} is gone: put it back; until then the keys"
                        " that were in it stay good, and what is spent is kept in memory"
                    )
                if not self._unwritten:
                    return
            self._store, self._seen = KeyStore(self.path, wait_s=LONGEST_BUSY_S), None
        self._write(self._store)
        self._settle()
        today = self._today()
        seen = (self._store.changes, today.toordinal())
        if seen != self._seen:
            self._read(self._store, since=today.replace(day=1).isoformat())
            self._seen = seen

    def _write(self, store: KeyStore) -> None:
        if self._unwritten:
            totals = store.add_spend(self._unwritten)
            flushed: dict[str, Decimal] = {}
            inherited = bool(self._inherited)
            for (account, day), usd in self._unwritten.items():
                flushed[account] = flushed.get(account, _NOTHING) + usd
                _add(
                    self._written,
                    (account, day),
                    usd - self._inherited.pop((account, day), _NOTHING),
                )
            self._seen = self._seen if not inherited else None
            self._unwritten = {}
            self._share.write(flushed, totals)

    def _settle(self) -> None:
        """Tells the others what is no longer set aside, and counts what dead ones left as spent."""
        today = self._today().isoformat()
        try:
            left = self._share.settle(since=today[:MONTH])
        except HeldError as exc:  # it is told later: so long they think that there is less
            self._note_held(exc)
            return
        self._busy_since = None
        self._works(HELD)
        for account, usd in left.items():
            log("held_taken_over", level=logging.WARNING, account=account, usd=str(usd))
            _add(self._unwritten, (account, today), usd)
            _add(self._inherited, (account, today), usd)

    def _read(self, store: KeyStore, *, since: str) -> None:
        by_digest: dict[bytes, VirtualKey] = {}
        for key in store.records():
            by_digest[key.digest] = key
            if key.former_digest is not None:
                by_digest.setdefault(key.former_digest, key)
        others: dict[tuple[str, str], Decimal] = {}
        kept: dict[tuple[str, str], Decimal] = {}
        self._written = {at: usd for at, usd in self._written.items() if at[1] >= since}
        for (account, day), usd in store.spend_since(since).items():
            # a file that was put in this one's place does not have what we wrote into it
            kept[account, day] = usd
            _add(kept, (account, day[:MONTH]), usd)
            elsewhere = max(usd - self._written.get((account, day), _NOTHING), _NOTHING)
            others[account, day] = elsewhere
            _add(others, (account, day[:MONTH]), elsewhere)
        self._by_digest, self._others, self._kept = by_digest, others, kept
        self.exists = self.exists or bool(by_digest)

    def _watch(self) -> None:
        """The thread: writes spend as it comes, and looks at the file every while."""
        more = True
        while more:
            more = self._take_due()
            try:
                if self._moved():
                    self._leave_store()
                self.look()
                self._works(KEYS)
            except KeyStoreError as exc:  # what is due stays due
                self._leave_store()
                self._fails(KEYS, exc)
        for account, day in self._unwritten:
            lost = str(self._unwritten[account, day])
            log("spend_lost", level=logging.ERROR, account=account, day=day, usd=lost)
        self._leave_store()
        self._share.close()

    def _take_due(self) -> bool:
        """Waits for spend, or until it is time to look; False at the end."""
        try:
            more = self._note(self._due.get(timeout=self._every_s))
            while more:
                more = self._note(self._due.get_nowait())
        except queue.Empty:
            return True
        return False

    def _note(self, due: Spend | None) -> bool:
        for at, usd in (due or {}).items():
            _add(self._unwritten, at, usd)
        return due is not None

    def _note_held(self, exc: HeldError) -> None:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        if not exc.busy or now - self._busy_since > LONGEST_BUSY_S:
            self._fails(HELD, exc)

    def _fails(self, part: str, exc: ConsilienceError) -> None:
        if part not in self._failing:
            log(f"{part}_failed", level=logging.ERROR, error=exc.sentence)
        self._failing = {**self._failing, part: exc.sentence}

    def _works(self, part: str) -> None:
        if part in self._failing:
            log(f"{part}_works_again")
            self._failing = {name: why for name, why in self._failing.items() if name != part}

    def _known(self, account: str, period: str) -> Decimal:
        return self._kept.get((account, period), _NOTHING)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._unix_time(), UTC).date()

    def _moved(self) -> bool:
        """Whether the file that is open is no longer the one of that name."""
        if self._store is None:
            return False
        try:
            return self.path.stat().st_ino != self._store.inode
        except OSError:
            return True

    def _leave_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _add(to: dict[tuple[str, str], Decimal], at: tuple[str, str], usd: Decimal) -> None:
    to[at] = to.get(at, _NOTHING) + usd
