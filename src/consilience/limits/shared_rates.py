"""What keys have used in the last minute, in the sight of every process that serves them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import anyio

from ..errors import RateLimitedError
from ..keys.rate_file import RateFile, RateFileError, rate_path
from ..keys.records import VirtualKey
from ..telemetry.log import log
from .rates import KeyRates, Window

RATES = "rate_store"
"""What this is called in the log and among troubles."""
_PAUSES_S = tuple(0.001 * 2**n for n in range(9))
"""Between tries while other processes are at the file; each is at it for a fraction of a
millisecond, unless it is kept from running."""
_REST_S = 0.25
"""How long the file is left alone that could not be used."""

_T = TypeVar("_T")
_Step = Callable[[KeyRates, bool], _T]
"""Changes rates; is told whether they are everybody's."""


class Held(NamedTuple):
    """Tokens that were counted for a request before it used any."""

    tokens: int
    shared: bool = True
    """Whether all processes count them, or this one alone."""


class SharedRates:
    """The rates of all keys of one store. Use it from one thread.

    While the file cannot be used, this process counts for itself, on from what it last knew: a rate
    protects what answers, and is no reason to answer nobody.
    """

    def __init__(self, keys: Path) -> None:
        """
        Args:
            keys: the file of keys.
        """
        self._path = rate_path(keys)
        self._file: RateFile | None = None
        self._known: dict[str, KeyRates] = {}
        """As this process last saw them."""
        self._rests_until = -math.inf
        self._failing = False

    def troubles(self, now: float) -> tuple[str, ...]:
        """Gives `rate_store` while the file cannot be used; looks whether that is still so."""
        if self._failing and now >= self._rests_until:
            try:
                with self._join().changing():
                    self._works()
            except RateFileError as exc:
                self._fails(exc, now)
        return (RATES,) if self._failing else ()

    def close(self) -> None:
        """Leaves the file; whoever still counts opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    async def take_request(self, key: VirtualKey, now: float) -> None:
        """Counts a request.

        Raises:
            RateLimitedError: it is one too many; nothing was counted.
        """
        if key.limits.requests_per_minute is not None:
            await self._change(key, now, lambda rates, _: rates.take_request(key.limits, now))

    async def hold_tokens(self, key: VirtualKey, expected: int, now: float) -> Held:
        """Counts what a request is expected to use; see `KeyRates.hold_tokens`.

        Raises:
            RateLimitedError: too few are left; nothing was counted.
        """
        if key.limits.tokens_per_minute is None:
            return Held(0)
        return await self._change(
            key,
            now,
            lambda rates, shared: Held(rates.hold_tokens(key.limits, expected, now), shared),
        )

    async def settle_tokens(
        self, key: VirtualKey, held: Held, then: float, used: int, now: float
    ) -> None:
        """Counts what a request used in place of that; see `KeyRates.settle_tokens`.

        It is done even if the caller is cancelled, which may then take half a second.
        """
        if key.limits.tokens_per_minute is None:
            return

        def settle(rates: KeyRates, shared: bool) -> None:
            # what only this process has counted is not to be taken back from everybody's
            there = held.shared or not shared
            rates.settle_tokens(held.tokens if there else 0, then, used, now)

        with anyio.CancelScope(shield=True):
            await self._change(key, now, settle)

    def headers(self, key: VirtualKey, now: float) -> Mapping[str, str]:
        """Gives `x-ratelimit-…`, from what this process last saw."""
        return self._last(key).headers(key.limits, now)

    async def _change(self, key: VirtualKey, now: float, step: _Step[_T]) -> _T:
        """Takes a step in the sight of all, or, when that cannot be, in one's own; it is told which."""
        if now >= self._rests_until:
            for pause_s in (*_PAUSES_S, None):
                try:
                    return self._change_now(key, now, step)
                except RateFileError as exc:
                    if pause_s is None or not exc.busy or self._failing:
                        self._fails(exc, now)
                        break
                await anyio.sleep(pause_s)
        return step(self._last(key), False)

    def _change_now(self, key: VirtualKey, now: float, step: _Step[_T]) -> _T:
        file = self._join()
        with file.changing():
            requests, tokens = file.read(key.id)
            rates = KeyRates(Window.of(requests, now), Window.of(tokens, now))
            try:
                done = step(rates, True)
            except RateLimitedError:
                self._known[key.id] = rates
                raise
            file.write(key.id, rates.requests.uses(), rates.tokens.uses())
        self._known[key.id] = rates
        self._works()
        return done

    def _last(self, key: VirtualKey) -> KeyRates:
        return self._known.setdefault(key.id, KeyRates())

    def _join(self) -> RateFile:
        if self._file is not None and self._file.moved:
            self.close()
        if self._file is None:
            self._file = RateFile(self._path)
        return self._file

    def _fails(self, exc: RateFileError, now: float) -> None:
        self.close()
        self._rests_until = now + _REST_S
        if not self._failing:
            self._failing = True
            log(f"{RATES}_failed", level=logging.ERROR, error=exc.sentence)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            log(f"{RATES}_works_again")
