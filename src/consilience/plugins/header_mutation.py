"""Plugin `header_mutation`: changes the headers that a request's upstream calls carry.

A client's own headers never go upstream, so this is about what the gateway sends: `extra_headers`
of a backend, and what is set here. Headers that carry keys, that belong to the connection or that
the gateway speaks for itself cannot be named. Values count as secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from ..chat.headers import HeaderChanges
from ..chat.request import ChatRequest
from .base import Editor, PluginBinding, PluginOptions

_NAMED = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(rf"{_NAMED}\Z")
_OF_THE_CONNECTION = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_CREDENTIALS = frozenset(("authorization", "api-key", "cookie", "x-api-key", "x-goog-api-key"))
_OURS = ("proxy-", "x-vsr-")


def _changeable(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError("must be the name of an HTTP header")
    lower = name.lower()
    if lower in _CREDENTIALS:
        raise ValueError(f'"{name}" carries a key: set it at the backend')
    if lower in _OF_THE_CONNECTION or lower.startswith(_OURS):
        raise ValueError(f'"{name}" is set by the gateway itself')
    return lower


def _one_line(value: SecretStr) -> SecretStr:
    if any(not 32 <= ord(c) < 256 or ord(c) == 127 for c in value.get_secret_value()):
        raise ValueError("must be one line of Latin characters, as it goes into an HTTP header")
    return value


HeaderName = Annotated[
    str, AfterValidator(_changeable), Field(json_schema_extra={"pattern": f"^{_NAMED}$"})
]
HeaderValue = Annotated[SecretStr, AfterValidator(_one_line)]


class Header(BaseModel):
    """A header and what it says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: HeaderName
    value: HeaderValue
    """One line; counts as a secret."""


class HeaderMutationOptions(PluginOptions):
    """`configuration` of a `header_mutation`."""

    add: tuple[Header, ...] = ()
    """Sent where the call has no header of the name."""
    update: tuple[Header, ...] = ()
    """Sent in any case, in place of a header of the name."""
    delete: tuple[HeaderName, ...] = ()
    """Not sent."""


class HeaderMutation(Editor[HeaderMutationOptions]):
    """Headers of the calls that a request leads to."""

    kind: ClassVar[str] = "header_mutation"
    Options: ClassVar[type[PluginOptions]] = HeaderMutationOptions

    def __init__(self, options: HeaderMutationOptions, binding: PluginBinding) -> None:
        super().__init__(options, binding)
        names = [*_names(options.add), *_names(options.update), *options.delete]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'the header "{name}" is named twice; say one thing of it')
            if name in binding.credential_headers:
                raise ValueError(f'the header "{name}" carries the key of a backend')
        self._changes = HeaderChanges(
            _values(options.add), _values(options.update), frozenset(options.delete)
        )

    def edit(self, request: ChatRequest) -> ChatRequest:
        return request.with_headers(self._changes)

    def effect(self, request: ChatRequest) -> str:
        told = {
            "adds": _names(self.options.add),
            "sets": _names(self.options.update),
            "drops": self.options.delete,
        }
        parts = [f"{verb} {', '.join(names)}" for verb, names in told.items() if names]
        return "; ".join(parts) or "changes nothing"


def _names(headers: Iterable[Header]) -> Sequence[str]:
    return tuple(header.name for header in headers)


def _values(headers: Iterable[Header]) -> dict[str, str]:
    return {header.name: header.value.get_secret_value() for header in headers}
