"""The JSON Schema of a configuration file, for editors. Derived from the models.

It is true to the shapes that `consilience check` accepts: short forms, variables in the place of
numbers and words, keys without a value, keys that are known and not acted on. Names that must
exist elsewhere in the file are beyond it, and so is whatever rests on more than one key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ..plugins import UNAVAILABLE
from ..rules.grammar import Combination, Condition
from .condition_checks import SECTIONS
from .field_docs import field_docs
from .known_keys import HOLLOW, IGNORED
from .plugins import OtherPlugin
from .root import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:consilience:config:v0.3"

_Node = dict[str, Any]

_VARIABLE = r"\$(?:\$|\{?[A-Za-z_])"
"""A text with a variable in it, which may come to anything. See `environment`."""
_NUMBERS = ("integer", "number", "boolean")
_IN_TEXT = {
    "boolean": "^(?:[Tt]rue|TRUE|[Ff]alse|FALSE|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$",
    "integer": r"^[-+]?[0-9]+$",
    "number": r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$",
}
_IS_NOT = {"properties": {"operator": {"pattern": "^[Nn][Oo][Tt]$"}}, "required": ["operator"]}
_HAS_ONE_CHILD = {
    "properties": {"conditions": {"minItems": 1, "maxItems": 1}},
    "required": ["conditions"],
}


def config_schema() -> dict[str, Any]:
    """Gives the schema: draft 2020-12, the same for the same version of this package."""
    schema = Config.model_json_schema(schema_generator=_Generator)
    for node in (schema, *schema["$defs"].values()):
        _loosen(node)
    for pattern, lost in {**IGNORED, **HOLLOW}.items():
        told = {"deprecated": True, "description": f"Not acted on: {lost}."}
        for section in _sections_at(schema, pattern[:-1]):
            section["properties"][pattern[-1]] = told
    head = {
        "$schema": DIALECT,
        "$id": ID,
        "title": "Consilience configuration",
        "description": "The configuration file of Consilience; `consilience check FILE` tells more.",
    }
    return {**head, **{k: v for k, v in schema.items() if k not in head}}


class _Generator(GenerateJsonSchema):
    """Pydantic's schema with the fields' docstrings, and without what says nothing to people."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        made = super().default_schema(schema)
        # What is absent is `null` everywhere; sections and lists have their defaults inside.
        if made.get("default") is None or isinstance(made["default"], dict | list):
            made.pop("default", None)
        return made

    def bool_schema(self, schema: core_schema.BoolSchema) -> dict[str, Any]:
        return _as_text_too(super().bool_schema(schema), schema)

    def int_schema(self, schema: core_schema.IntSchema) -> dict[str, Any]:
        return _as_text_too(super().int_schema(schema), schema)

    def float_schema(self, schema: core_schema.FloatSchema) -> dict[str, Any]:
        return _as_text_too(super().float_schema(schema), schema)

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> dict[str, Any]:
        number = {"minimum": schema.get("ge"), "maximum": schema.get("le")}
        bounds = {k: float(v) for k, v in number.items() if v is not None}
        return _as_text_too({"type": "number", **bounds}, schema)

    def encode_default(self, dft: Any) -> Any:
        encoded = super().encode_default(dft)
        return float(encoded) if type(dft).__name__ == "Decimal" else encoded

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        made, model = super().model_schema(schema), schema["cls"]
        made.pop("title", None)
        made["description"] = _for_people(made.get("description", ""))
        docs = field_docs(model)
        if "properties" not in made:
            return made  # a model that is a list
        for name, field in model.model_fields.items():
            node = made["properties"][field.alias or name]
            told = field.description or docs.get(name)
            if told:
                node["description"] = _for_people(told)
        if model is Condition:
            made["properties"]["type"]["enum"] = [*SECTIONS]
        if model is OtherPlugin:  # it has the other types only to name them all in a message
            made["properties"]["type"]["enum"] = [*UNAVAILABLE]
        if model is Combination:
            # `operator: AND` alone is one of no conditions; see `shorthand`.
            made |= {"required": ["operator"], "if": _IS_NOT, "then": _HAS_ONE_CHILD}
        return made


