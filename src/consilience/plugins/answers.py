"""The answers that `response_cache` keeps: in memory, bounded in number, bytes and age.

Answers are kept as JSON text, so that nobody who is handed one can change it for the next.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..chat.chunks import finished_choices
from ..chat.codec import decode, encode
from ..chat.completion import Completion, Usage

ENTRY_BYTES = 1 << 20
"""The largest answer that is kept."""
_OVERHEAD_BYTES = 512
"""What an entry takes beside its text."""
_NOT_KEPT = frozenset(("id", "object", "created", "model", "choices", "usage", "fusion", "error"))


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    model: str
    usage: Usage | None
    since: float
    until: float

    @property
    def size(self) -> int:
        return len(self.data) + _OVERHEAD_BYTES


class Answers:
    """Whole answers by key. The oldest goes first, or with `lru` the one least recently used."""

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        eviction: Literal["fifo", "lru"] = "fifo",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lru = eviction == "lru"
        self._clock = clock
        self.size = 0
        """Bytes that all entries take, about."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, *, max_age_s: float | None = None) -> Completion | None:
        """Gives the answer under a key; None when there is none, or only an older one."""
        entry, now = self._entries.get(key), self._clock()
        if entry is None:
            return None
        if now >= entry.until:
            self._drop(key)
            return None
        if max_age_s is not None and now - entry.since > max_age_s:
            return None
        if self._lru:
            self._entries.move_to_end(key)
        return Completion(decode(entry.data), entry.model, entry.usage)

    def put(self, key: bytes, completion: Completion, *, ttl_s: float) -> None:
        """Keeps an answer, in place of the one that the key had; one that is too large is not."""
        body = {k: v for k, v in completion.body.items() if k not in _NOT_KEPT and v is not None}
        data = encode({**body, "choices": finished_choices(completion.body)})
        now = self._clock()
        entry = _Entry(data, completion.model, completion.usage, now, now + ttl_s)
        self._drop(key)
        if entry.size > min(ENTRY_BYTES, self._max_bytes):
            return
        self._entries[key] = entry
        self.size += entry.size
        while len(self._entries) > self._max_entries or self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size
