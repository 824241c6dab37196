"""How long a request may take: the listener's timeout, or less if the client says so."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import DeadlineExceededError, InvalidRequestError

TIMEOUT_HEADER = "x-request-timeout-ms"
_MOST_DIGITS = 12


def request_seconds(headers: Mapping[str, str], most_s: float) -> float:
    """Gives the seconds a request may take; the client's header can only shorten them.

    Args:
        headers: the request's, names in lower case.
        most_s: what the configuration allows.

    Raises:
        InvalidRequestError: the header is not a whole number of milliseconds above 0. A client that
            sends it relies on it, so it is not ignored.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return most_s
    digits = text.strip()
    valid = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
    if not valid or int(digits) == 0:
        raise InvalidRequestError(
            f"the header {TIMEOUT_HEADER} must be a whole number of milliseconds above 0, such as 30000",
            param=TIMEOUT_HEADER,
        )
    return min(int(digits) / 1000, most_s)


def late(seconds: float) -> DeadlineExceededError:
    """Gives the error for a request that took longer than it may."""
    return DeadlineExceededError(
        f"no answer within the {seconds:g} seconds that a request may take"
    )
