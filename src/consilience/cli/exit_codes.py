"""Exit codes, the same for every command."""

from __future__ import annotations

from ..errors import (
    AuthenticationError,
    ConfigError,
    ConsilienceError,
    DeadlineExceededError,
    InvalidRequestError,
    PermissionDeniedError,
    UpstreamError,
    UpstreamTimeoutError,
)

OK = 0
FAILED = 1
USAGE = 2
UPSTREAM = 3
DENIED = 4
TIMEOUT = 5
INTERRUPTED = 130

EPILOG = (
    "Exit codes: 0 done, 1 failed (problems in a file, port taken), 2 wrong usage or request,"
    " 3 models failed, 4 key refused, 5 out of time, 130 interrupted."
)


def exit_code(exc: ConsilienceError) -> int:
    """Gives the exit code for an error."""
    match exc:
        case ConfigError():
            return FAILED
        case UpstreamTimeoutError() | DeadlineExceededError():
            return TIMEOUT
        case UpstreamError():
            return TIMEOUT if exc.status == 504 else UPSTREAM
        case AuthenticationError() | PermissionDeniedError():
            return DENIED
        case InvalidRequestError():
            return USAGE
    return FAILED
