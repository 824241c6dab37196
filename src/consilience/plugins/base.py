"""The face of a decision plugin: what a decision does to its requests beside choosing models.

A plugin is an `Editor`, which changes the request before any model is asked, or an `Answerer`,
which may have the answer in hand. Each kind is one file with its own options model (what the
configuration may say), its logic and its docstring, and one line in `PLUGINS`. Instances are made
at load, one for each decision that has the plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..chat.completion import Completion
from ..chat.request import ChatRequest


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Text = Annotated[str, AfterValidator(_not_blank), Field(json_schema_extra={"pattern": r"\S"})]
"""What a client or a model reads, as it stands."""


class PluginOptions(BaseModel):
    """Base of every kind's options: frozen, unknown keys are refused, values never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: Flag = True
    """False: the options are checked, and then nothing is done."""

    ignored_keys: ClassVar[Mapping[str, str]] = {}
    """Keys (joined by dots) that the reference knows and we do not act on, each with what is lost."""

    def warnings(self) -> Sequence[str]:
        """What of these options is accepted but not acted on, one sentence each, for people."""
        return ()


class PluginSettings(BaseModel):
    """Base of a kind's settings: what under `global` concerns all plugins of the kind. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ignored_keys: ClassVar[Mapping[str, str]] = {}
    """As `PluginOptions.ignored_keys`."""

    def warnings(self) -> Sequence[str]:
        """As `PluginOptions.warnings`."""
        return ()


@dataclass(frozen=True, slots=True)
class PluginBinding:
    """What a plugin is given beside its own options."""

    recipe: str = ""
    decision: str = ""
    context_window: int | None = None
    """Tokens; the smallest window declared of the models that the decision may call."""
    settings: PluginSettings | None = None
    """An instance of the kind's `Settings`; None for their defaults."""
    shared: Any = None
    """What `Plugin.share` gave for all plugins of the kind."""
    keyed: bool = False
    """Whether every client over HTTP has shown one of the gateway's keys."""
    user_header: str = "x-authz-user-id"
    """The request header that says who asks."""
    credential_headers: frozenset[str] = frozenset()
    """Headers that carry keys to backends; names in lower case."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came in: what an `Answerer` goes by."""

    request: ChatRequest
    headers: Mapping[str, str]
    """Of the client, names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer without a call to a model."""

    completion: Completion
    headers: Mapping[str, str] = field(default_factory=dict)
    """What it adds to the response's headers, or puts in their place."""


OptionsT = TypeVar("OptionsT", bound=PluginOptions)


class Plugin(ABC, Generic[OptionsT]):
    """One kind of plugin, bound to the options of one decision. Holds no state of a request."""

    kind: ClassVar[str]
    """`type:` of a decision's plugin."""
    Options: ClassVar[type[PluginOptions]]
    Settings: ClassVar[type[PluginSettings] | None] = None
    """What all plugins of the kind share, when there is such a thing."""
    settings_key: ClassVar[str] = ""
    """Where `Settings` stands under `global`: keys joined by dots."""

    def __init__(self, options: OptionsT, binding: PluginBinding) -> None:
        """Compiles the options.

        Raises:
            ValueError: options that cannot work, in words for the person who wrote them.
        """
        self.options = options
        self.binding = binding

    @classmethod
    def share(cls, settings: PluginSettings | None) -> Any:  # noqa: ARG003  # of use to members
        """Gives what all plugins of the kind have together, once for each configuration."""
        return None

    def warnings(self) -> Sequence[str]:
        """What of the options has no effect, one sentence each, for people."""
        return self.options.warnings()

    @abstractmethod
    def effect(self, request: ChatRequest) -> str:
        """Says in a few words what the plugin does to this request; for dry runs."""


class Editor(Plugin[OptionsT]):
    """A plugin that changes the request. Pure: no IO, no state."""

    @abstractmethod
    def edit(self, request: ChatRequest) -> ChatRequest:
        """Gives the request as it goes on; the same object when nothing changes.

        Raises:
            InvalidRequestError: nothing that could be answered would be left.
        """


class Answerer(Plugin[OptionsT]):
    """A plugin that may have the answer in hand."""

    always: ClassVar[bool] = False
    """Whether it answers every request, so that no model is ever asked."""

    @abstractmethod
    def answer(self, call: Call) -> Answer | None:
        """Gives the answer; None when models have to be asked."""

    def remarks(self, call: Call) -> Sequence[str]:
        """What of the request was accepted but not acted on; for `x-vsr-response-warnings`."""
        return ()

    def keep(self, call: Call, completion: Completion) -> None:
        """Takes note of a whole answer that models gave and in which nothing went wrong."""
