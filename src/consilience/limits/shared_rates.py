"""What keys have used in the last minute, in the sight of every process that serves them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from ..keys.rate_file import RateFile, RateFileError, rate_path
from ..keys.records import VirtualKey
from ..telemetry.log import log
from .rates import KeyRates, Window

RATES = "rate_store"
"""What this is called in the log and among troubles."""
_REST_S = 0.25
"""How long the file is left alone that could not be used."""
_LONGEST_BUSY_S = 1.0
"""Others are at the file for moments; longer than this is a failure."""

_T = TypeVar("_T")


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
        self._rests_until = -math.inf
        self._busy_since: float | None = None
        self._failing = False

    def troubles(self, now: float) -> tuple[str, ...]:
        """Gives `rate_store` while the file cannot be used; looks whether that is still so."""
        if self._failing and now >= self._rests_until:
            try:
                with self._join().changing():
                    pass
            except RateFileError as exc:
                self._fails(exc, now)
            else:
                self._works()
        return (RATES,) if self._failing else ()

    def close(self) -> None:
        """Leaves the file; whoever still counts opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def take_request(self, key: VirtualKey, now: float) -> None:
        """Counts a request.

        Raises:
            RateLimitedError: it is one too many; nothing was counted.
        """
        if key.limits.requests_per_minute is not None:
            self._change(key, now, lambda rates: rates.take_request(key.limits, now))

    def hold_tokens(self, key: VirtualKey, expected: int, now: float) -> int:
        """Counts what a request is expected to use; see `KeyRates.hold_tokens`.

        Raises:
            RateLimitedError: too few are left; nothing was counted.
        """
        if key.limits.tokens_per_minute is None:
            return 0
        return self._change(key, now, lambda rates: rates.hold_tokens(key.limits, expected, now))

    def settle_tokens(self, key: VirtualKey, held: int, then: float, used: int, now: float) -> None:
        """Counts what a request used in place of that; see `KeyRates.settle_tokens`."""
        if key.limits.tokens_per_minute is not None:
            self._change(key, now, lambda rates: rates.settle_tokens(held, then, used, now))

    def headers(self, key: VirtualKey, now: float) -> Mapping[str, str]:
        """Gives `x-ratelimit-…`, from what this process last saw of the file."""
        return self._last(key).headers(key.limits, now)

    def _change(self, key: VirtualKey, now: float, step: Callable[[KeyRates], _T]) -> _T:
        if now < self._rests_until:
            return step(self._last(key))
        stepped = False
        try:
            file = self._join()
            with file.changing():
                requests, tokens = file.read(key.id)
                rates = KeyRates(Window.of(requests, now), Window.of(tokens, now))
                self._known[key.id] = rates  # before the step, which may refuse
                done, stepped = step(rates), True
                file.write(key.id, rates.requests.uses(), rates.tokens.uses())
        except RateFileError as exc:
            self._fails(exc, now)
            if not stepped:
                done = step(self._last(key))
        else:
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
        if not exc.busy:
            self.close()
        self._rests_until = now + _REST_S
        self._busy_since = self._busy_since if self._busy_since is not None else now
        told = not exc.busy or now - self._busy_since > _LONGEST_BUSY_S
        if told and not self._failing:
            self._failing = True
            log(f"{RATES}_failed", level=logging.ERROR, error=exc.sentence)

    def _works(self) -> None:
        self._busy_since = None
        if self._failing:
            self._failing = False
            log(f"{RATES}_works_again")
