"""Money set aside before it is spent, so that what runs at the same time cannot overspend together.

A request holds its worst case against every purse it pays from, or is refused before anything is
spent. Each call takes its part and is settled with what it really cost; what is left goes back when
the request ends, however it ends. Other processes that pay from the same purses are told before a
call is made, in one step with the check; only while one of them is at that is there a wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Protocol

import anyio

from ..errors import (
    BudgetExceededError,
    BudgetUnavailableError,
    ConsilienceError,
    CostCeilingError,
)
from ..keys.held import HeldError
from ..keys.share import Amounts, Look

NOTHING = Decimal(0)
_PAUSES_S = tuple(0.001 * 2**n for n in range(9))
"""Between the tries to set money aside while another process does; half a second in all."""
_COME_BACK_S = 1.0


class Spending(Protocol):
    """Where it is kept what was spent (`keys.ring.KeyRing`)."""

    def spend(self, account: str, day: str, usd: Decimal) -> None:
        """Counts what was spent on a day."""
        ...

    def spent(self, account: str, period: str) -> Decimal:
        """Gives what was spent on a day (`2026-11-25`) or in a month (`2026-11`)."""
        ...

    def hold(self, wanted: Amounts, check: Callable[[Look], None]) -> None:
        """Sets money aside where all who spend it see it; see `keys.share.Share.hold`."""
        ...

    def release(self, account: str, usd: Decimal) -> None:
        """Gives back what was set aside; what of it was spent has been counted before."""
        ...


@dataclass(frozen=True, slots=True)
class Purse:
    """What somebody may spend. None is no limit."""

    account: str
    owner: str
    """As messages call it: `this key`."""
    per_day: Decimal | None = None
    per_month: Decimal | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it can be too empty for a request."""
        return self.per_day is not None or self.per_month is not None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What one request may cost."""

    usd: Decimal
    own: bool
    """Whether the request says so itself; else the gateway does."""
    param: str | None = None
    """Where the request says it."""


class Ledger:
    """What this process sets aside and spends, of every purse."""

    def __init__(self, spending: Spending, today: Callable[[], date]) -> None:
        """
        Args:
            spending: keeps what was spent.
            today: gives the day in UTC.
        """
        self._spending = spending
        self._today = today
        self._held: dict[str, Decimal] = {}

    def held(self, account: str) -> Decimal:
        """Gives what this process has set aside of an account."""
        return self._held.get(account, NOTHING)

    async def hold(self, purses: Sequence[Purse], usd: Decimal) -> None:
        """Sets an amount aside in every purse, or in none. Cancelled, in none.

        Raises:
            BudgetExceededError: one has too little left.
            BudgetUnavailableError: nobody knows what is left.
        """
        limited = [purse for purse in purses if purse.is_limited]
        if limited and usd:
            await self._hold_with_others(limited, usd)
        for purse in purses:
            self._held[purse.account] = self.held(purse.account) + usd

    def release(self, purses: Sequence[Purse], usd: Decimal) -> None:
        """Gives back what was set aside. Tell what of it was spent first."""
        if not usd:
            return
        for purse in purses:
            if purse.is_limited:
                self._spending.release(purse.account, usd)
            left = self.held(purse.account) - usd
            if left:
                self._held[purse.account] = left
            else:
                self._held.pop(purse.account, None)

    def spend(self, purses: Sequence[Purse], usd: Decimal) -> None:
        """Counts what was spent."""
        day = self._today().isoformat()
        for purse in purses:
            self._spending.spend(purse.account, day, usd)

    async def _hold_with_others(self, purses: Sequence[Purse], usd: Decimal) -> None:
        wanted = {purse.account: usd for purse in purses}

        def check(look: Look) -> None:
            for purse in purses:
                self._check(purse, usd, look)

        for pause_s in (*_PAUSES_S, None):
            try:
                self._spending.hold(wanted, check)
            except HeldError as exc:
                if pause_s is None or not exc.busy:
                    raise BudgetUnavailableError(
                        "a budget holds, and what is left of it cannot be known now; nothing was"
                        " asked and nothing spent",
                        retry_after_s=_COME_BACK_S,
                    ) from exc
                await anyio.sleep(pause_s)
            else:
                return

    def _check(self, purse: Purse, usd: Decimal, look: Look) -> None:
        day = self._today().isoformat()
        for period, most, name in (
            (day, purse.per_day, "today"),
            (day[:7], purse.per_month, "this month"),
        ):
            if most is None:
                continue
            taken = look(purse.account, period)
            if taken + usd > most:
                spent = min(taken, self._spending.spent(purse.account, period))
                raise BudgetExceededError(
                    f"the request may cost up to {dollars(usd)}; {purse.owner} may spend"
                    f" {dollars(most)} {name}, of which {dollars(spent)} is spent and"
                    f" {dollars(taken - spent)} set aside for requests at work. A smaller"
                    " 'max_completion_tokens' costs less"
                )


@dataclass(slots=True)
class Hold:
    """The money of one request. Close it, whatever happens."""

    ledger: Ledger
    purses: Sequence[Purse]
    ceilings: Sequence[Ceiling] = ()
    left: Decimal = NOTHING
    """Set aside and neither spent nor given back."""
    spent: Decimal = NOTHING
    taking: Decimal = NOTHING
    """About to be set aside."""
    tokens: int = 0
    """Tokens used so far, as far as the upstreams told."""
    planned: dict[str, list[Decimal]] = field(default_factory=dict)
    """Parts of `left` that belong to calls still to come, by model, in order."""

    async def plan(self, costs: Sequence[tuple[str, Decimal]]) -> None:
        """Sets the worst case of the planned calls aside.

        Args:
            costs: model and worst cost of each call, in order.

        Raises:
            CostCeilingError: the request's own ceiling is lower. Nothing is set aside then, as below.
            BudgetExceededError: the gateway's ceiling is lower, or a purse has too little left.
        """
        await self._take(sum((usd for _, usd in costs), NOTHING))
        for model, usd in costs:
            self.planned.setdefault(model, []).append(usd)

    async def begin(
        self, model: str, worst: Callable[[], Decimal], *, again: bool = False
    ) -> Decimal:
        """Gives what is set aside for a call that is about to be made.

        Args:
            model: whom.
            worst: gives the worst cost of a call that was not planned: a fallback, a retry.
            again: whether the call repeats one that failed: what is planned belongs to others.

        Raises:
            BudgetExceededError: there is no more for such a call.
        """
        waiting = self.planned.get(model)
        if waiting and not again:
            return waiting.pop(0)
        usd = worst()
        try:
            await self._take(usd)
        except ConsilienceError as exc:
            raise BudgetExceededError(f"no money is left for one more call: {exc.message}") from exc
        return usd

    def end(self, held: Decimal, cost: Decimal) -> None:
        """Settles a call: takes what it cost and gives back the rest of what was set aside."""
        held = min(held, self.left)  # nothing twice, should a call end after its request
        self.spent += cost
        if cost:
            self.ledger.spend(self.purses, cost)
        self.ledger.release(self.purses, held)
        self.left -= held

    def close(self) -> None:
        """Gives back what was set aside for calls that were never made."""
        self.ledger.release(self.purses, self.left)
        self.left = NOTHING
        self.planned.clear()

    async def _take(self, usd: Decimal) -> None:
        for ceiling in self.ceilings:
            could = self.spent + self.left + self.taking + usd
            if could > ceiling.usd:
                raise _over(ceiling, could)
        self.taking += usd
        try:
            await self.ledger.hold(self.purses, usd)
            self.left += usd
        finally:
            self.taking -= usd


def _over(ceiling: Ceiling, usd: Decimal) -> ConsilienceError:
    could = f"the request may cost up to {dollars(usd)}"
    if ceiling.own:
        return CostCeilingError(
            f"{could}, more than its own limit of {dollars(ceiling.usd)}; a smaller"
            " 'max_completion_tokens' costs less",
            param=ceiling.param,
        )
    return BudgetExceededError(
        f"{could}; this gateway allows {dollars(ceiling.usd)}. A smaller 'max_completion_tokens'"
        " costs less"
    )


def dollars(usd: Decimal) -> str:
    """An amount for people, rounded up to the sixth decimal: `$0.0123`."""
    rounded = usd.quantize(Decimal("0.000001"), rounding="ROUND_UP")
    text = format(rounded, "f").rstrip("0").rstrip(".")
    return f"${text or '0'}"
