"""What an upstream said: whole answers, chunks, error bodies and `Retry-After`. Pure."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..chat.codec import Body, decode, encode
from ..chat.completion import Completion, Usage
from ..errors import UpstreamError, UpstreamProtocolError

_SAFE_NESTING = 200


def parse_completion(raw: bytes, model: str, content_type: str) -> Completion:
    """Reads a whole answer.

    Raises:
        UpstreamProtocolError: it is not a chat completion.
    """
    if content_type in ("text/html", "text/event-stream"):
        raise UpstreamProtocolError(
            f"answered with {content_type} instead of JSON", model=model, reason="content_type"
        )
    try:
        body = decode(raw)
    except ValueError:
        raise UpstreamProtocolError("the answer is not valid JSON", model=model) from None
    if not isinstance(body, dict):
        raise UpstreamProtocolError("the answer is not a JSON object", model=model)
    _check_error(body, model)
    _check_nesting(raw, body, model)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise UpstreamProtocolError("the answer has no choices", model=model)
    if not all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        raise UpstreamProtocolError("a choice of the answer has no message", model=model)
    return Completion(body, model, Usage.from_body(body.get("usage")))


def parse_chunk(data: bytes, model: str) -> Body:
    """Reads one event's data as a chunk.

    Raises:
        UpstreamError: it is not a JSON object, or it reports an error.
    """
    try:
        chunk = decode(data)
    except ValueError:
        raise UpstreamProtocolError("an event of the stream is not JSON", model=model) from None
    if not isinstance(chunk, dict):
        raise UpstreamProtocolError("an event of the stream is not an object", model=model)
    _check_error(chunk, model)
    _check_nesting(data, chunk, model)
    if not isinstance(chunk.get("choices") or [], list):
        raise UpstreamProtocolError("an event's choices are not an array", model=model)
    return chunk


def rejected_param(raw: bytes) -> str | None:
    """The request field that an error body names, if it is a plain field name."""
    try:
        body = decode(raw)
    except ValueError:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    if isinstance(param, str) and len(param) <= 64:
        return param.split(".", 1)[0]
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); else None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        if 0 <= seconds < 86_400:
            return seconds
    try:
        when = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, min((when - datetime.now(UTC)).total_seconds(), 86_400.0))


def _check_error(body: Mapping[str, Any], model: str) -> None:
    choices = body.get("choices")
    failed = isinstance(choices, list) and any(
        isinstance(c, dict) and c.get("finish_reason") == "error" for c in choices
    )
    if failed or body.get("error"):
        raise UpstreamError(
            "reported an error in place of an answer", model=model, reason="error_body"
        )


class Ends:
    """Which choices of a streamed answer have begun, and which have come to their end."""

    def __init__(self, wanted: int = 1) -> None:
        """
        Args:
            wanted: how many choices were asked for.
        """
        self._wanted = wanted
        self._open: set[Any] = set()
        self._finished: set[Any] = set()

    def note(self, chunk: Body) -> None:
        """Takes in a chunk."""
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            at = index if isinstance(index, int) else 0
            if choice.get("finish_reason"):
                self._finished.add(at)
                self._open.discard(at)
            elif at not in self._finished:
                self._open.add(at)

    @property
    def all_there(self) -> bool:
        """Whether every choice that began has said why it ended, and as many did as were wanted."""
        return len(self._finished) >= self._wanted and not self._open


def _check_nesting(raw: bytes, body: Body, model: str) -> None:
    """Refuses what can be read but not written again: parsers nest deeper than encoders."""
    if raw.count(b"[") + raw.count(b"{") < _SAFE_NESTING:
        return
    try:
        encode(body)
    except ValueError:
        raise UpstreamProtocolError("the answer is nested too deeply", model=model) from None


def says_something(chunk: Body) -> bool:
    """Whether a chunk has more to say than whose turn it is."""
    choices = chunk.get("choices")
    if not choices:
        return bool(chunk.get("usage"))
    return any(_speaks(choice) for choice in choices)


def _speaks(choice: object) -> bool:
    if not isinstance(choice, dict):
        return True
    delta = choice.get("delta")
    if choice.get("finish_reason") or not isinstance(delta, dict):
        return True
    return any(value for name, value in delta.items() if name != "role")
