"""A client's chat-completions request: parsed once, checked where we read it, otherwise untouched.

Only the fields that this gateway acts on are checked. Everything else, fields nobody here has
heard of included, stays as the client wrote it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidRequestError
from .codec import Body, decode
from .headers import HeaderChanges

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_DEPTH = 64
"""How deep a body may nest. Tool schemas seldom pass 20; encoders give up at 254."""

FORBIDDEN_FIELDS = (
    *("api_base", "base_url", "api_key", "api_version", "organization", "custom_llm_provider"),
    *("headers", "extra_headers", "default_headers", "extra_query", "default_query"),
    *("azure_endpoint", "azure_ad_token", "azure_deployment", "custom_host", "proxy", "proxies"),
    *("vertex_credentials", "vertex_project", "vertex_location", "vertex_ai_credentials"),
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_profile_name"),
    *("aws_role_name", "aws_region_name", "aws_bedrock_runtime_endpoint", "watsonx_url"),
    *("litellm_params", "litellm_credential_name", "model_list", "user_config", "authorization"),
    *("access_token", "endpoint_url", "default_api_base", "api_token", "auth_token"),
)
"""Fields by which client libraries and other gateways let a client choose where a call goes, or with
which key. The operator alone decides that here: a body with one of them is refused rather than half
obeyed, in whatever spelling (`baseURL`), and in the fields that gateways unfold, too."""

_UNFOLDED = ("extra_body", "fallbacks", "provider", "optional_params")
"""Fields whose content other gateways treat like the body's own fields."""

Message = Mapping[str, Any]

gateways_passed: ContextVar[int] = ContextVar("gateways_passed", default=1)
"""`ChatRequest.depth` of the request at work, for the calls that signals make on its behalf: a loop
through helper models ends like any other."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat-completions request body, immutable; copies share what they do not change."""

    body: Body
    depth: int = 0
    """How many Fusion gateways the request has gone through when it reaches an upstream; 0: none."""
    headers: HeaderChanges | None = None
    """What is different about the headers of its upstream calls; None: nothing."""
    reworded: bool = False
    """Whether it asks in other words for what the model has just refused: not a further call that was
    planned, but the same one once more."""

    @classmethod
    def parse(cls, raw: bytes | bytearray, *, max_messages: int = 2000) -> ChatRequest:
        """Reads a request body.

        Raises:
            InvalidRequestError: with `param` naming the field.
        """
        return cls.from_body(decode_body(raw), max_messages=max_messages)

    @classmethod
    def from_body(cls, body: object, *, max_messages: int = 2000) -> ChatRequest:
        """Checks an already decoded body; see `parse`."""
        if not isinstance(body, Mapping):
            raise InvalidRequestError(f"the body must be a JSON object, not {_kind(body)}")
        _check_depth(body)
        _check_targets(body, "")
        for name in _UNFOLDED:
            _check_unfolded(body.get(name), name)
        _check_fields(body)
        _check_messages(body.get("messages"), max_messages)
        return cls(body)

    @property
    def model(self) -> str:
        """The requested model, slug or alias, without surrounding space."""
        return str(self.body["model"]).strip()

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation, as sent."""
        messages: Sequence[Message] = self.body["messages"]
        return messages

    @property
    def stream(self) -> bool:
        """Whether the client asked for server-sent events."""
        return self.body.get("stream") is True

    @property
    def include_usage(self) -> bool:
        """Whether a stream should end with a usage chunk."""
        options = self.body.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """The request's `plugins` entries, as sent; empty when there are none."""
        return self.body.get("plugins") or ()

    @property
    def user_text(self) -> str:
        """The text of the last user message; the other messages' text when there is none."""
        for message in reversed(self.messages):
            if message["role"] == "user":
                return text_of(message)
        return "\n".join(filter(None, map(text_of, self.messages)))

    def plugin(self, ids: Collection[str]) -> Mapping[str, Any] | None:
        """Gives the first `plugins` entry whose id is one of `ids`."""
        return next((entry for entry in self.plugins if entry["id"].strip() in ids), None)

    def without_plugins(self, ids: Collection[str]) -> ChatRequest:
        """Takes entries with these ids out; the field goes when nothing is left in it."""
        if not self.plugins:
            return self.without(("plugins",)) if "plugins" in self.body else self
        rest = [entry for entry in self.plugins if entry["id"].strip() not in ids]
        return self.replace(plugins=rest) if rest else self.without(("plugins",))

    def replace(self, **fields: Any) -> ChatRequest:
        """Gives a copy with these fields set. Values are shared, not copied."""
        return ChatRequest({**self.body, **fields}, self.depth, self.headers)

    def without(self, names: Collection[str]) -> ChatRequest:
        """Gives a copy without these fields."""
        body = {k: v for k, v in self.body.items() if k not in names}
        return ChatRequest(body, self.depth, self.headers)

    def at_depth(self, depth: int) -> ChatRequest:
        """Gives a copy that is sent on with this depth."""
        return ChatRequest(self.body, depth, self.headers)

    def with_headers(self, changes: HeaderChanges) -> ChatRequest:
        """Gives a copy whose upstream calls carry changed headers."""
        return ChatRequest(self.body, self.depth, changes)

    def in_other_words(self) -> ChatRequest:
        """Gives it as one that says anew what was just refused."""
        return ChatRequest(self.body, self.depth, self.headers, reworded=True)

    def with_user_text(self, text: str) -> ChatRequest:
        """Appends text to the last user turn, or as a new user turn when the last is not the user's.

        So no two user turns follow each other, which strict chat templates refuse.
        """
        messages = list(self.messages)
        if messages and messages[-1]["role"] == "user":
            messages[-1] = append_text(messages[-1], text)
        else:
            messages.append({"role": "user", "content": text})
        return self.replace(messages=messages)

    def with_turns(self, *turns: Message) -> ChatRequest:
        """Gives a copy with these messages appended."""
        return self.replace(messages=[*self.messages, *turns])

    def with_instruction(self, text: str) -> ChatRequest:
        """Puts a system instruction in front of the conversation, before the client's own one."""
        messages = list(self.messages)
        if messages and messages[0]["role"] in ("system", "developer"):
            own = messages[0]
            content = own.get("content")
            if isinstance(content, str):
                messages[0] = {**own, "content": f"{text}\n\n{content}"}
            else:
                messages[0] = {**own, "content": [{"type": "text", "text": text}, *(content or ())]}
        else:
            messages.insert(0, {"role": "system", "content": text})
        return self.replace(messages=messages)


