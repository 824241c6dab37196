"""What is known of a virtual key. The key itself is known to its owner only. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

PREFIX = "csl-"
_SECRET_BYTES = 32
_HINT_CHARS = 4


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may do. None is no limit."""

    models: Sequence[str] | None = None
    """Models and slugs that it may name."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and answer tokens of every upstream call."""
    usd_per_day: Decimal | None = None
    """Of a calendar day in UTC."""
    usd_per_month: Decimal | None = None
    """Of a calendar month in UTC."""


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A named key."""

    id: str
    """Stays the same when the key is rotated; logs and spend name it."""
    name: str
    hint: str
    """The key's last characters, by which its owner knows it."""
    created: int
    """Unix seconds, as all times here."""
    limits: KeyLimits = KeyLimits()
    expires: int | None = None
    revoked: int | None = None
    digest: bytes = field(default=b"", repr=False)
    """SHA-256 of the key."""
    former_digest: bytes | None = field(default=None, repr=False)
    """Of the key before it was rotated, which is good until `former_until`."""
    former_until: int | None = None

    def may_use(self, model: str) -> bool:
        """Whether it may name this model or slug."""
        return self.limits.models is None or model in self.limits.models

    def why_refused(self, digest: bytes, now: float) -> str | None:
        """Says why the key of this digest is no good now; None when it is.

        Args:
            digest: of what the client sent: this record's, or its former one.
            now: Unix seconds.
        """
        if self.revoked is not None:
            return "this key was revoked"
        if self.expires is not None and now >= self.expires:
            return "this key has expired"
        current = hmac.compare_digest(digest, self.digest)
        if not current and now >= (self.former_until or 0):
            return "this key was replaced by a new one"
        return None

    def status(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def as_body(self, now: float) -> dict[str, Any]:
        """Gives what people and programs may see of it."""
        limits = self.limits
        return {
            "id": self.id,
            "name": self.name,
            "key": f"{PREFIX}…{self.hint}",
            "status": self.status(now),
            "created": self.created,
            "expires": self.expires,
            "models": None if limits.models is None else list(limits.models),
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "usd_per_day": _text(limits.usd_per_day),
            "usd_per_month": _text(limits.usd_per_month),
        }


class Secret(NamedTuple):
    """A new key: to be shown once, and what is kept of it."""

    text: str
    digest: bytes
    hint: str


def new_secret() -> Secret:
    """Draws a key of 256 random bits."""
    text = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return Secret(text, digest_of(text), text[-_HINT_CHARS:])


def new_id() -> str:
    """Draws the id of a key."""
    return f"key_{secrets.token_hex(6)}"


def digest_of(key: str) -> bytes:
    """What a key is kept and compared by. A fast hash is enough for random bits."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


current_key: ContextVar[VirtualKey | None] = ContextVar("current_key", default=None)
"""The key of the request at work; None when nobody's or a listener's. Set at the edge, read where
limits hold, so that no endpoint between them can forget to pass it on."""


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")
