"""What was spent, and on what day, as ledgers under test see it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal


class Spent:
    """Spending that is only counted."""

    def __init__(self) -> None:
        self.by: dict[tuple[str, str], Decimal] = {}

    def spend(self, account: str, day: str, usd: Decimal) -> None:
        for period in (day, day[:7]):
            self.by[account, period] = self.spent(account, period) + usd

    def spent(self, account: str, period: str) -> Decimal:
        return self.by.get((account, period), Decimal(0))


class Day:
    """A calendar that is turned by hand."""

    def __init__(self) -> None:
        self.today = date(2026, 11, 30)

    def __call__(self) -> date:
        return self.today
