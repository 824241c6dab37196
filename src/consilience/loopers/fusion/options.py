"""Fusion's options: what a decision may set, what a request's plugin may override, and the merge.

Sources of the fields: the reference's `algorithm.fusion` block, OpenRouter's plugin, and the
contract's additions (seats, `synthesis_model`, `fallback_models`, grace, the judge's own limit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from ...rules.misfit import MisfitError
from ..base import LooperOptions

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Count = Annotated[int, Field(ge=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(gt=0, le=3600, strict=True)]
Temperature = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Dollars = Annotated[Decimal, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
ModelName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
OnError = Literal["skip", "fail"]

PLACEHOLDERS = ("{{original}}", "{{responses}}", "{{analysis}}")


def _needs_responses(template: str) -> str:
    if template.strip() and "{{responses}}" not in template:
        raise ValueError(
            "the template must contain {{responses}}; also known: {{original}}, {{analysis}}"
        )
    return template


Template = Annotated[
    str,
    AfterValidator(_needs_responses),
    Field(json_schema_extra={"pattern": r"\{\{responses\}\}|^\s*$"}),
]


def _without_nulls(model: type[BaseModel], given: object) -> object:
    """A known field that is null counts as not given, as in the reference."""
    if not isinstance(given, Mapping):
        return given
    return {k: v for k, v in given.items() if v is not None or k not in model.model_fields}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, given: object) -> object:
        return _without_nulls(cls, given)


class Seat(_Frozen):
    """One entry of a panel: a model, and what is special about asking it."""

    model: ModelName
    """Configured name. The same model may sit more than once."""
    count: Annotated[int, Field(ge=1, le=8, strict=True)] = 1
    """How many seats this entry fills; with a `seed`, each next seat gets the next seed."""
    temperature: Temperature | None = None
    """Default: the model's override, else Fusion's, else the client's."""
    seed: Annotated[int, Field(strict=True)] | None = None
    """Sampling seed."""
    max_completion_tokens: Count | None = None
    """Token limit of the answer."""
    reasoning_effort: Effort | None = None
    """Default: Fusion's."""
    system_prompt: str | None = None
    """A persona, put in front of the client's own system prompt for this seat only."""
    timeout_seconds: Seconds | None = None
    """When this seat is given up."""


class AnalysisOverride(_Frozen):
    """Sampling for every seat of one model; a seat's own settings go first."""

    model: ModelName
    """Whose seats."""
    temperature: Temperature | None = None
    """Of its panel calls."""
    max_completion_tokens: Count | None = None
    """Token limit of each of its panel calls."""


class Reasoning(_Frozen):
    """OpenRouter's `reasoning` object, passed to panel and judge."""

    effort: Effort | None = None
    """How much."""
    max_tokens: Count | None = None
    """Tokens that may be spent on it."""


class Grounding(_Frozen):
    """The reference's `grounding` block. Read and merged; scoring comes with its own issue."""

    enabled: Flag = False
    """Whether answers are to be scored."""
    reference: Literal["hybrid", "context", "panel"] = "hybrid"
    """What an answer is held against."""
    policy: Literal["weight", "annotate", "filter"] = "weight"
    """What becomes of the scores."""
    min_score: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """Below it an answer counts as unsupported."""
    min_keep: Annotated[int, Field(ge=0, strict=True)] = 1
    """Answers that are kept however low they score."""
    nli_contradiction_penalty: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 1.0
    """How much a contradiction takes from a score."""
    on_error: OnError | None = None
    """What a failed score leads to. Default: as `on_error` of Fusion."""


def _seat_entry(entry: object) -> object:
    return {"model": entry} if isinstance(entry, str) else entry


PanelEntry = Annotated[Seat, BeforeValidator(_seat_entry, json_schema_input_type=ModelName | Seat)]


