"""Checks between the parts of a document, where the golden files do not reach."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.config import build_config
from consilience.errors import ConfigError

from .builders import data, problems_of


def messages(**sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build_config(data(**sections), environ={})
    return [problem.message for problem in caught.value.problems]


def decision(**fields: Any) -> dict[str, Any]:
    return {"decisions": [{"name": "a", "modelRefs": [{"model": "small"}], **fields}]}


@pytest.mark.parametrize("slug", ["auto", "MoM", "vllm-sr/auto", "vllm-sr/fusion", "support"])
@pytest.mark.parametrize(
    "field", ["model", "synthesis_model", "fallback_models", "analysis_models"]
)
def test_slug_is_refused_wherever_fusion_names_a_model(slug: str, field: str) -> None:
    value: Any = [slug] if field.endswith("models") else slug
    algorithm = {"type": "fusion", "fusion": {field: value}}

    found = messages(
        routing=decision(algorithm=algorithm),
        entrypoints=[{"model_names": ["support"], "recipe": "default"}],
    )

    assert len(found) == 1
    assert "stands for a choice of models" in found[0]


def test_variable_that_names_an_unknown_model_is_shown_as_written() -> None:
    text = (
        "providers: {models: [{name: small, backend_refs: [{endpoint: 'h:1'}]}]}\n"
        "routing: {decisions: [{name: a, modelRefs: [{model: $MODEL}]}]}\n"
    )

    (problem,) = problems_of(text, {"MODEL": "canary-4711"})

    assert problem.message == 'there is no model "$MODEL" in providers.models'


def test_panel_at_its_limit_is_accepted() -> None:
    algorithm = {"type": "fusion", "fusion": {"analysis_models": [{"model": "small", "count": 8}]}}

    config = build_config(data(routing=decision(algorithm=algorithm)), environ={})

    assert config.warnings == ()


def test_same_model_may_sit_twice() -> None:
    algorithm = {"type": "fusion", "fusion": {"analysis_models": ["small", "small"]}}

    config = build_config(data(routing=decision(algorithm=algorithm)), environ={})

    assert config.warnings == ()


def test_lora_may_be_named_wherever_a_model_may() -> None:
    algorithm = {"type": "fusion", "fusion": {"model": "law", "analysis_models": ["law", "small"]}}
    cards = [{"name": "small", "loras": [{"name": "law"}]}]

    config = build_config(
        data(routing={**decision(algorithm=algorithm), "modelCards": cards}), environ={}
    )

    assert config.warnings == ()


def test_decision_of_a_recipe_is_checked_too() -> None:
    found = messages(recipes=[{"name": "r", "routing": decision(modelRefs=[{"model": "x"}])}])

    assert found == ['there is no model "x" in providers.models']


def test_lora_of_another_model_is_refused() -> None:
    cards = [{"name": "large", "loras": [{"name": "law"}]}]
    refs = [{"model": "small", "lora_name": "law"}]

    found = messages(routing={**decision(modelRefs=refs), "modelCards": cards})

    assert found == ['the card of "small" declares no LoRA "law"']


@pytest.mark.parametrize("count", [33, 400])
def test_annotations_beyond_their_limit_are_refused(count: int) -> None:
    notes = {f"k{i}": "x" for i in range(33)} if count == 33 else {"k": "x" * 5000}

    (message,) = messages(routing=decision(annotations=notes))

    assert message.startswith("annotations has")


def test_local_backend_needs_no_address() -> None:
    models = [{"name": "tiny", "backend_refs": [{"provider": "local"}]}]

    assert build_config({"providers": {"models": models}}, environ={}).model_names == ("tiny",)


def test_looper_endpoint_on_another_port_serves_models_without_backends() -> None:
    looper = {"endpoint": "http://localhost:9000/v1/chat/completions"}
    sections = {"providers": {"models": [{"name": "a"}]}}

    config = build_config({**sections, "global": {"integrations": {"looper": looper}}}, environ={})

    assert config.model("a") is not None


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "choice", "choice_set": {"values": ["A", "a"]}},
        {"type": "choice", "choice_set": {"values": []}},
        {"type": "choice", "choice_set": {"values": ["A"]}, "render": {"mode": "template"}},
        {"type": "structured_json"},
        {"type": "structured_json", "json_schema": {"schema_ref": "other"}},
        {"type": "choice", "choice_set": {"values": ["A"]}, "extract": {"mode": "json_object"}},
        {"extract": {"sources": ["content", "content"]}, "type": "reference_selection"},
        {"postprocess": [{"type": "other"}]},
        {"type": "choice", "choice_set": {"values": ["A"]}, "colour": "red"},
        {},
    ],
)
def test_output_contract_that_cannot_work_is_refused(spec: dict[str, Any]) -> None:
    assert len(messages(routing=decision(output_contract_spec=spec))) == 1


def test_output_contract_becomes_the_plain_mapping_that_was_written() -> None:
    spec = {"type": "choice", "choice_set": {"values": ["A", "B"]}, "extract": {"mode": "exact"}}

    config = build_config(data(routing=decision(output_contract_spec=spec)), environ={})

    loaded = config.routing.decisions[0].output_contract_spec
    assert loaded == {**spec, "choice_set": {"values": ("A", "B")}}
