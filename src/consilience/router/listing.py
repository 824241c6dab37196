"""What `GET /v1/models` lists: the names that a request may use, and what stands behind each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ..config.root import DEFAULT_RECIPE, Config
from .binding import model_facts
from .table import DecisionTable

Kind = Literal["auto", "entrypoint", "fusion", "model", "lora"]
Capability = Literal["tools", "vision"]

_WORDS: Mapping[Capability, frozenset[str]] = {
    "tools": frozenset({"tools", "tool_use", "tool_calling", "function_calling", "functions"}),
    "vision": frozenset({"vision", "image", "images", "image_input", "multimodal", "omni"}),
}
"""What model cards call a capability, in lower case with `_` for `-` and space."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One name that a request may use."""

    id: str
    kind: Kind
    description: str = ""
    context_window: int | None = None
    """Tokens; of a slug the smallest that a model behind it declares. None: not declared."""
    capabilities: tuple[Capability, ...] = ()
    """What the model declares; of a slug what every model that it may call declares."""
    recipe: str | None = None
    """Of a slug: whose decisions compete."""


class Listing:
    """Reads the entries off a configuration and its tables."""

    def __init__(
        self, config: Config, tables: Mapping[str, DecisionTable], fusion: DecisionTable
    ) -> None:
        self._config = config
        self._tables = tables
        self._fusion = fusion
        self._facts = model_facts(config)

    def entries(self, *, everything: bool) -> tuple[ModelEntry, ...]:
        """Gives slugs, then models if they are to be listed; the first of a name counts."""
        entries = [*self._slugs()]
        if everything or self._config.global_.router.include_config_models_in_list:
            entries += self._models()
        return tuple({entry.id: entry for entry in reversed(entries)}.values())[::-1]

    def _slugs(self) -> Iterator[ModelEntry]:
        config = self._config
        for name in config.global_.router.auto_names:
            yield self._slug(name, "auto", "Routes each request by its content", DEFAULT_RECIPE)
        descriptions = {recipe.name: recipe.description for recipe in config.recipes}
        for entrypoint in config.entrypoints:
            text = descriptions.get(entrypoint.recipe) or f"Routes by recipe {entrypoint.recipe}"
            for name in entrypoint.model_names:
                yield self._slug(name, "entrypoint", text, entrypoint.recipe)
        for name in config.global_.integrations.looper.fusion.model_names:
            yield self._slug(name, "fusion", "A panel answers, a judge compares", DEFAULT_RECIPE)

    def _slug(self, name: str, kind: Kind, description: str, recipe: str) -> ModelEntry:
        members = self._members(kind, recipe)
        windows = [w for m in members if m in self._facts and (w := self._facts[m].context_window)]
        return ModelEntry(
            name,
            kind,
            description,
            context_window=min(windows, default=None),
            capabilities=self._shared(members),
            recipe=recipe,
        )

    def _members(self, kind: Kind, recipe: str) -> tuple[str, ...]:
        """The models that a slug may call, as far as the configuration says."""
        table = self._fusion if kind == "fusion" else self._tables[recipe]
        members = [m for b in table.decisions if b.looper for m in b.looper.models_used]
        default = self._config.providers.defaults.default_model
        if default and kind != "fusion":
            members.append(default)
        return tuple(dict.fromkeys(members))

    def _models(self) -> Iterator[ModelEntry]:
        for name in (*self._config.model_names, *self._config.lora_names):
            base = self._config.lora_base(name)
            card = self._config.card(name)
            own = {lora.name: lora.description for lora in card.loras} if card else {}
            yield ModelEntry(
                name,
                "lora" if base else "model",
                own.get(name, "") if base else (card.description if card else ""),
                context_window=self._facts[name].context_window,
                capabilities=self._declared(name),
            )

    def _declared(self, name: str) -> tuple[Capability, ...]:
        card = self._config.card(name)
        if card is None:
            return ()
        words = {_word(word) for word in (*card.capabilities, card.modality or "")}
        return tuple(capability for capability, names in _WORDS.items() if names & words)

    def _shared(self, members: Iterable[str]) -> tuple[Capability, ...]:
        declared = [set(self._declared(member)) for member in members]
        if not declared:
            return ()
        return tuple(c for c in _WORDS if all(c in each for each in declared))


def _word(text: str) -> str:
    return text.strip().lower().replace("-", "_").replace(" ", "_")
