"""Plugin `response_cache`: an answer that was given before is given again to an equal request.

Equal means: the same decision, the same caller, and the same body but for what does not change the
answer (`stream`, `stream_options`, `user`, `metadata`). Nothing is compared by meaning. Kept are
whole answers that say something and in which nothing went wrong; a hit makes no call. A new
configuration begins with an empty cache.

Who the caller is. `user`: the key that the client has shown and the user id that the identity
header gives, together, so that a made-up header does not reach what another key's users asked;
where every client shows a key, a request without one is not cached, and where none does, those
without a user id are one caller. `team`, `tenant`: as their headers say, which a proxy in front
has to set; a request without the header is not cached. `global`: everybody is the same caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..chat.codec import encode_sorted
from ..chat.completion import Completion, says
from ..chat.request import ChatRequest
from .answers import Answers
from .base import (
    Answer,
    Answerer,
    Call,
    Count,
    Flag,
    PluginBinding,
    PluginOptions,
    PluginSettings,
)
from .cache_control import DIRECTIVES, CacheControl, Directive, read_control

HEADERS = {"x-vsr-response-path": "cache", "x-vsr-cache-hit": "true"}
_NOT_COMPARED = frozenset(("stream", "stream_options", "user", "metadata"))
_SHARED_HEADERS = {"team": "x-authz-team-id", "tenant": "x-authz-tenant-id"}
_WHOLE = ("stop", "tool_calls", "function_call")
_EXACT = "no request is compared by meaning; equal requests alone are answered from the cache"

Seconds = Annotated[int, Field(strict=True, ge=1, le=30 * 86400)]


class ResponseCacheSettings(PluginSettings):
    """`global.stores.response_cache`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "similarity_threshold": _EXACT,
        "embedding_model": _EXACT,
        "polarity_guard": _EXACT,
        **dict.fromkeys(("milvus", "redis", "valkey", "qdrant", "hybrid"), "memory is used"),
    }

    enabled: Flag = True
    """False: no decision's cache does anything."""
    backend_type: Literal["memory", "redis", "valkey", "milvus", "qdrant", "hybrid"] = "memory"
    """All work as `memory`: answers are kept in this process."""
    max_entries: Count = 1000
    """Answers that are kept at most, of all decisions together."""
    max_bytes_mb: Annotated[int, Field(strict=True, ge=1, le=65536)] = 64
    """Memory for all answers together, in MiB. Not part of the reference."""
    ttl_seconds: Seconds = 3600
    """How long an answer is kept where the decision does not say."""
    eviction_policy: Literal["fifo", "lru"] = "fifo"
    """Which answer goes when there is no room: the oldest, or the least recently used."""

    def warnings(self) -> Sequence[str]:
        if self.backend_type == "memory":
            return ()
        return (f"`backend_type` {self.backend_type} is not acted on: answers are kept in memory",)


class RequestControls(BaseModel):
    """What a client may say about the cache."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: Flag = False
    """Whether the header below is read."""
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$", to_lower=True)] = (
        "x-vsr-cache-control"
    )
    """The request header by which a client says it."""
    allowed: tuple[Directive, ...] = DIRECTIVES
    """What counts of what a client may say."""
    max_ttl_seconds: Seconds | None = None
    """The most that a client's `ttl` may say. Default: the decision's `ttl_seconds`."""


class ResponseCacheOptions(PluginOptions):
    """`configuration` of a `response_cache`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "semantic": _EXACT,
        "personalized": "no memory or retrieval personalizes a request",
    }

    mode: Literal["exact", "semantic", "exact_then_semantic"] = "exact"
    """All work as `exact`: an equal request is answered alike."""
    scope: Literal["user", "team", "tenant", "global"] = "user"
    """Whose answers a request may get."""
    ttl_seconds: Seconds | None = None
    """Default: that of `global.stores.response_cache`."""
    request_controls: RequestControls = RequestControls()
    revision: Mapping[str, str] = {}
    """Marks of the owner; answers of another revision do not count."""

    def warnings(self) -> Sequence[str]:
        return () if self.mode == "exact" else (f"mode {self.mode} works as exact: {_EXACT}",)


