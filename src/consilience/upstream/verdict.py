"""What a failed call says: of the backend, of asking again, and of money. Pure.

A failure speaks of the backend (it is down), of our key (refused, or used too often), or of the
request (which no other backend would take either). Only the first two are worth another call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import UpstreamConnectionError, UpstreamError, UpstreamStatusError

Mark = Literal["ok", "failed", "rate_limited", "credentials", "none"]
"""What a call's end says of its backend; `none`: nothing, as when the caller went away."""
Again = Literal["anywhere", "once", "elsewhere", "never"]
"""Where asking again may help. `once`: anywhere, but only one time; `elsewhere`: only at a backend
that was not asked yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a failure."""

    mark: Mark
    again: Again
    conditions: frozenset[str] = frozenset()
    """Names that `reliability.retry_on` has for it."""


_BROKEN = frozenset(("reset", "5xx"))
_NO_CONNECTION = frozenset(("connect-failure", "refused-stream", "reset", "5xx"))
_SERVER_ERROR = frozenset(("5xx",))
_GATEWAY_ERROR = frozenset(("5xx", "gateway-error"))
TIMEOUT_CONDITIONS = frozenset(("request-timeout", "5xx"))

RETRY_CONDITIONS = _NO_CONNECTION | _GATEWAY_ERROR | TIMEOUT_CONDITIONS
"""Every name of `reliability.retry_on` that is acted on."""

_BY_REASON: Mapping[str, Verdict] = {
    "connection": Verdict("failed", "anywhere", _BROKEN),
    # the same certificate will be there again, and no plain connection is tried in its place
    "tls": Verdict("failed", "elsewhere", _NO_CONNECTION),
    # it is this gateway that could not call
    "exhausted": Verdict("none", "anywhere", _NO_CONNECTION),
    # it may still be at work on the first call; a second one would only add to its load
    "timeout": Verdict("failed", "elsewhere", TIMEOUT_CONDITIONS),
    "truncated": Verdict("failed", "once", _BROKEN),
    "protocol": Verdict("failed", "once", _SERVER_ERROR),
    "content_type": Verdict("failed", "once", _SERVER_ERROR),
    # an error told under 200 may be of any kind, the client's fault included
    "error_body": Verdict("none", "once", _SERVER_ERROR),
    "redirect": Verdict("failed", "elsewhere", _SERVER_ERROR),
    "rate_limited": Verdict("rate_limited", "anywhere"),
    "credentials": Verdict("credentials", "elsewhere"),
}
_NOTHING = Verdict("none", "never")
_NEVER_AGAIN = frozenset((501, 505))


def verdict_on(exc: UpstreamError) -> Verdict:
    """Gives what follows from a failure; unknown reasons say nothing."""
    if isinstance(exc, UpstreamConnectionError) and exc.reason == "connection" and not exc.sent:
        return Verdict("none" if exc.stale else "failed", "anywhere", _NO_CONNECTION)
    status = exc.status_code
    if isinstance(exc, UpstreamStatusError) and status is not None:
        if status == 408 or (status >= 500 and status not in _NEVER_AGAIN):
            conditions = _GATEWAY_ERROR if status in (502, 503, 504) else _SERVER_ERROR
            return Verdict("failed", "anywhere", conditions)
        if exc.reason not in ("rate_limited", "credentials"):
            return _NOTHING
    return _BY_REASON.get(exc.reason, _NOTHING)


def may_have_cost(exc: UpstreamError) -> bool:
    """Whether a model may have worked: not when it turned the call away or never had it."""
    if isinstance(exc, UpstreamStatusError):
        return False
    return not isinstance(exc, UpstreamConnectionError) or exc.sent
