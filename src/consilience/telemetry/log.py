"""Log lines: one event name, then fields. Never a prompt, an answer or a key, at any level.

What looks like a key is taken out of every field, and of exceptions only their kinds and places
are written: what they say may be a client's text.

```python
log("request", id=request_id, status=200, ms=412)
```
prints `request id=req-1 status=200 ms=412`, or a JSON object a line with `as_json`.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from typing import Any

from .redaction import told_failure, without_keys

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request at work, for every line that is written on its behalf."""

_LOGGER = logging.getLogger("consilience")
# a library says nothing unless its user configures logging
_LOGGER.addHandler(logging.NullHandler())


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Writes one event. Fields that are None are left out; the request's id is put in front."""
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, extra={"fields": _kept(fields)})


def log_failure(event: str, exc: BaseException, **fields: Any) -> None:
    """Writes an event for an unexpected error: its kind, its causes' kinds, and where they arose."""
    # not as `exc_info`: a program's own handlers would write the words too
    extra = {"fields": _kept(fields), "failure": told_failure(exc)}
    _LOGGER.error(event, extra=extra)


def _kept(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {
        k: without_keys(v) if isinstance(v, str) else v for k, v in fields.items() if v is not None
    }
    known = request_id.get()
    return kept if known is None or "id" in kept else {"id": known, **kept}


def configure(*, as_json: bool = False, level: int = logging.INFO) -> None:
    """Sends events to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    _LOGGER.handlers[:] = [handler]
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        words = [self.formatTime(record), record.levelname.lower(), _event(record)]
        words += [f"{k}={_shown(v)}" for k, v in fields.items()]
        line, failure = " ".join(words), _failure(record)
        return f"{line}\n{failure}" if failure else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        body = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "event": _event(record),
            **getattr(record, "fields", {}),
        }
        if failure := _failure(record):
            body["exception"] = failure
        return json.dumps(body, default=str)


def _event(record: logging.LogRecord) -> str:
    """What happened; of other libraries' records, which put exceptions into further lines, the first."""
    message = record.getMessage()
    own = record.name.partition(".")[0] == _LOGGER.name
    return message if own else without_keys(message.partition("\n")[0])


def _failure(record: logging.LogRecord) -> str:
    """What is told of a record's exception, whoever wrote the record."""
    told: str = getattr(record, "failure", "")
    if not told and record.exc_info and record.exc_info[1] is not None:
        return told_failure(record.exc_info[1])
    return told


def _shown(value: object) -> str:
    text = str(value)
    # what a terminal would act on is escaped like a space: a path may hold anything
    plain = text.isprintable() and not any(c.isspace() or c == '"' for c in text)
    return text if text and plain else json.dumps(text)
