"""What was spent, and on what day, as ledgers under test see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

NOTHING = Decimal(0)


class Spent:
    """Spending that is only counted, of one process."""

    def __init__(self) -> None:
        self.by: dict[tuple[str, str], Decimal] = {}
        self.held: dict[str, Decimal] = {}

    def spend(self, account: str, day: str, usd: Decimal) -> None:
        for period in (day, day[:7]):
            self.by[account, period] = self.spent(account, period) + usd

    def spent(self, account: str, period: str) -> Decimal:
        return self.by.get((account, period), NOTHING)

    def hold(
        self,
        wanted: Mapping[str, Decimal],
        check: Callable[[Callable[[str, str], Decimal]], None],
    ) -> None:
        check(lambda account, period: self.spent(account, period) + self._held(account))
        for account, usd in wanted.items():
            self.held[account] = self._held(account) + usd

    def release(self, account: str, usd: Decimal) -> None:
        self.held[account] -= usd

    def _held(self, account: str) -> Decimal:
        return self.held.get(account, NOTHING)


class Day:
    """A calendar that is turned by hand."""

    def __init__(self) -> None:
        self.today = date(2026, 11, 30)

    def __call__(self) -> date:
        return self.today
