"""`plugins` of a decision: a type, and the configuration that the type takes. Derived from `PLUGINS`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, create_model

from ..plugins import PLUGINS, UNAVAILABLE
from ..plugins.base import Answerer, PluginOptions
from .fields import Section

OPTIONS: Mapping[str, type[PluginOptions]] = {plugin.kind: plugin.Options for plugin in PLUGINS}
"""Options model of each plugin, by `type`."""

_ANSWERING = {p.kind for p in PLUGINS if issubclass(p, Answerer) and p.always}

TYPES = (*OPTIONS, *UNAVAILABLE)
"""Types that a plugin may have."""


class DecisionPluginBase(Section):
    """What every plugin has."""

    type: str
    """What it is; each type has its own configuration."""

    @property
    def options(self) -> PluginOptions | None:
        """Its configuration; None when this version does not act on the type."""
        return None

    @property
    def answers(self) -> bool:
        """Whether it answers every request, so that the decision needs no model."""
        return False


class OtherPlugin(DecisionPluginBase):
    """A plugin whose type this version does not act on, or does not know."""

    type: Literal[TYPES]  # type: ignore[valid-type]  # a tuple of literals, listed once
    configuration: Annotated[Mapping[str, Any], Field(repr=False)] = {}
    """Not read."""


class OwnPlugin(DecisionPluginBase):
    """A plugin that this version acts on."""

    configuration: PluginOptions
    """What the type takes."""

    @property
    def options(self) -> PluginOptions:
        return self.configuration

    @property
    def answers(self) -> bool:
        return self.configuration.enabled and self.type in _ANSWERING


def _entry(kind: str, options: type[PluginOptions]) -> Any:
    needed = any(field.is_required() for field in options.model_fields.values())
    fields: dict[str, Any] = {
        "type": (Literal[kind], ...),
        "configuration": (options, ... if needed else options()),
    }
    model = create_model(
        f"DecisionPlugin_{kind}",
        __base__=OwnPlugin,
        __module__=__name__,
        __doc__=f"A plugin of type `{kind}`.",
        **fields,
    )
    return Annotated[model, Tag(kind)]


def _tag(entry: Any) -> str:
    kind = entry.get("type") if isinstance(entry, Mapping) else getattr(entry, "type", None)
    return kind if isinstance(kind, str) and kind in OPTIONS else "other"


if TYPE_CHECKING:
    DecisionPlugin = DecisionPluginBase
else:
    _ENTRIES = [Annotated[OtherPlugin, Tag("other")], *(_entry(k, o) for k, o in OPTIONS.items())]
    DecisionPlugin = Annotated[reduce(or_, _ENTRIES), Discriminator(_tag)]
