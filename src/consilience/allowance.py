"""What one request may take, settled before anything is spent.

How many gateways it may have come through, and how many upstream calls it may make. Whether there
is room for those that it makes at once, `admission` says.
"""

from __future__ import annotations

from collections.abc import Mapping

from .chat.request import ChatRequest
from .errors import InvalidRequestError
from .preparation import Prepared
from .router import Route
from .upstream.allowance import Allowance
from .upstream.http import DEPTH_HEADER

MAX_DEPTH = 4
"""Gateways of this kind that a plain request may pass through. A Fusion request: one."""

CALLS_FOR_EACH_PLANNED = 3
"""Upstream calls that a request may make for each one it plans, when no limit is configured."""


def at_depth(request: ChatRequest, headers: Mapping[str, str]) -> ChatRequest:
    """Gives the request as one that has come to one gateway more than its headers say.

    Raises:
        InvalidRequestError: it has passed through so many that it must go round in a circle.
    """
    passed = max(map(_number, headers.get(DEPTH_HEADER, "").split(",")))
    if passed >= MAX_DEPTH:
        raise InvalidRequestError(f"the request came through {passed} gateways or more: a loop")
    return request.at_depth(passed + 1)


def _number(text: str) -> int:
    """A depth from a header; what is no number counts as none, a huge one as deep enough."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return 0
    return int(digits[:6])


def check_depth(route: Route, request: ChatRequest) -> None:
    """Refuses a panel behind another gateway, which may itself be a seat of that one's panel.

    Raises:
        InvalidRequestError: the request came through another gateway to a Fusion route.
    """
    if route.algorithm == "fusion" and request.depth > 1:
        raise InvalidRequestError(
            "a Fusion route cannot be reached through another gateway of this kind: ask it directly"
        )


def allowance_for(prepared: Prepared, most_calls: int | None, helped: int = 0) -> Allowance:
    """Gives how many upstream calls the request may make.

    Args:
        prepared: the request and its route.
        most_calls: the configured limit; None: three for each call that it plans.
        helped: calls of helper models that were made for it, which count.

    Raises:
        InvalidRequestError: it needs more than may be made.
    """
    planned = 0 if prepared.outcome else prepared.route.looper.calls
    most = most_calls - helped if most_calls else CALLS_FOR_EACH_PLANNED * planned
    if planned > most:
        raise InvalidRequestError(
            f"the request needs up to {planned} upstream calls;"
            f" global.gateway.max_upstream_calls allows {most_calls}"
            + (f", of which signals have made {helped}" if helped else "")
        )
    return Allowance(most, planned)
