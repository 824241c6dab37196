"""What keeps requests from waiting for a model of signals that does not answer.

A model behind an endpoint *rests* for `REST_S` after a call that nobody answered in its time, or
after `FAILURES` in a row; meanwhile signals get an error at once. Then one request asks again, for a
short time, while the others are still told at once. The log has one line when a model goes down,
one when it is back, and of other failures one a minute. Nothing here runs by itself: a model that
nobody asks stays as it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio

from ..telemetry.log import log

FAILURES = 3
"""In a row, that end in an error before their time is over."""
REST_S = 10.0
"""How long nobody asks."""
LEAST_PROBE_S = 1.0
"""How long the first request that asks again may wait, if the model never took half of that."""
_MOST_CAUSES = 8
_TOLD_EVERY_S = 60.0
"""Failures that take nothing down are in the log once in this time."""

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class ModelError(Exception):
    """A model of signals gave nothing of use; the message is one clause for people."""

    def __init__(self, message: str, *, of_text: bool = False) -> None:
        """
        Args:
            message: fit for a trace: nothing of addresses, keys, or what others wrote.
            of_text: whether only this text is refused, which says nothing of the next.
        """
        super().__init__(message)
        self.of_text = of_text
        self.told = False
        """Whether a `Breaker` has taken it in, which sees to the log."""


class RestingError(ModelError):
    """The model was not asked: it failed a moment ago."""


class LateError(ModelError):
    """The model gave no answer in its time."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
        """How long it was waited for."""


class Breaker:
    """The state of one model, shared by all requests that ask it. Of one event loop."""

    def __init__(self, subject: str, limit_s: float, name: str = "") -> None:
        """
        Args:
            subject: what its messages begin with, such as `the helper`.
            limit_s: how long a request may wait for an answer.
            name: of the model, for the log.
        """
        self.limit_s = limit_s
        self._subject = subject
        self._name = name or subject
        self._failures = 0
        self._reason = ""
        self._down_since: float | None = None
        self._until = 0.0
        """When it is asked again."""
        self._answered_at = -math.inf
        self._usual_s = 0.0
        """How long its latest answer took."""
        self._probe_s = LEAST_PROBE_S
        self._told = Seldom()

    async def ask(self, call: Callable[[], Awaitable[T]], *, within_s: float | None = None) -> T:
        """Gives what a call gives.

        A call that is cancelled after half of the limit counts as a failure, too: otherwise an
        endpoint that hangs would cost clients of little patience all of it, each time.

        Args:
            call: asks the model.
            within_s: seconds; None: the limit.

        Raises:
            RestingError: the model is not asked now.
            LateError: it took too long.
            Exception: whatever the call raises.
        """
        begun = anyio.current_time()
        probe = self._down_since is not None
        if probe and begun < self._until:
            raise self._resting(begun)
        limit_s = self.limit_s if within_s is None else min(within_s, self.limit_s)
        whole = limit_s >= self.limit_s
        if probe:
            limit_s = min(limit_s, self._probe_s)
            self._until = begun + limit_s
        ended = False
        try:
            with anyio.fail_after(limit_s):
                answer = await call()
            ended = True
        except TimeoutError as exc:
            ended = True
            late = LateError(f"{self._subject} gave no answer within {limit_s:g} s", limit_s)
            alone = whole and self._answered_at < begun
            late.told = True
            self._fail(late, probe=probe, at_once=alone)
            raise late from exc
        except Exception as exc:
            ended = True
            self._take(exc, begun, probe=probe)
            raise
        finally:
            if not ended:
                self._leave(begun, limit_s if probe else self.limit_s, probe=probe)
        self._answer(begun)
        return answer

    def _resting(self, now: float) -> RestingError:
        seconds = max(1, math.ceil(self._until - now))
        error = RestingError(
            f"{self._subject} is not asked: it failed ({self._reason}); asked again in {seconds} s"
        )
        error.told = True
        return error

    def _answer(self, begun: float) -> None:
        now = anyio.current_time()
        if self._down_since is not None:
            away_s = round(now - self._down_since, 1)
            log("signal_model_back", model=self._name, away_s=away_s)
        self._failures, self._down_since = 0, None
        self._answered_at, self._usual_s = now, now - begun

    def _take(self, exc: Exception, begun: float, *, probe: bool) -> None:
        if isinstance(exc, ModelError):
            exc.told = True
            if exc.of_text:
                self._answer(begun)
                self._tell(exc)
                return
        self._fail(exc, probe=probe)

    def _fail(self, exc: Exception, *, probe: bool, at_once: bool = False) -> None:
        if self._down_since is not None and not probe:
            return  # it began before the model went down
        now = anyio.current_time()
        self._failures += 1
        if not (probe or at_once or self._failures >= FAILURES):
            self._tell(exc)
            return
        self._reason = why_failed(exc)
        self._until = now + REST_S
        if probe:
            self._probe_s = min(2 * self._probe_s, self.limit_s)
            return
        self._down_since = now
        self._probe_s = min(max(LEAST_PROBE_S, 2 * self._usual_s), self.limit_s)
        log("signal_model_down", level=logging.WARNING, **self._fields(exc))

    def _leave(self, begun: float, limit_s: float, *, probe: bool) -> None:
        """Takes in that whoever asked waits no more."""
        now = anyio.current_time()
        waited_s = now - begun
        if waited_s < limit_s / 2:
            if probe:
                self._until = now
        elif self._answered_at < begun:
            message = f"{self._subject} gave no answer within {waited_s:.1f} s"
            self._fail(LateError(message, waited_s), probe=probe)

    def _tell(self, exc: Exception) -> None:
        if self._told.due():
            log("signal_model_failed", level=logging.WARNING, **self._fields(exc))

    def _fields(self, exc: Exception) -> Mapping[str, str]:
        cause: BaseException = exc
        for _ in range(_MOST_CAUSES):
            cause = cause.__cause__ or cause
        kind = type(cause).__name__
        return {"model": self._name, "reason": why_failed(exc), "kind": kind}


class Seldom:
    """Whether a line is due that would else be written for each request."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, what: str = "") -> bool:
        """Gives True once a minute for each of a few things, which the configuration names."""
        now = anyio.current_time()
        if now < self._next.get(what, -math.inf):
            return False
        self._next[what] = now + _TOLD_EVERY_S
        return True


def why_failed(exc: Exception) -> str:
    """Gives what a trace says of a failure: a clause for people, without what others wrote."""
    return str(exc) if isinstance(exc, ModelError) else f"failed: {type(exc).__name__}"


def log_failed(event: str, exc: Exception, told: Seldom | None = None, **fields: str) -> None:
    """Writes of a failure what is worth a line.

    What a breaker has taken in is told already; what a model gave and nobody can use, seldom; and
    anything else is a bug, told whole.

    Args:
        event: its name.
        exc: why it failed.
        told: says whether a line is due; None: it is.
        fields: which one it is.
    """
    if not isinstance(exc, ModelError):
        _LOG.warning(event, extra={"fields": fields}, exc_info=exc)
    elif not exc.told and (told is None or told.due(" ".join((event, *fields.values())))):
        log(event, level=logging.WARNING, **fields, reason=str(exc))