def _as_text_too(made: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Lets a value be written as text where the model, not being strict, reads it from text."""
    if schema.get("strict"):
        return made
    return {**made, "type": [made["type"], "string"], "pattern": _IN_TEXT[made["type"]]}


def _for_people(text: str) -> str:
    """Gives a docstring in one line; `None` is Python's word."""
    text = re.sub(r"(^|\. )None\b", r"\1No value", " ".join(text.split()))
    return re.sub(r"\bNone\b", "no value", text)


def _loosen(node: _Node) -> None:
    """Lets variables in, and keys without a value, here and below."""
    if "oneOf" in node:  # a variable may fit several
        node["anyOf"] = node.pop("oneOf")
        node.pop("discriminator", None)
    if "patternProperties" in node:
        ((pattern, value),) = node.pop("patternProperties").items()
        node |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
    for below in _below(node):
        if isinstance(below, dict):
            _loosen(below)
    _let_variables_in(node)
    _flatten(node)
    for name, value in node.get("properties", {}).items():
        if name not in node.get("required", ()):
            _let_null(value)
    if isinstance(node.get("additionalProperties"), dict):
        _let_null(node["additionalProperties"])


def _below(node: _Node) -> Iterator[Any]:
    yield from node.get("properties", {}).values()
    yield from node.get("anyOf", ())
    yield node.get("items")
    yield node.get("additionalProperties")


def _flatten(node: _Node) -> None:
    """Makes one list of nested alternatives, and one schema of `this or null`."""
    if "anyOf" not in node:
        return
    flat: list[Any] = []
    for alternative in node["anyOf"]:
        flat += alternative["anyOf"] if alternative.keys() == {"anyOf"} else [alternative]
    node["anyOf"] = flat
    if len(flat) == 2 and flat[1] == {"type": "null"} and "type" in flat[0]:
        node |= {**node.pop("anyOf")[0]}
        _let_null(node)


def _let_variables_in(node: _Node) -> None:
    """Lets a text with a variable stand where a number, a truth value or certain texts belong."""
    words = node.pop("enum", None) or ([node.pop("const")] if "const" in node else None)
    if words is not None:
        node.pop("type", None)
        node["anyOf"] = [{"enum": words}, {"type": "string", "pattern": _VARIABLE}]
    elif node.get("type") in _NUMBERS:
        node |= {"type": [node["type"], "string"], "pattern": _VARIABLE}
    elif "pattern" in node:
        node["pattern"] = f"{_VARIABLE}|{node['pattern']}"


def _let_null(node: _Node) -> None:
    """Lets a key have no value, which means the same as no key."""
    kind = node.get("type")
    if "$ref" in node:
        node["anyOf"] = [{"$ref": node.pop("$ref")}]
    if "anyOf" in node:
        if {"type": "null"} not in node["anyOf"]:
            node["anyOf"].append({"type": "null"})
    elif kind is not None and "null" not in kind:
        node["type"] = [*([kind] if isinstance(kind, str) else kind), "null"]


def _sections_at(schema: Mapping[str, Any], pattern: Sequence[str]) -> list[Mapping[str, Any]]:
    """Gives the sections at a pattern such as `routing.decisions[]`."""
    nodes: list[Mapping[str, Any]] = [schema]
    for step in pattern:
        found = (_entry(section, step) for section in nodes)
        below = (s for node in found if node is not None for s in _sections(schema, node))
        nodes = [section for section in below if _is_of(section, step)]
    return nodes


def _entry(section: Mapping[str, Any], step: str) -> Any:
    if step.startswith("["):
        return section.get("items")
    return section.get("properties", {}).get(step)


def _is_of(section: Mapping[str, Any], step: str) -> bool:
    """Whether a section is of the type that a step such as `[tools]` names."""
    if not step.startswith("[") or step == "[]":
        return True
    kinds = (each.get("enum", ()) for each in section["properties"]["type"].get("anyOf", ()))
    return step[1:-1] in chain.from_iterable(kinds)


def _sections(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Takes references and alternatives off."""
    if "$ref" in node:
        yield from _sections(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    for alternative in node.get("anyOf", ()):
        yield from _sections(schema, alternative)
    if "properties" in node or "items" in node:
        yield node
