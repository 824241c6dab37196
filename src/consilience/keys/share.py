"""What this process has set aside of what several share, and what the others have.

An account's share is what is set aside in it, and what was spent and is not yet in the file of keys.
What the file of held money says of a process may be too much for a moment, and is never too little:
it is raised before a call is made, and lowered after what was spent has been written elsewhere. So
`spent and written + all shares` never misses money, whichever is read first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from .held import HeldError, HeldFile, held_path

_NOTHING = Decimal(0)
Amounts = Mapping[str, Decimal]
"""Dollars by account."""
Look = Callable[[str, str], Decimal]
"""Gives what is spent and set aside of an account in a period, by all processes."""


class Share:
    """One process's part. Safe to use from several threads; nothing waits but for their turn."""

    def __init__(self, keys: Path, known: Look, *, every_s: float) -> None:
        """
        Args:
            keys: the file of keys.
            known: gives what was last read there, by account and period.
            every_s: seconds between looks for processes that died.
        """
        self._path = held_path(keys)
        self._known = known
        self._every_s = every_s
        self._looked = -math.inf
        self._file: HeldFile | None = None
        self._wanted = False
        """Whether anybody here has wanted money of a limited account."""
        self._turn = threading.Lock()
        """Of the file, and of what is below; nobody waits for anything while it is theirs."""
        self._mine: dict[str, Decimal] = {}
        self._unsaid: set[str] = set()
        """Accounts of which the file may say too much."""
        self._totals: dict[tuple[str, str], Decimal] = {}
        """What was written to the file of keys, and is not yet said."""
        self._flushed: dict[str, Decimal] = {}
        """The part of `_mine` that is in those."""
        self._noting = threading.Lock()
        self._notes: dict[str, Decimal] = {}
        """Changes of `_mine` that are not yet in it."""

    def open(self) -> None:
        """Joins the others where any process has set money aside before.

        Raises:
            HeldError: the file cannot be used.
        """
        with self._turn:
            if self._path.exists():
                self._join().forget_spent()

    def close(self) -> None:
        """Leaves. What could not be written is counted by whoever comes next."""
        with self._turn:
            if self._file is not None:
                self._file.close()
                self._file = None

    def change(self, account: str, usd: Decimal) -> None:
        """Notes that an account's share is so much greater, or less; said at the next occasion."""
        with self._noting:
            _add(self._notes, account, usd)

    def hold(self, wanted: Amounts, check: Callable[[Look], None]) -> None:
        """Sets money aside, if a check lets it, before which nobody else can.

        Args:
            wanted: by account.
            check: raises when there is too little; must not wait.

        Raises:
            HeldError: the file cannot be used; with `busy`, it is worth to try again.
        """
        with self._turn:
            self._wanted = True
            self._take_notes()
            file = self._join()
            mine = {account: self._has(account) + usd for account, usd in wanted.items()}

            def look(account: str, period: str) -> Decimal:
                written = max(file.spent(account, period), self._known(account, period))
                return written + self._has(account) + file.held_by_others(account)

            with file.changing():
                check(look)
                file.put_held(mine)
            self._mine.update(mine)

    def write(self, flushed: Amounts, totals: Mapping[tuple[str, str], Decimal]) -> None:
        """Notes what is in the file of keys now; said by the next `settle`.

        Args:
            flushed: what was added there.
            totals: what it came to, by account and period.
        """
        with self._turn:
            for account, usd in flushed.items():
                _add(self._flushed, account, usd)
            self._totals.update(totals)

    def settle(self, *, since: str) -> Amounts:
        """Lowers what the file says of this process, and takes over what dead ones had.

        Args:
            since: the month; what was spent earlier is forgotten.

        Returns:
            What dead processes had. It is part of this one's share, and to be written as spent.

        Raises:
            HeldError: it cannot be used; what is unsaid stays so.
        """
        with self._turn:
            self._take_notes()
            if self._file is None and not self._wanted and not self._path.exists():
                self._say()
                return {}
            file = self._join()
            found: dict[str, Decimal] = {}
            dead = self._dead(file)
            if not (dead or self._unsaid or self._totals):
                return {}
            with file.changing():
                for process in dead:
                    for account, usd in file.take_over(process).items():
                        _add(found, account, usd)
                changed = {*self._unsaid, *self._flushed, *found}
                mine = {
                    account: self._has(account)
                    - self._flushed.get(account, _NOTHING)
                    + found.get(account, _NOTHING)
                    for account in changed
                }
                file.put_held(mine)
                file.put_spent(self._totals, since=since)
            self._say()
            for account, usd in found.items():
                _add(self._mine, account, usd)
            for process in dead:
                file.bury(process)
            return found

    def _dead(self, file: HeldFile) -> list[str]:
        now = time.monotonic()
        if now - self._looked < self._every_s:
            return []
        self._looked = now
        return file.dead()

    def _say(self) -> None:
        """Takes in that everything is said."""
        for account, usd in self._flushed.items():
            _add(self._mine, account, -usd)
        self._mine = {account: usd for account, usd in self._mine.items() if usd}
        self._flushed, self._totals = {}, {}
        self._unsaid.clear()

    def _has(self, account: str) -> Decimal:
        return self._mine.get(account, _NOTHING)

    def _take_notes(self) -> None:
        with self._noting:
            notes, self._notes = self._notes, {}
        for account, usd in notes.items():
            _add(self._mine, account, usd)
            self._unsaid.add(account)

    def _join(self) -> HeldFile:
        """Gives the file; a new one when it was lost, with all that this process has."""
        if self._file is not None and self._file.moved:
            self._file.close()
            self._file = None
        if self._file is None:
            file = HeldFile(self._path)
            try:
                with file.changing():
                    file.put_held(self._mine)
            except HeldError:
                file.close()
                raise
            self._file = file
        return self._file


def _add(to: dict[str, Decimal], account: str, usd: Decimal) -> None:
    to[account] = to.get(account, _NOTHING) + usd
