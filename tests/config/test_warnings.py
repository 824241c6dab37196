"""What loads although it is not acted on, or not safe: each says so."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.config import build_config
from consilience.errors import ConfigError

from .builders import data

MARGIN, KEPT = "margin_threshold", "preload_embeddings"


def warnings(**sections: Any) -> dict[str, str]:
    """Gives path to message."""
    config = build_config(data(**sections), environ={})
    return {warning.path: warning.message for warning in config.warnings}


def decision(**fields: Any) -> dict[str, Any]:
    return {"decisions": [{"name": "a", "modelRefs": [{"model": "small"}], **fields}]}


def test_plain_configuration_has_no_warning() -> None:
    assert warnings(routing=decision()) == {}


@pytest.mark.parametrize(
    ("section", "content", "path"),
    [
        ("setup", {"done": True}, "setup"),
        ("global", {"services": {"ratelimit": {}}}, "global.services.ratelimit"),
        ("global", {"services": {"authz": {"providers": []}}}, "global.services.authz.providers"),
        ("global", {"stores": {"memory": {}}}, "global.stores.memory"),
        (
            "global",
            {"model_catalog": {"kbs": [{"name": "a", "prototype_scoring": {MARGIN: 0.1}}]}},
            f"global.model_catalog.kbs[0].prototype_scoring.{MARGIN}",
        ),
        (
            "global",
            {"model_catalog": {"modules": {"complexity": {"prototype_scoring": {MARGIN: 0.1}}}}},
            f"global.model_catalog.modules.complexity.prototype_scoring.{MARGIN}",
        ),
        (
            "global",
            {"model_catalog": {"modules": {"classifier": {"domain": {"model_id": "x"}}}}},
            "global.model_catalog.modules.classifier.domain.model_id",
        ),
        (
            "global",
            {"model_catalog": {"embeddings": {"semantic": {"embedding_config": {KEPT: True}}}}},
            f"global.model_catalog.embeddings.semantic.embedding_config.{KEPT}",
        ),
        (
            "global",
            {"model_catalog": {"modules": {"classifier": {"pii": {"model_ref": "x"}}}}},
            "global.model_catalog.modules.classifier.pii.model_ref",
        ),
        ("global", {"integrations": {"tools": {}}}, "global.integrations.tools"),
        ("global", {"router": {"learning": {}}}, "global.router.learning"),
        (
            "global",
            {"integrations": {"looper": {"retry_count": 2}}},
            "global.integrations.looper.retry_count",
        ),
        (
            "routing",
            {"signals": {"domains": [{"name": "law", "model_scores": []}]}},
            "routing.signals.domains[0].model_scores",
        ),
        ("routing", decision(emits=[]), "routing.decisions[0].emits"),
    ],
)
def test_key_that_only_the_reference_acts_on_is_named(
    section: str, content: dict[str, Any], path: str
) -> None:
    found = warnings(**{section: content})

    assert list(found) == [path]
    assert f"`{path.rsplit('.', 1)[-1]}` is not acted on" in found[path]


def test_ignored_key_is_named_once_with_its_other_places() -> None:
    refs = [{"model": "small"}]
    decisions: list[Any] = [
        {"name": n, "modelRefs": refs, "adaptations": {}} for n in ("a", "b", "c")
    ]

    found = warnings(routing={"decisions": decisions})

    assert list(found) == ["routing.decisions[0].adaptations"]
    assert found["routing.decisions[0].adaptations"].endswith(
        "(also routing.decisions[1].adaptations and 1 more)"
    )


def test_condition_on_a_subject_that_is_not_declared_is_refused() -> None:
    rules = {"operator": "OR", "conditions": [{"type": "domain", "name": "law"}]}

    with pytest.raises(ConfigError) as caught:
        build_config(data(routing=decision(rules=rules)), environ={})

    (problem,) = caught.value.problems
    assert problem.message == 'the domain signal "law" is not declared in routing.signals.domains'


@pytest.mark.parametrize(
    ("key", "rule", "part"),
    [
        ("embeddings", {"threshold": 0.5, "candidates": ["a"], "query_modality": "image"}, "text"),
        ("complexity", {"hard": {"image_candidates": ["a"]}, "easy": {}}, "image_candidates"),
        ("preferences", {}, "no description and no examples"),
        ("domains", {"mmlu_categories": ["sports"]}, "'sports' is no subject"),
        ("jailbreak", {"jailbreak_patterns": ["x"]}, "'hybrid' does both"),
        ("classifiers", {"type": "local", "labels": ["a", "b"]}, "no `prototypes`"),
    ],
)
def test_rule_that_cannot_do_what_it_seems_to_is_named(
    key: str, rule: dict[str, Any], part: str
) -> None:
    found = warnings(routing={"signals": {key: [{"name": "odd", **rule}]}})

    place = {"domains": ".mmlu_categories[0]"}.get(key, "")
    assert [path for path, text in found.items() if part in text] == [
        f"routing.signals.{key}[0]{place}"
    ]


def test_algorithm_that_is_not_available_says_who_gets_501() -> None:
    algorithm = {"type": "remom", "remom": {"anything": "${NOT_NEEDED}"}}
    config = build_config(data(routing=decision(algorithm=algorithm)), environ={})

    (warning,) = config.warnings
    assert '"a" is answered with 501' in warning.message
    loaded = config.routing.decisions[0].algorithm
    assert loaded is not None
    assert (loaded.supported, loaded.options) == (False, None)


def test_model_without_a_weight_beside_others_is_told_of() -> None:
    refs = [{"model": "small", "weight": 3}, {"model": "large"}]

    found = warnings(routing=decision(modelRefs=refs))

    (message,) = found.values()
    assert list(found) == ["routing.decisions[0].modelRefs[1]"]
    assert message.startswith('"large" has no `weight` beside others')


def test_weights_say_nothing_of_a_panel() -> None:
    refs = [{"model": "small", "weight": 0}, {"model": "large"}]

    assert warnings(routing=decision(modelRefs=refs, algorithm={"type": "fusion"})) == {}


def test_decision_plugin_is_named_by_its_type() -> None:
    plugins = [{"type": "rag", "configuration": {"api_key": "x", "deep": {"er": "${UNSET}"}}}]

    found = warnings(routing=decision(plugins=plugins))

    assert found == {
        "routing.decisions[0].plugins[0]": "the decision plugin `rag` is not acted on: nothing is"
        " retrieved into the prompt"
    }


def test_grounding_says_that_no_scores_are_computed() -> None:
    algorithm = {"type": "fusion", "fusion": {"grounding": {"enabled": True}}}

    (message,) = warnings(routing=decision(algorithm=algorithm)).values()

    assert "no scores are computed" in message


def test_override_without_a_seat_is_named() -> None:
    fusion = {"analysis_overrides": [{"model": "large", "temperature": 0}]}

    found = warnings(routing=decision(algorithm={"type": "fusion", "fusion": fusion}))

    assert list(found) == ["routing.decisions[0].algorithm.fusion.analysis_overrides[0].model"]


def test_open_listener_without_keys_is_named() -> None:
    found = warnings(listeners=[{"address": "0.0.0.0"}])  # that is the point

    assert "anyone who can reach 0.0.0.0" in found["listeners[0].address"]


def test_open_listener_with_keys_is_not_named() -> None:
    assert warnings(listeners=[{"address": "::", "api_keys": ["canary"]}]) == {}


def test_card_without_a_model_is_named() -> None:
    found = warnings(routing={"modelCards": [{"name": "smal"}]})

    assert "cannot be asked" in found["routing.modelCards[0].name"]


def test_unknown_reasoning_family_is_named() -> None:
    refs = [{"endpoint": "h:1"}]
    models = [{"name": "small", "reasoning_family": "qwen", "backend_refs": refs}]

    found = warnings(providers={"models": models})

    assert list(found) == ["providers.models[0].reasoning_family"]


def test_model_that_cannot_be_told_to_reason_is_named_once() -> None:
    refs = [
        {"model": "small", "use_reasoning": True},
        {"model": "small", "reasoning_effort": "low"},
        {"model": "large", "use_reasoning": False},
    ]

    found = warnings(routing=decision(modelRefs=refs))

    assert list(found) == ["routing.decisions[0].modelRefs[0]"]
    assert '"small" is not told to reason' in found["routing.decisions[0].modelRefs[0]"]


def test_model_without_backends_loads_when_the_looper_endpoint_serves_it() -> None:
    looper = {"endpoint": "https://gateway.example.org/v1/chat/completions"}

    found = warnings(
        providers={"models": [{"name": "small"}]},
        **{"global": {"integrations": {"looper": looper}}},
    )

    assert found == {}


def test_anthropic_format_is_named() -> None:
    refs = [{"endpoint": "h:1"}]
    models = [{"name": "small", "api_format": "anthropic", "backend_refs": refs}]

    assert (
        "OpenAI's format"
        in warnings(providers={"models": models})["providers.models[0].api_format"]
    )
