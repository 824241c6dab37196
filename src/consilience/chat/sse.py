"""Server-sent events: write one event, one comment, one error, the end mark; read a stream. Pure."""

from __future__ import annotations

from collections.abc import Callable

from .codec import Body, encode_line

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 1 << 20
_MARK = b"\xef\xbb\xbf"


def event(body: Body) -> bytes:
    """One `data:` event. Safe for clients that split lines by Unicode's rules."""
    return b"data: " + encode_line(body) + b"\n\n"


def comment(text: str) -> bytes:
    """One comment, which every client skips. Line ends in `text` become spaces."""
    return b": " + " ".join(text.split()).encode() + b"\n\n"


class EventTooLargeError(ValueError):
    """An event is over the limit."""


class SSEDecoder:
    """Reads a stream of bytes, cut anywhere, into the data of its events.

    Lines end at CR, LF or CRLF only. Comments, `event:`, `id:` and `retry:` are skipped. The same
    bytes give the same events however they are cut, those before an event that is too large
    included: the error comes after them.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """
        Args:
            max_event_bytes: the most that one line, and the data of one event, may have.
        """
        self._limit = max_event_bytes
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._after_cr = False
        self._over = 0
        """More than the limit once an event was."""
        self._head: bytes | None = b""
        """The first bytes, until it is known whether they are a byte order mark; then None."""

    def feed(self, piece: bytes) -> list[bytes]:
        """Takes the next bytes and gives the data of every event they complete.

        Raises:
            EventTooLargeError: one event has more bytes than the limit. Where the same bytes
                complete events before it, it is the next call that raises.
        """
        return self._carefully(self._read, piece)

    def _read(self, piece: bytes, events: list[bytes]) -> None:
        if self._head is not None:
            piece = self._without_mark(piece)
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if not piece:
            return
        self._after_cr = piece.endswith(b"\r")
        if b"\n" not in piece and b"\r" not in piece:
            self._keep(piece)
            return
        lines = b"".join((*self._partial, piece)).splitlines(keepends=True)
        self._partial, self._partial_size = [], 0
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        for line in lines:
            self._line(line.rstrip(b"\r\n"), events)
        if rest:
            self._keep(rest)

    def flush(self) -> list[bytes]:
        """Gives the last event of a stream that ended without the blank line after it.

        Raises:
            EventTooLargeError: as `feed`.
        """
        return self._carefully(self._read_end, b"")

    def _carefully(self, read: Callable[[bytes, list[bytes]], None], piece: bytes) -> list[bytes]:
        """Gives the events that were complete before one is too large; fails from then on."""
        events: list[bytes] = []
        try:
            self._check(self._over)
            read(piece, events)
        except EventTooLargeError:
            self._over = self._limit + 1
            if not events:
                raise
        return events

    def _read_end(self, _: bytes, events: list[bytes]) -> None:
        if self._head:
            self._keep(self._head)
        if self._partial:
            self._line(b"".join(self._partial), events)
            self._partial, self._partial_size = [], 0
        self._line(b"", events)

    def _without_mark(self, piece: bytes) -> bytes:
        """Takes the byte order mark off the stream's beginning; holds back what may be part of one."""
        head = (self._head or b"") + piece
        if len(head) < len(_MARK) and _MARK.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_MARK)

    def _keep(self, piece: bytes) -> None:
        self._partial.append(piece)
        self._partial_size += len(piece)
        self._check(self._partial_size)

    def _line(self, line: bytes, events: list[bytes]) -> None:
        self._check(len(line))
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._data_size = [], 0
        elif line.startswith(b"data:"):
            self._take(line[5:].removeprefix(b" "))
        elif line == b"data":
            self._take(b"")

    def _take(self, data: bytes) -> None:
        self._data.append(data)
        self._data_size += len(data) + 1
        self._check(self._data_size - 1)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLargeError(f"an event is larger than {self._limit} bytes")