def decode_body(raw: bytes | bytearray) -> object:
    """Parses a request body that should be JSON.

    Raises:
        InvalidRequestError: it is not.
    """
    try:
        return decode(raw)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"the body is not valid JSON: {_json_reason(exc)}") from None


def text_of(message: Message) -> str:
    """The text of a message: its string content, or its text parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (p.get("text") for p in content if isinstance(p, Mapping))
        return "\n".join(p for p in parts if isinstance(p, str))
    return ""


def append_text(message: Message, text: str) -> Message:
    """Gives the message with `text` after a blank line (string) or as one more part (parts)."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{text}" if content.strip() else text}
    return {**message, "content": [*(content or ()), {"type": "text", "text": text}]}


def _check_fields(body: Body) -> None:
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise InvalidRequestError("'model' is required: a non-empty string", param="model")
    for name, (claim, holds) in _FIELD_RULES.items():
        value = body.get(name)
        if value is not None and not holds(value):
            raise InvalidRequestError(f"{name!r} must be {claim}, not {_shown(value)}", param=name)
    _check_metadata(body.get("metadata"))
    for i, entry in enumerate(body.get("plugins") or ()):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
            raise InvalidRequestError(
                f"plugins[{i}] must be an object with a string 'id'", param=f"plugins[{i}]"
            )


def squeezed(name: str) -> str:
    """Gives what the spellings of one name have in common: `baseURL`, `base-url`, `BASE_URL`."""
    return name.strip().lower().replace("_", "").replace("-", "")


_SQUEEZED = frozenset(map(squeezed, FORBIDDEN_FIELDS))
_LONGEST_FORBIDDEN = 2 * max(map(len, FORBIDDEN_FIELDS))


def _check_targets(fields: Mapping[str, Any], within: str) -> None:
    """Refuses fields that would choose where a call goes, or with which key."""
    for name in fields:
        if len(name) > _LONGEST_FORBIDDEN:
            continue
        if squeezed(name) in _SQUEEZED:
            where = f"{within}.{name}" if within else name
            raise InvalidRequestError(
                f"{where!r} is not accepted: the gateway's configuration decides where calls go",
                param=where,
            )


