"""The plugins of one decision, in the one order in which they act: that of the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..chat.completion import Completion
from ..chat.request import ChatRequest
from ..errors import ConsilienceError
from ..telemetry.log import log_failure
from .base import Answer, Answerer, Call, Editor, Plugin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Edited:
    """A request as it goes on."""

    request: ChatRequest
    warnings: Sequence[str] = ()
    """What went wrong on the way, for the client. A plugin that fails is left out."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking for an answer in hand."""

    answer: Answer | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PluginChain:
    """What a decision does to its requests beside choosing models. Holds no state of a request."""

    plugins: Sequence[Plugin[Any]] = ()
    """Those that are enabled, in the order of the registry."""

    def look(self, call: Call) -> Looked:
        """Looks for an answer that needs no model; the first plugin that has one gives it."""
        told: list[str] = []
        for plugin in self.plugins:
            if isinstance(plugin, Answerer):
                told += _tried(plugin, plugin.remarks, call, otherwise=(), told=told)
                answer = _tried(plugin, plugin.answer, call, otherwise=None, told=told)
                if answer is not None:
                    return Looked(answer, distinct(told))
        return Looked(None, distinct(told))

    def edited(self, request: ChatRequest) -> Edited:
        """Gives the request as models are to be asked.

        Raises:
            InvalidRequestError: nothing that could be answered would be left.
        """
        told: list[str] = []
        for plugin in self.plugins:
            if isinstance(plugin, Editor):
                request = _tried(plugin, plugin.edit, request, otherwise=request, told=told)
        return Edited(request, distinct(told))

    def keep(self, call: Call, completion: Completion) -> None:
        """Shows a whole answer, in which nothing went wrong, to who may want to keep it."""
        for plugin in self.plugins:
            if isinstance(plugin, Answerer):
                _tried(plugin, plugin.keep, call, completion, otherwise=None, told=[])

    @property
    def keeps(self) -> bool:
        """Whether anybody may want to keep an answer."""
        return any(
            isinstance(p, Answerer) and type(p).keep is not Answerer.keep for p in self.plugins
        )

    @property
    def answers(self) -> bool:
        """Whether every request is answered without a model."""
        return any(isinstance(plugin, Answerer) and plugin.always for plugin in self.plugins)

    def effects(self, request: ChatRequest) -> Sequence[tuple[str, str]]:
        """Says of each plugin, by its kind, what it does to this request; for dry runs.

        Raises:
            InvalidRequestError: as `edited`.
        """
        effects = []
        for plugin in self.plugins:
            effect = _tried(plugin, plugin.effect, request, otherwise="fails", told=[])
            effects.append((plugin.kind, effect))
            if isinstance(plugin, Editor):
                request = _tried(plugin, plugin.edit, request, otherwise=request, told=[])
        return tuple(effects)


NO_PLUGINS = PluginChain()


def distinct(words: Iterable[str]) -> Sequence[str]:
    """Gives each once, in order."""
    return tuple(dict.fromkeys(words))


def _tried(
    plugin: Plugin[Any], act: Callable[..., T], *given: Any, otherwise: T, told: list[str]
) -> T:
    """What a plugin gives. When it fails, which must not cost the request: something else."""
    try:
        return act(*given)
    except ConsilienceError:  # the client's own mistake
        raise
    except Exception as exc:  # a fault of ours: the log and the client are told
        log_failure("plugin_failed", exc, plugin=plugin.kind, decision=plugin.binding.decision)
        told.append(f"plugin {plugin.kind} failed and was left out")
        return otherwise
