"""What is taken out of everything that is written down: keys, and the words of exceptions."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

_VENDORS = (
    r"\b(?:(?:sk|pk|rk|gsk|xai|glpat|xox[a-z])-|(?:gsk|ghp|gho|hf)_|AIza|AKIA)[-_A-Za-z0-9]{8,}"
    r"|(?i:\bbearer\s+\S+)"
    r"|\beyJ[-_A-Za-z0-9]{8,}\.[-_A-Za-z0-9.]+"
)
KEY_LIKE = re.compile(
    _VENDORS + r"|(?<![-_A-Za-z0-9])(?:[0-9a-f]{32}|[0-9A-F]{32})(?![-_A-Za-z0-9])"
)
"""What the keys of well-known vendors look like, those of bare hexadecimal digits included."""
_PREFIXED = re.compile(_VENDORS)
"""Without those, which look like the ids that log lines are full of."""

_MOST_ERRORS = 16
_MOST_FRAMES = 40


def without_keys(text: str) -> str:
    """Gives the text without what looks like a key and not like an id."""
    return _PREFIXED.sub("[redacted]", text)


def told_failure(exc: BaseException) -> str:
    """Gives where an exception came from and of which kinds it and its causes are.

    Not what they say: the arguments of an exception may be a prompt, an address or a key.
    """
    return "\n".join(line for error in _chain(exc) for line in _told(error))


def _told(exc: BaseException) -> Iterator[str]:
    frames = traceback.extract_tb(exc.__traceback__)[-_MOST_FRAMES:]
    yield f"{type(exc).__module__}.{type(exc).__qualname__}"
    for frame in frames:
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception, what caused it, and the members of groups; each once, a bounded number."""
    waiting: list[BaseException] = [exc]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_ERRORS:
        error = waiting.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            waiting.append(cause)
