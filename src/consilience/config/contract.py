"""`output_contract_spec` of a decision: what the final answer must look like.

Source: vllm-sr-fusion.md 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from ..rules.misfit import MisfitError
from .fields import Line, Section


class ChoiceSet(Section):
    """The answers that are allowed."""

    values: tuple[Line, ...]
    """Distinct, whatever their letter case."""

    @model_validator(mode="after")
    def _values_are_distinct(self) -> ChoiceSet:
        folded = [value.strip().casefold() for value in self.values]
        if not folded or not all(folded):
            raise MisfitError("values must be a list of texts that are not blank", "values")
        twice = next(
            (v for v, f in zip(self.values, folded, strict=True) if folded.count(f) > 1), None
        )
        if twice is not None:
            raise MisfitError(
                f'values has "{twice}" twice; letter case does not count', "values", certain=True
            )
        return self


class JsonSchemaRef(Section):
    """The JSON shape that is demanded."""

    schema_ref: Literal["terminal_action_v1"]
    """Its name."""


class Reference(Section):
    """Which candidate answer is pointed at, and how."""

    source: Literal["", "candidate_responses"] = ""
    """What the answer points into."""
    id_format: Literal["", "index", "reference_number"] = ""
    """How it points there."""


class Render(Section):
    """How the choice is written into the answer."""

    mode: Literal["", "value", "template"] = ""
    """As it is, or in a template."""
    template: str = ""
    """Holds `{choice}`."""

    @model_validator(mode="after")
    def _template_has_its_place(self) -> Render:
        if self.mode == "template" and "{choice}" not in self.template:
            raise MisfitError("template must contain {choice} or {{choice}}", "template", "mode")
        return self


class Extract(Section):
    """Where the choice is looked for."""

    mode: Literal["", "exact", "json_object"] = ""
    """How the choice is found."""
    sources: tuple[Literal["content", "reasoning_content", "candidate_responses"], ...] = ()
    """Where, in order."""

    @model_validator(mode="after")
    def _sources_are_distinct(self) -> Extract:
        twice = next((s for s in self.sources if self.sources.count(s) > 1), None)
        if twice is not None:
            raise MisfitError(f'sources has "{twice}" twice', "sources", certain=True)
        return self


class Postprocess(Section):
    """One step after the choice is known."""

    type: Literal["dereference_selected_reference"]
    """What is done."""


class OutputContractSpec(Section):
    """A typed output contract."""

    type: Literal["", "choice", "structured_json", "reference_selection"] = ""
    """What kind of answer is demanded."""
    choice_set: ChoiceSet | None = None
    json_schema: JsonSchemaRef | None = None
    reference: Reference | None = None
    render: Render | None = None
    extract: Extract | None = None
    postprocess: tuple[Postprocess, ...] = ()

    @model_validator(mode="after")
    def _parts_fit_the_type(self) -> OutputContractSpec:
        if not self.type and not self.postprocess:
            raise ValueError("type is needed: choice, structured_json or reference_selection")
        if self.type == "choice" and self.choice_set is None:
            raise MisfitError("type choice needs `choice_set.values`", "type", "choice_set")
        if self.type == "structured_json" and self.json_schema is None:
            raise MisfitError(
                "type structured_json needs `json_schema.schema_ref`", "type", "json_schema"
            )
        if self.postprocess and self.type != "reference_selection":
            message = "postprocess works only with type reference_selection"
            raise MisfitError(message, "postprocess", "type")
        mode = self.extract.mode if self.extract else ""
        if mode == "json_object" and self.type != "structured_json":
            message = "extract mode json_object works only with type structured_json"
            raise MisfitError(message, "extract", "type")
        return self


def _as_mapping(spec: OutputContractSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_unset=True)


if TYPE_CHECKING:
    OutputContract = Mapping[str, Any]
else:
    OutputContract = Annotated[OutputContractSpec, AfterValidator(_as_mapping)]
"""A checked contract as the plain mapping that loopers take."""
