"""How large a request's head may be. What it holds is read by everything that follows."""

from __future__ import annotations

from starlette.types import Scope

from ..errors import AddressTooLongError, HeadersTooLargeError

MOST_HEADERS = 100
MOST_HEADER_BYTES = 32 << 10
"""Names and values together."""
MOST_ADDRESS_BYTES = 8 << 10
"""Path and query."""


def check_head(scope: Scope) -> None:
    """Refuses a head that no honest client sends.

    Raises:
        AddressTooLongError: the path with its query is too long.
        HeadersTooLargeError: there are too many headers, or they are too long.
    """
    address = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
    if address > MOST_ADDRESS_BYTES:
        raise AddressTooLongError(f"the path is longer than {MOST_ADDRESS_BYTES} bytes")
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS:
        raise HeadersTooLargeError(f"there are more than {MOST_HEADERS} headers")
    if sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
        raise HeadersTooLargeError(f"the headers are larger than {MOST_HEADER_BYTES} bytes")
