"""Clients with virtual keys and budgets: who pays in a load, and what they spent."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from consilience.keys.store import EVERYTHING, KeyStore

AMPLE = 4
"""Keys with money for every request."""
AMPLE_USD = Decimal(100_000)
POOR_USD = Decimal(1)
"""A day's budget that a minute or two use up: a call that fails is charged its worst case."""
PRICES = "prompt_per_1m: 1, completion_per_1m: 10"
"""Of every model, in dollars."""
TOO_MANY_TOKENS = 300_000
"""An answer of so many costs more than the poor key has, and less than a request may."""
BUDGETS = f"per_day_usd: {AMPLE_USD * AMPLE}, per_request_usd: 5"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one load."""

    file: Path
    ample: tuple[str, ...]
    poor: str
    poor_id: str

    def spent(self) -> Spent:
        """Reads what they spent so far."""
        with closing(KeyStore(self.file)) as store:
            return Spent.of(store.spend_since(""), self.poor_id)


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent, in dollars."""

    all: Decimal
    """As the account of all requests says."""
    by_keys: Decimal
    """As the keys' accounts say together."""
    poor: Decimal

    @classmethod
    def of(cls, spend: dict[tuple[str, str], Decimal], poor_id: str) -> Spent:
        """Adds up what a file of keys holds, by account and day."""
        nothing = Decimal(0)
        everything = sum((usd for (who, _), usd in spend.items() if who == EVERYTHING), nothing)
        by_keys = sum((usd for (who, _), usd in spend.items() if who != EVERYTHING), nothing)
        poor = sum((usd for (who, _), usd in spend.items() if who == poor_id), nothing)
        return cls(everything, by_keys, poor)

    def missed_goals(self) -> list[str]:
        """Gives the goals that were missed."""
        goals = {
            "the keys' spend and the whole differ": self.all == self.by_keys,
            "a key spent more than its budget": self.poor <= POOR_USD,
            "nothing was spent": self.poor > 0 and self.by_keys > self.poor,
        }
        return [missed for missed, reached in goals.items() if not reached]

    def __str__(self) -> str:
        return f"${self.all} in all, ${self.poor} of the poor key's ${POOR_USD}"


def make_keys(folder: Path) -> Keys:
    """Makes the keys as an operator would, with the command line."""
    file = folder / "keys.sqlite3"
    ample = tuple(_made(file, f"ample-{i}", AMPLE_USD) for i in range(AMPLE))
    poor = _made(file, "poor", POOR_USD)
    with closing(KeyStore(file)) as store:
        poor_id = next(key.id for key in store.records() if key.name == "poor")
    return Keys(file, ample, poor, poor_id)


def _made(file: Path, name: str, usd: Decimal) -> str:
    command = [sys.executable, "-m", "consilience", "keys", "create", name, "--store", str(file)]
    command += ["--usd-per-day", str(usd), "--requests-per-minute", "100000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # our own
    return done.stdout.strip()