class FusionOptions(LooperOptions):
    """`algorithm.fusion` of a decision."""

    model: ModelName | None = None
    """Judge, and writer of the final answer unless `synthesis_model` is set. Default: first panel model."""
    synthesis_model: ModelName | None = None
    """Writes the final answer. Default: the judge."""
    fallback_models: tuple[ModelName, ...] = ()
    """Asked in order when the judge or the synthesis fails."""
    analysis_models: tuple[PanelEntry, ...] = ()
    """The panel: names or seat objects. Default: the decision's `modelRefs`."""
    analysis_overrides: tuple[AnalysisOverride, ...] = ()
    max_concurrent: Count | None = None
    """Panel calls in flight at once. Default: all."""
    max_completion_tokens: Count | None = None
    """Token limit of each panel call, and of the judge unless it has its own."""
    judge_max_completion_tokens: Count | None = None
    """The judge's own token limit. Default: `max_completion_tokens`."""
    temperature: Temperature | None = None
    """Of panel and judge. Default: the client's for the panel, 0 for the judge."""
    reasoning: Reasoning | None = None
    """Reasoning effort of panel and judge."""
    min_successful_responses: Count | None = None
    """The quorum: enough usable answers to go on without waiting for the rest. Default: all."""
    quorum_grace_seconds: Annotated[float, Field(ge=0, le=3600, strict=True)] = 0.0
    """How long stragglers may still finish once the quorum is there."""
    round_timeout_seconds: Seconds | None = None
    """When the panel round ends, whoever has answered. Default: the panel's share of the deadline."""
    include_analysis: Flag = True
    """Whether the trace shows the judge's analysis."""
    include_intermediate_responses: Flag = True
    """Whether the trace shows the panel's answers."""
    include_reasoning: Flag = False
    """Whether the trace shows the panel's reasoning text."""
    on_error: OnError = "skip"
    """`skip` goes on with what there is when a call fails; `fail` ends the request."""
    analysis_template: Template = ""
    """Replaces the built-in judge prompt. `{{responses}}` is required in it."""
    synthesis_template: Template = ""
    """Replaces the built-in writing prompt. `{{responses}}` is required in it."""
    judge_prompt_version: str = "fusion-v1"
    """Shown in the trace; selects nothing."""
    shuffle_seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] | None = None
    """Fixes the order in which the judge sees the answers. Default: the client's `seed`, else random."""
    grounding: Grounding = Grounding()

    ignored_keys: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, given: object) -> object:
        return _without_nulls(cls, given)

    @model_validator(mode="after")
    def _overrides_are_distinct(self) -> FusionOptions:
        names = [o.model for o in self.analysis_overrides]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise MisfitError(
                f"analysis_overrides: {twice[0]!r} is duplicated; one entry per model",
                "analysis_overrides",
                certain=True,
            )
        return self

    @model_validator(mode="after")
    def _quorum_fits_the_panel(self) -> FusionOptions:
        size, quorum = panel_size(self.analysis_models), self.min_successful_responses
        if size and quorum and quorum > size:
            raise MisfitError(
                f"min_successful_responses is {quorum}, but the panel has {size}"
                f" seat{'s' if size != 1 else ''}; use 1 to {size}",
                "min_successful_responses",
                "analysis_models",
            )
        return self


class FusionPlugin(FusionOptions):
    """`plugins[]` entry with id `fusion` or `openrouter:fusion`: any option, for one request."""

    id: str
    enabled: Flag = True
    """False: the entry is checked and then ignored."""
    stream_progress: Flag = False
    """Sends what happens while deliberating as chunks without choices."""
    max_cost_usd: Dollars | None = None
    """What the request may cost at worst; refused with a 400 before anything is spent if more."""
    preset: str | None = None
    max_tool_calls: Annotated[int, Field(ge=1, le=16, strict=True)] | None = None
    tools: tuple[Mapping[str, Any], ...] | None = None

    not_acted_on: ClassVar[tuple[str, ...]] = ("preset", "max_tool_calls", "tools")
    """OpenRouter's fields that are accepted and named in `x-vsr-response-warnings`."""


PLUGIN_ONLY = frozenset(FusionPlugin.model_fields) - frozenset(FusionOptions.model_fields)


def panel_size(entries: Sequence[Seat]) -> int:
    """The number of seats that these entries fill."""
    return sum(entry.count for entry in entries)


def most_calls(options: FusionOptions, seats: Sequence[str]) -> int:
    """Gives the calls of a panel of these models, its judges and its writers, fallbacks included."""
    judge = options.model or seats[0]
    judges = {judge, *options.fallback_models}
    writers = {options.synthesis_model or judge, *options.fallback_models}
    return len(seats) + len(judges) + len(writers)


def seats_of(entries: Sequence[Seat]) -> tuple[Seat, ...]:
    """One `Seat` of count 1 per place at the table, seeds counted up within an entry."""
    return tuple(
        entry.model_copy(
            update={"count": 1, "seed": None if entry.seed is None else entry.seed + i}
        )
        for entry in entries
        for i in range(entry.count)
    )


def merge(base: FusionOptions, plugin: FusionPlugin) -> FusionOptions:
    """Lays a request's plugin over a decision's options, field by field.

    `analysis_overrides` merge per model and field, `grounding` field by field, everything else as
    a whole. A quorum that the request did not choose shrinks to the panel that it did choose.
    """
    if not plugin.enabled:
        return base
    given = plugin.model_fields_set - PLUGIN_ONLY
    changes: dict[str, Any] = {
        name: getattr(plugin, name) for name in given if getattr(plugin, name) not in (None, "")
    }
    if "analysis_models" in given and not plugin.analysis_models:
        del changes["analysis_models"]
    if "analysis_overrides" in given:
        changes["analysis_overrides"] = _merged_overrides(base, plugin)
    if "grounding" in given:
        fields = {n: getattr(plugin.grounding, n) for n in plugin.grounding.model_fields_set}
        changes["grounding"] = base.grounding.model_copy(update=fields)
    merged = base.model_copy(update=changes)
    quorum, size = merged.min_successful_responses, panel_size(merged.analysis_models)
    if "min_successful_responses" not in given and quorum and size and quorum > size:
        merged = merged.model_copy(update={"min_successful_responses": size})
    return merged


def _merged_overrides(base: FusionOptions, plugin: FusionPlugin) -> tuple[AnalysisOverride, ...]:
    by_model = {o.model: o for o in base.analysis_overrides}
    for o in plugin.analysis_overrides:
        fields = {n: getattr(o, n) for n in o.model_fields_set if getattr(o, n) is not None}
        by_model[o.model] = by_model.get(o.model, o).model_copy(update=fields)
    return tuple(by_model.values())