def _check_unfolded(value: object, within: str) -> None:
    """`_check_targets` for everything inside a value. Its depth was checked."""
    if isinstance(value, Mapping):
        _check_targets(value, within)
        for name, inner in value.items():
            if isinstance(inner, Mapping | list):
                _check_unfolded(inner, f"{within}.{name[:40]}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_unfolded(inner, f"{within}[{i}]")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, Mapping):
        return
    if len(metadata) > 32:
        raise InvalidRequestError("'metadata' may have at most 32 entries", param="metadata")
    for key, value in metadata.items():
        where = f"metadata.{key[:64]}"
        if not isinstance(value, str):
            raise InvalidRequestError(f"{where} must be a string, not {_kind(value)}", param=where)
        if len(key.encode()) > 128 or len(value.encode()) > 1024:
            raise InvalidRequestError(
                f"{where} is too long: at most 128 bytes of key and 1024 of value", param=where
            )


def _check_messages(messages: object, limit: int) -> None:
    if messages is None:
        raise InvalidRequestError("'messages' is required: a non-empty array", param="messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise InvalidRequestError(
            f"'messages' must be a non-empty array, not {_shown(messages)}", param="messages"
        )
    if len(messages) > limit:
        raise InvalidRequestError(
            f"'messages' has {len(messages)} entries; at most {limit} are accepted",
            param="messages",
        )
    for i, message in enumerate(messages):
        _check_message(message, f"messages[{i}]")
    if not any(map(_says_something, messages)):
        raise InvalidRequestError(
            "every message is empty: there is nothing to answer", param="messages"
        )


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, Mapping):
        raise InvalidRequestError(f"{where} must be an object, not {_kind(message)}", param=where)
    if message.get("role") not in ROLES:
        raise InvalidRequestError(
            f"{where}.role must be one of {', '.join(ROLES)}, not {_shown(message.get('role'))}",
            param=f"{where}.role",
        )
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, Sequence):
        raise InvalidRequestError(
            f"{where}.content must be a string, an array of parts or null, not {_kind(content)}",
            param=f"{where}.content",
        )
    for k, part in enumerate(content):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidRequestError(
                f"{where}.content[{k}] must be an object with a string 'type'",
                param=f"{where}.content[{k}]",
            )


def _says_something(message: Message) -> bool:
    content = message.get("content")
    if isinstance(content, str):
        return bool(content.strip())
    if content:
        return any(p["type"] != "text" or str(p.get("text") or "").strip() for p in content)
    return bool(message.get("tool_calls") or message.get("function_call"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_FIELD_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "stream": ("true or false", lambda v: isinstance(v, bool)),
    "stream_options": ("an object", lambda v: isinstance(v, Mapping)),
    "temperature": ("a number of at least 0", _is_number),
    "max_tokens": ("an integer of at least 1", _is_count),
    "max_completion_tokens": ("an integer of at least 1", _is_count),
    "n": ("an integer of at least 1", _is_count),
    "best_of": ("an integer of at least 1", _is_count),
    "tools": ("an array", _is_list),
    "plugins": ("an array", _is_list),
    "metadata": ("an object of strings", lambda v: isinstance(v, Mapping)),
    "response_format": ("an object", lambda v: isinstance(v, Mapping)),
}


def _check_depth(body: object) -> None:
    level: Iterable[object] = [body]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                deeper.extend(v for v in value.values() if isinstance(v, dict | list))
            elif isinstance(value, list):
                deeper.extend(v for v in value if isinstance(v, dict | list))
        if not deeper:
            return
        level = deeper
    raise InvalidRequestError(f"the body is nested more than {MAX_DEPTH} levels deep")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "an array"


def _shown(value: object) -> str:
    """A value for an error message: short ones as they are, long ones by kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:32]
    if isinstance(value, str) and len(value) <= 40:
        return repr(value)
    if isinstance(value, list) and not value:
        return "an empty array"
    return _kind(value)


def _json_reason(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    # the parser's own words name a line and a column, never the text
    return str(exc).split("\n", 1)[0]
