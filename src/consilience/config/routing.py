"""`routing`: model cards, signals and decisions; and the named recipes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from ..decisions.projections import KIND as PROJECTION
from ..decisions.projections import Projections
from ..rules.grammar import Combination, Condition, RuleNode
from ..signals import SIGNALS
from ..signals.base import SignalRule
from .algorithm import Algorithm
from .contract import OutputContract
from .fields import Flag, Line, Name, NotNegative, Number, Positive, Section, Whole
from .plugins import DecisionPlugin

KINDS: Mapping[str, str] = {signal.kind: signal.config_key for signal in SIGNALS}
"""Signal kind (`type:` of a condition) to the list that declares it."""


class Lora(Section):
    """An adapter that a model's backends have loaded."""

    name: Name
    """What decisions and clients call it, and what is sent upstream."""
    description: str = ""
    """For people; `/v1/models` shows it."""


class ModelCard(Section):
    """What is known about a model. Decisions and panels go by it, backends do not."""

    name: Name
    """A model of `providers.models`."""
    param_size: Line | None = None
    """For people."""
    context_window_size: Positive | None = None
    """Tokens that prompt and answer may have together."""
    description: str = ""
    """For people; `/v1/models` shows it."""
    capabilities: tuple[Line, ...] = ()
    """What it can do: tools, vision and the like."""
    loras: tuple[Lora, ...] = ()
    quality_score: Number | None = None
    """0 to 1, as its owner judges it."""
    modality: Line | None = None
    """What it works on: text, image and the like."""
    tags: tuple[Line, ...] = ()
    """For people."""


class ModelRef(Section):
    """A model that a decision may use."""

    model: Name
    """A model of `providers.models`, or a LoRA."""
    lora_name: Name | None = None
    """An adapter of the model, asked in its place."""
    weight: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    """Share of the conversations of a plain route; 0: it only stands in. Fusion has no use for it."""
    use_reasoning: Flag | None = None
    """Whether the model is told to reason. None: it is told so only if an effort is named."""
    reasoning_effort: Line | None = None
    """How much. Default: `providers.defaults.default_reasoning_effort`."""
    reasoning_description: str = ""
    """For people."""

    @property
    def target(self) -> str:
        """The name that is asked: the adapter's when there is one."""
        return self.lora_name or self.model

    @property
    def reasons(self) -> bool | None:
        """Whether the model is told to reason; None when nothing is said of it."""
        if self.use_reasoning is None:
            return None if self.reasoning_effort is None else True
        return self.use_reasoning


class Decision(Section):
    """A route's policy: when it applies, which models it has, and what is done with them."""

    name: Name
    """Shown in headers, traces and logs."""
    description: str = ""
    """For people."""
    priority: Whole = 0
    """The bigger wins."""
    tier: NotNegative = 0
    """The smaller wins, as soon as any matched decision has one above 0."""
    rules: RuleNode | None = None
    """None always matches, with confidence 0."""
    model_refs: Annotated[tuple[ModelRef, ...], Field(alias="modelRefs")] = ()
    """Of a plain route: one is drawn if any has a `weight`, else the first is asked; the others
    stand in, in order. Of Fusion: the panel, unless `analysis_models` names it."""
    algorithm: Algorithm | None = None
    """None: one of `modelRefs` answers; see there."""
    plugins: tuple[DecisionPlugin, ...] = ()
    """What is done with its requests beside; at most one of a type."""
    output_contract: str = ""
    """Appended to the final prompt."""
    output_contract_spec: OutputContract | None = None
    """What the final answer must look like, as a checked mapping."""
    annotations: Annotated[Mapping[str, Any], Field(repr=False)] = {}
    """Free notes of the owner, at most 32."""


class SignalsBase(Section):
    """`signals`: one list of rules for each kind; see `routing.KINDS`."""

    def rules_of(self, kind: str) -> tuple[SignalRule, ...]:
        """Gives the rules of a kind in order; none when the kind is not known."""
        rules: tuple[SignalRule, ...] = getattr(self, KINDS[kind]) if kind in KINDS else ()
        return rules

    @cached_property
    def names(self) -> Mapping[str, frozenset[str]]:
        """Names that conditions may use, by kind: what the rules emit."""
        return {
            kind: frozenset(name for rule in self.rules_of(kind) for name in rule.emits())
            for kind in KINDS
        }


def _derive_signals() -> type[SignalsBase]:
    fields: dict[str, Any] = {
        signal.config_key: (
            GenericAlias(tuple, (signal.Rule, ...)),
            Field(default=(), description=signal.__doc__),
        )
        for signal in SIGNALS
    }
    return create_model(
        "Signals",
        __base__=SignalsBase,
        __module__=__name__,
        __doc__="`signals`: one list of rules for each kind that this version evaluates.",
        **fields,
    )


if TYPE_CHECKING:
    Signals = SignalsBase
else:
    Signals = _derive_signals()


class RecipeRouting(Section):
    """A routing profile: its own signals, projections and decisions."""

    strategy: Literal["priority", "confidence"] = "priority"
    """What counts first among decisions that match."""
    signals: Signals = Signals()
    projections: Projections = Projections()
    decisions: tuple[Decision, ...] = ()

    @cached_property
    def names(self) -> Mapping[str, frozenset[str]]:
        """Names that conditions may use, by kind: of signals, and of projections."""
        return {**self.signals.names, PROJECTION: frozenset(self.projections.outputs)}


class Routing(RecipeRouting):
    """`routing`: the default profile, and the model cards that all profiles share."""

    model_cards: Annotated[tuple[ModelCard, ...], Field(alias="modelCards")] = ()


class Recipe(Section):
    """A named profile, reached through an entrypoint."""

    name: Name
    """What entrypoints call it."""
    description: str = ""
    """For people."""
    routing: RecipeRouting = RecipeRouting()


class Entrypoint(Section):
    """Request-facing names that lead to a recipe."""

    model_names: Annotated[tuple[Name, ...], Field(min_length=1)]
    """What clients put into `model`."""
    recipe: Name
    """A recipe's name, or `default` for the top-level routing."""


__all__ = [
    "KINDS",
    "Combination",
    "Condition",
    "Decision",
    "Entrypoint",
    "Lora",
    "ModelCard",
    "ModelRef",
    "Recipe",
    "RecipeRouting",
    "Routing",
    "Signals",
]
