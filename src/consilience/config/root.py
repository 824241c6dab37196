"""The configuration as a whole: frozen data with the lookups that a request needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from ..errors import Problem
from .fields import Duration, Line, SecretHeader, Section
from .globals import Global
from .providers import ProviderModel, Providers, ReasoningFamily
from .routing import Entrypoint, ModelCard, Recipe, RecipeRouting, Routing

DEFAULT_RECIPE = "default"
"""The reserved name of the top-level `routing`."""


class Listener(Section):
    """Where clients connect."""

    name: Line | None = None
    """For people."""
    address: Line = "127.0.0.1"
    """An IP address or host name to bind."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 8899
    """0 lets the system choose."""
    timeout: Duration = 300.0
    """Seconds that a request may take; written as a number or as `300s`, `5m`, `1h`."""
    api_keys: tuple[SecretHeader, ...] = ()
    """Keys of which a client must send one."""

    @property
    def timeout_s(self) -> float:
        """Seconds that a request may take."""
        return self.timeout

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.address)


class Config(Section):
    """One checked configuration. Equal files give equal configs; nothing in it changes."""

    version: Literal["v0.3"] = "v0.3"
    listeners: tuple[Listener, ...] = (Listener(),)
    providers: Providers = Providers()
    routing: Routing = Routing()
    entrypoints: tuple[Entrypoint, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    global_: Annotated[Global, Field(alias="global")] = Global()

    _warnings: tuple[Problem, ...] = PrivateAttr(default=())
    _source: str = PrivateAttr(default="<built in>")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What was accepted and is not acted on, and what looks unsafe; in file order."""
        return self._warnings

    @property
    def source(self) -> str:
        """What the user called the file."""
        return self._source

    def model(self, name: str) -> ProviderModel | None:
        """Gives the configured model of this name (not a LoRA's, not a slug's)."""
        return self._models.get(name)

    def card(self, name: str) -> ModelCard | None:
        """Gives the card of a model, or of the model that a LoRA adapts."""
        return self._cards.get(self._loras.get(name, name))

    def lora_base(self, name: str) -> str | None:
        """Gives the name of the model that this LoRA adapts, None when it is no LoRA."""
        return self._loras.get(name)

    def reasoning_family(self, name: str) -> ReasoningFamily | None:
        """Gives how a model, or the model that a LoRA adapts, is told to reason; None: not at all."""
        model = self.model(self._loras.get(name, name))
        families = self.providers.defaults.reasoning_families
        return families.get(model.reasoning_family or "") if model is not None else None

    def recipe(self, name: str) -> RecipeRouting | None:
        """Gives the routing profile of a recipe; `default` is the top-level one."""
        return self._recipes.get(name)

    def entrypoint(self, name: str) -> str | None:
        """Gives the recipe that this request-facing name leads to."""
        return self._entrypoints.get(name)

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """Names of the configured models, in file order; `model` gives each. No LoRAs."""
        return tuple(self._models)

    @cached_property
    def lora_names(self) -> tuple[str, ...]:
        """Names of the LoRAs of configured models, in file order; `lora_base` gives each base."""
        return tuple(name for name, base in self._loras.items() if base in self._models)

    @cached_property
    def askable(self) -> frozenset[str]:
        """Every name that a panel, a judge or a `modelRefs` entry may have."""
        return frozenset((*self.model_names, *self.lora_names))

    @cached_property
    def slugs(self) -> frozenset[str]:
        """Names that mean a choice, not a model: auto aliases, Fusion slugs, entrypoints."""
        # A model that an entrypoint is named like stays one: the entrypoint's name is the mistake.
        return self.auto_names | self.fusion_slugs | (self._entrypoints.keys() - self.askable)

    @cached_property
    def auto_names(self) -> frozenset[str]:
        """The auto aliases."""
        return frozenset(self.global_.router.auto_names)

    @cached_property
    def fusion_slugs(self) -> frozenset[str]:
        """Names that only Fusion decisions answer."""
        return frozenset(self.global_.integrations.looper.fusion.model_names)

    @cached_property
    def _models(self) -> Mapping[str, ProviderModel]:
        return {model.name: model for model in self.providers.models}

    @cached_property
    def _cards(self) -> Mapping[str, ModelCard]:
        return {card.name: card for card in self.routing.model_cards}

    @cached_property
    def _loras(self) -> Mapping[str, str]:
        return {lora.name: card.name for card in self.routing.model_cards for lora in card.loras}

    @cached_property
    def _recipes(self) -> Mapping[str, RecipeRouting]:
        named = {recipe.name: recipe.routing for recipe in self.recipes}
        return {**named, DEFAULT_RECIPE: self.routing}

    @cached_property
    def _entrypoints(self) -> Mapping[str, str]:
        return {name: entry.recipe for entry in self.entrypoints for name in entry.model_names}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