class ResponseCache(Answerer[ResponseCacheOptions]):
    """Answers that were given before."""

    kind: ClassVar[str] = "response_cache"
    Options: ClassVar[type[PluginOptions]] = ResponseCacheOptions
    Settings: ClassVar[type[PluginSettings] | None] = ResponseCacheSettings
    settings_key: ClassVar[str] = "stores.response_cache"

    def __init__(self, options: ResponseCacheOptions, binding: PluginBinding) -> None:
        super().__init__(options, binding)
        own = binding.settings
        self._settings = own if isinstance(own, ResponseCacheSettings) else ResponseCacheSettings()
        shared = binding.shared
        answers = self.share(own) if shared is None else shared  # an empty one is falsy
        self._answers: Answers | None = answers if self._settings.enabled else None
        self._ttl_s = options.ttl_seconds or self._settings.ttl_seconds
        self._place = (binding.recipe, binding.decision, options.scope, dict(options.revision))

    @classmethod
    def share(cls, settings: PluginSettings | None) -> Answers:
        own = settings if isinstance(settings, ResponseCacheSettings) else ResponseCacheSettings()
        return Answers(
            max_entries=own.max_entries,
            max_bytes=own.max_bytes_mb << 20,
            eviction=own.eviction_policy,
        )

    def warnings(self) -> Sequence[str]:
        if not self._settings.enabled:
            return ("nothing is cached: global.stores.response_cache.enabled is false",)
        return self.options.warnings()

    def answer(self, call: Call) -> Answer | None:
        control = self._control(call)
        if self._answers is None or not control.reads or (key := self._key(call)) is None:
            return None
        kept = self._answers.get(key, max_age_s=control.max_age_s)
        return Answer(kept, HEADERS) if kept is not None else None

    def keep(self, call: Call, completion: Completion) -> None:
        control = self._control(call)
        if self._answers is None or not control.writes or not _is_whole(completion):
            return
        key = self._key(call)
        if key is None:
            return
        ttl_s = self._ttl_s
        if control.ttl_s is not None:
            ttl_s = min(control.ttl_s, self.options.request_controls.max_ttl_seconds or ttl_s)
        self._answers.put(key, completion, ttl_s=ttl_s)

    def remarks(self, call: Call) -> Sequence[str]:
        return [f"cache directive {word} is not acted on" for word in self._control(call).ignored]

    def effect(self, request: ChatRequest) -> str:
        if self._answers is None:
            return "is switched off"
        whose = "anybody" if self.options.scope == "global" else f"the same {self.options.scope}"
        return f"gives again what {whose} got for an equal request, up to {self._ttl_s:,} s old"

    def _control(self, call: Call) -> CacheControl:
        controls = self.options.request_controls
        said = call.headers.get(controls.header, "") if controls.enabled else ""
        return read_control(said, controls.allowed) if said else CacheControl()

    def _key(self, call: Call) -> bytes | None:
        """What an answer is kept under; None when it cannot be told whose it is."""
        caller = self._caller(call.headers)
        if caller is None:
            return None
        body = {k: v for k, v in call.request.body.items() if k not in _NOT_COMPARED}
        whose = encode_sorted([*self._place, *caller])
        return hashlib.sha256(whose + b"\n" + encode_sorted(body)).digest()

    def _caller(self, headers: Mapping[str, str]) -> tuple[str, ...] | None:
        scope = self.options.scope
        if scope == "global":
            return ()
        if scope in _SHARED_HEADERS:
            name = headers.get(_SHARED_HEADERS[scope], "").strip()
            return (name,) if name else None
        key = headers.get("authorization", "").strip()
        if self.binding.keyed and not key:
            return None
        return (key, headers.get(self.binding.user_header, "").strip())


def _is_whole(completion: Completion) -> bool:
    """Whether every choice came to its end and says something to its reader."""
    choices: Sequence[Any] = completion.body["choices"]
    return all(c.get("finish_reason") in _WHOLE and says(c["message"]) for c in choices)
