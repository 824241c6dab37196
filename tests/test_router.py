from __future__ import annotations

import json
from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.errors import (
    InvalidRequestError,
    NoMatchingDecisionError,
    UnknownModelError,
    UnsupportedAlgorithmError,
)
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.single import Single
from consilience.router import ModelEntry, Route, Router
from consilience.signals.base import SignalKey

pytestmark = pytest.mark.anyio

MODELS = """
version: v0.3
providers:
  defaults: {default_model: cheap}
  models:
    - name: cheap
      backend_refs: [{endpoint: "127.0.0.1:8001"}]
    - name: coder
      backend_refs: [{endpoint: "127.0.0.1:8002"}]
    - name: acme/arbiter
      backend_refs: [{endpoint: "127.0.0.1:8003"}]
"""
CARDS = """
  modelCards:
    - {name: cheap, description: quick, context_window_size: 8000, capabilities: [tools]}
    - name: coder
      context_window_size: 32000
      capabilities: [tools, Vision]
      loras: [{name: coder-sql, description: for SQL}]
    - {name: acme/arbiter}
"""
ROUTING = f"""
routing:{CARDS}
  signals:
    keywords:
      - {{name: compare, keywords: [compare]}}
      - {{name: secret, keywords: [internal only]}}
      - {{name: remote, keywords: [remote]}}
    context:
      - {{name: short, max_tokens: "100"}}
  decisions:
    - name: deep
      priority: 50
      rules:
        operator: AND
        conditions:
          - {{type: keyword, name: compare}}
          - {{operator: NOT, conditions: [{{type: keyword, name: secret}}]}}
      modelRefs: [{{model: cheap}}, {{model: coder, lora_name: coder-sql}}]
      algorithm: {{type: fusion, fusion: {{model: acme/arbiter, on_error: fail}}}}
    - name: quick
      priority: 100
      rules: {{type: context, name: short}}
      modelRefs: [{{model: coder}}, {{model: cheap}}]
    - name: unsupported
      priority: 200
      rules: {{type: keyword, name: remote}}
      modelRefs: [{{model: coder}}, {{model: cheap}}]
      algorithm: {{type: ratings}}
"""
RECIPES = """
recipes:
  - name: night
    description: Cheap at night
    routing:
      decisions:
        - {name: anything, modelRefs: [{model: cheap}]}
entrypoints:
  - {model_names: [acme/night, acme/late], recipe: night}
"""
CONFIG = MODELS + ROUTING + RECIPES
FILLER = "word " * 200


def router(text: str = CONFIG) -> Router:
    return Router(parse_config(text))


def ask(model: str, text: str = "hello", **fields: Any) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return ChatRequest.parse(json.dumps(body).encode())


async def route(model: str, text: str = "hello", config: str = CONFIG, **fields: Any) -> Route:
    return await router(config).route(ask(model, text, **fields), {})


def panel(*models: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": "fusion", "analysis_models": list(models), **fields}]


@pytest.mark.parametrize("alias", ["vllm-sr/auto", "auto", "MoM", " auto "])
async def test_all_decisions_compete_when_the_model_is_an_auto_alias(alias: str) -> None:
    found = await route(alias, "compare a and b")
    assert isinstance(found.looper, Single)
    assert found.looper.models_used == ("coder", "cheap")
    assert (found.decision, found.algorithm, found.recipe) == ("quick", "static", "default")
    assert [d.name for d in found.decisions] == ["deep", "quick", "unsupported"]
    assert [d.matched for d in found.decisions] == [True, True, False]


async def test_fusion_runs_when_its_decision_wins() -> None:
    found = await route("auto", f"compare {FILLER}")
    assert isinstance(found.looper, Fusion)
    assert found.looper.models_used == ("cheap", "coder-sql", "acme/arbiter")
    assert (found.decision, found.algorithm, found.confidence) == ("deep", "fusion", 1.0)
    assert found.signals is not None
    assert found.signals[SignalKey("keyword", "compare")].matched


async def test_only_listed_aliases_count_when_they_are_configured() -> None:
    config = CONFIG + "global: {router: {auto_model_names: [smart]}}"
    assert (await route("smart", config=config)).decision == "quick"
    with pytest.raises(UnknownModelError):
        await route("auto", config=config)


async def test_default_model_answers_when_no_decision_matches() -> None:
    found = await route("auto", FILLER)
    assert (found.looper.models_used, found.decision, found.recipe) == (("cheap",), None, "default")
    assert found.why == "no decision matched; the default model"
    assert len(found.decisions) == 3


async def test_auto_is_refused_when_nothing_matches_and_there_is_no_default() -> None:
    config = CONFIG.replace("defaults: {default_model: cheap}", "defaults: {}")
    with pytest.raises(NoMatchingDecisionError, match="no default model") as caught:
        await route("auto", FILLER, config=config)
    assert "'quick': context 'short' did not match" in caught.value.message
    assert caught.value.param == "model"


async def test_auto_is_refused_when_there_are_neither_decisions_nor_a_default() -> None:
    config = MODELS.replace("defaults: {default_model: cheap}", "defaults: {}")
    with pytest.raises(NoMatchingDecisionError, match="none is configured"):
        await route("auto", config=config)


async def test_default_model_answers_when_the_decision_names_none() -> None:
    config = MODELS + "routing: {decisions: [{name: all}]}"
    found = await route("auto", config=config)
    assert (found.decision, found.looper.models_used) == ("all", ("cheap",))


async def test_decision_is_refused_when_it_has_no_model_at_all() -> None:
    config = MODELS.replace("defaults: {default_model: cheap}", "defaults: {}")
    with pytest.raises(NoMatchingDecisionError, match="'all' matched, but names no model"):
        await route("auto", config=config + "routing: {decisions: [{name: all}]}")


async def test_algorithm_is_refused_by_name_when_we_do_not_have_it() -> None:
    with pytest.raises(UnsupportedAlgorithmError, match="'ratings'") as caught:
        await route("auto", "remote")
    assert "'unsupported'" in caught.value.message


async def test_only_fusion_decisions_compete_when_the_model_is_a_fusion_slug() -> None:
    found = await route("vllm-sr/fusion", "compare a and b")
    assert (found.decision, found.algorithm) == ("deep", "fusion")
    assert [d.name for d in found.decisions] == ["deep"]
    assert set(found.signals or ()) == {("keyword", "compare"), ("keyword", "secret")}


async def test_fusion_slug_is_refused_with_reasons_when_no_decision_matches() -> None:
    with pytest.raises(NoMatchingDecisionError) as caught:
        await route("vllm-sr/fusion", "compare, but internal only")
    assert "'deep': keyword 'secret' matched" in caught.value.message
    assert "analysis_models" in caught.value.message
    assert (caught.value.status, caught.value.code) == (400, "no_matching_decision")


async def test_reasons_stay_short_when_there_are_many_decisions() -> None:
    rule = "{type: keyword, name: w}"
    panel_of = "modelRefs: [{model: cheap}], algorithm: {type: fusion}"
    decisions = "\n".join(f"    - {{name: d{i}, rules: {rule}, {panel_of}}}" for i in range(30))
    config = (
        f"{MODELS}routing:\n  signals: {{keywords: [{{name: w, keywords: [w]}}]}}\n  decisions:\n"
    )
    with pytest.raises(NoMatchingDecisionError, match="and 22 more") as caught:
        await route("vllm-sr/fusion", config=config + decisions)
    assert "'d7'" in caught.value.message
    assert "'d8'" not in caught.value.message


async def test_request_brings_its_own_decision_when_it_names_a_panel() -> None:
    found = await route("vllm-sr/fusion", plugins=panel("cheap", "coder", model="coder"))
    assert isinstance(found.looper, Fusion)
    assert (found.decision, found.recipe, found.confidence) == ("fusion_direct", "default", 0.0)
    assert found.looper.models_used == ("cheap", "coder")
    assert [d.name for d in found.decisions] == ["deep"]


async def test_request_brings_its_own_decision_when_openrouters_id_is_used() -> None:
    plugins = [{"id": "openrouter:fusion", "analysis_models": ["cheap"]}]
    assert (await route("vllm-sr/fusion", plugins=plugins)).decision == "fusion_direct"


@pytest.mark.parametrize(
    "plugins",
    [
        panel(),
        panel("cheap", enabled=False),
        [{"id": "fusion", "model": "cheap"}],
        [{"id": "web", "analysis_models": ["cheap"]}],
    ],
)
async def test_fusion_slug_is_refused_when_the_request_names_no_panel(
    plugins: list[dict[str, Any]],
) -> None:
    with pytest.raises(NoMatchingDecisionError):
        await route("vllm-sr/fusion", plugins=plugins)


async def test_request_overrides_the_decision_when_both_name_a_panel() -> None:
    found = await route("vllm-sr/fusion", "compare", plugins=panel("coder"))
    assert isinstance(found.looper, Fusion)
    assert found.looper.models_used == ("coder", "acme/arbiter")
    assert found.looper.options.on_error == "fail"


@pytest.mark.parametrize(
    "plugins",
    [
        panel("nobody"),
        panel("auto"),
        panel(*["cheap"] * 9),
        panel("cheap", temprature=1),
        [{"id": "fusion", "analysis_modles": ["cheap"]}],
        [{"id": "fusion", "enabled": False, "temprature": 1}],
    ],
)
@pytest.mark.parametrize("text", ["compare", "hello"])
async def test_plugin_is_refused_when_it_is_wrong_or_not_allowed(
    text: str, plugins: list[dict[str, Any]]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await route("vllm-sr/fusion", text, plugins=plugins)
    assert (caught.value.param or "").startswith("plugins")


async def test_unconfigured_models_are_allowed_when_the_operator_says_so() -> None:
    looper = '{endpoint: "http://127.0.0.1:9", fusion: {request_overrides: any}}'
    config = f"{CONFIG}global: {{integrations: {{looper: {looper}}}}}"
    found = await route("vllm-sr/fusion", plugins=panel("nobody"), config=config)
    assert found.looper.models_used == ("nobody",)


async def test_fusion_slug_is_only_what_is_listed_when_names_are_configured() -> None:
    fusion = "{integrations: {looper: {fusion: {model_names: [openrouter/fusion]}}}}"
    config = f"{CONFIG}global: {fusion}"
    assert (await route("openrouter/fusion", "compare", config=config)).decision == "deep"
    with pytest.raises(UnknownModelError):
        await route("vllm-sr/fusion", "compare", config=config)


@pytest.mark.parametrize("name", ["acme/night", "acme/late"])
async def test_decisions_of_the_recipe_compete_when_the_model_is_an_entrypoint(name: str) -> None:
    found = await route(name, "compare")
    assert (found.decision, found.recipe) == ("anything", "night")
    assert [d.name for d in found.decisions] == ["anything"]
    assert found.confidence == 0.0


@pytest.mark.parametrize("name", ["cheap", "acme/arbiter", "coder-sql"])
async def test_nothing_is_evaluated_when_the_request_names_a_model(name: str) -> None:
    found = await route(name, "compare")
    assert isinstance(found.looper, Single)
    assert found.looper.models_used == (name,)
    assert (found.decision, found.recipe, found.signals, found.decisions) == (None, None, None, ())
    assert (found.requested, found.algorithm) == (name, "static")


async def test_fusion_plugin_is_refused_when_the_request_names_a_model() -> None:
    with pytest.raises(InvalidRequestError, match="'vllm-sr/fusion' instead") as caught:
        await route("cheap", plugins=panel("coder"))
    assert (caught.value.param, caught.value.status) == ("plugins", 400)


@pytest.mark.parametrize("plugins", [panel("coder", enabled=False), [{"id": "web"}]])
async def test_other_plugins_pass_when_the_request_names_a_model(
    plugins: list[dict[str, Any]],
) -> None:
    assert (await route("cheap", plugins=plugins)).warnings == ()


@pytest.mark.parametrize("model", ["auto", "acme/night", "vllm-sr/fusion", "cheap"])
@pytest.mark.parametrize("text", ["short", "compare"])
async def test_unknown_field_of_a_fusion_plugin_is_refused_whatever_route_would_win(
    text: str, model: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await route(model, text, plugins=[{"id": "web"}, {"id": "fusion", "bogus": 1}])
    assert caught.value.param == "plugins[1].bogus"


@pytest.mark.parametrize("model", ["auto", "vllm-sr/fusion", "cheap"])
@pytest.mark.parametrize("more", [{}, {"enabled": False}])
async def test_second_fusion_plugin_is_refused(model: str, more: dict[str, Any]) -> None:
    plugins = [*panel("coder", id="openrouter:fusion"), {"id": " fusion", **more}]
    with pytest.raises(InvalidRequestError) as caught:
        await route(model, "compare", plugins=plugins)
    assert caught.value.param == "plugins[1]"


async def test_any_number_of_others_plugins_passes() -> None:
    plugins = [{"id": "web"}, *panel("coder"), {"id": "web"}]
    assert (await route("vllm-sr/fusion", "compare", plugins=plugins)).decision == "deep"


@pytest.mark.parametrize("text", ["short", FILLER])
async def test_fusion_plugin_is_a_warning_when_the_route_is_another(text: str) -> None:
    found = await route("auto", text, plugins=panel("coder"))
    assert isinstance(found.looper, Single)
    assert found.warnings == ("plugin fusion is not acted on: the route is not a Fusion route",)


async def test_looper_warnings_are_passed_on_when_a_field_is_not_acted_on() -> None:
    found = await route("vllm-sr/fusion", "compare", plugins=panel("cheap", preset="general"))
    assert found.warnings == ("plugins.fusion.preset is not acted on",)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("Cheap", "'cheap'"),
        ("arbiter", "'acme/arbiter'"),
        ("openai/cheap", "'cheap'"),
        ("vllm-sr / fusion", "'vllm-sr/fusion'"),
        ("codr", "'coder'"),
        ("AUTO", "'auto'"),
    ],
)
async def test_near_names_are_listed_when_the_model_is_unknown(asked: str, meant: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        await route(asked)
    assert meant in caught.value.message
    assert "GET /v1/models" in caught.value.message
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


async def test_no_name_is_suggested_when_none_is_near() -> None:
    with pytest.raises(UnknownModelError) as caught:
        await route("zzzzzzzz" * 1000)
    assert "Did you mean" not in caught.value.message
    assert len(caught.value.message) < 300


async def test_consideration_says_everything_when_nothing_follows_from_it() -> None:
    considered = await router().consider(ask("vllm-sr/fusion"), {})
    assert considered is not None
    assert considered.winner is None
    assert [d.name for d in considered.decisions] == ["deep"]
    assert await router().consider(ask("cheap"), {}) is None


@pytest.mark.parametrize(("declared", "name"), [("confidence", "sure"), ("priority", "urgent")])
@pytest.mark.parametrize("where", ["routing", "global"])
async def test_strategy_decides_when_two_decisions_match(
    where: str, declared: str, name: str
) -> None:
    own = f"  strategy: {declared}\n" if where == "routing" else ""
    general = f"global: {{router: {{strategy: {declared}}}}}\n" if where == "global" else ""
    config = f"""{MODELS}
routing:
{own}  signals: {{keywords: [{{name: hi, keywords: [hello]}}]}}
  decisions:
    - {{name: urgent, priority: 9, modelRefs: [{{model: cheap}}]}}
    - {{name: sure, priority: 1, rules: {{type: keyword, name: hi}}, modelRefs: [{{model: cheap}}]}}
{general}"""
    assert (await route("auto", config=config)).decision == name


def listed(config: str = CONFIG, *, everything: bool = False) -> dict[str, ModelEntry]:
    return {entry.id: entry for entry in router(config).models(everything=everything)}


def test_slugs_are_listed_when_models_are_not_to_be() -> None:
    entries = listed()
    assert {name: entry.kind for name, entry in entries.items()} == {
        "vllm-sr/auto": "auto",
        "auto": "auto",
        "MoM": "auto",
        "acme/night": "entrypoint",
        "acme/late": "entrypoint",
        "vllm-sr/fusion": "fusion",
    }
    assert list(entries) == [
        "vllm-sr/auto",
        "auto",
        "MoM",
        "acme/night",
        "acme/late",
        "vllm-sr/fusion",
    ]
    assert entries["acme/night"].description == "Cheap at night"
    assert entries["acme/night"].recipe == "night"


@pytest.mark.parametrize("by", ["config", "argument"])
def test_models_are_listed_when_they_are_to_be(by: str) -> None:
    config = CONFIG + "global: {router: {include_config_models_in_list: true}}"
    entries = listed(config) if by == "config" else listed(everything=True)
    assert entries["cheap"] == ModelEntry("cheap", "model", "quick", 8000, ("tools",))
    assert entries["acme/arbiter"] == ModelEntry("acme/arbiter", "model")
    assert entries["coder-sql"] == ModelEntry(
        "coder-sql", "lora", "for SQL", 32_000, ("tools", "vision")
    )


def test_slug_is_as_able_as_its_least_able_model_when_it_is_listed() -> None:
    entries = listed()
    assert (entries["acme/night"].context_window, entries["acme/night"].capabilities) == (
        8000,
        ("tools",),
    )
    assert (entries["vllm-sr/fusion"].context_window, entries["vllm-sr/fusion"].capabilities) == (
        8000,
        (),
    )


def test_nothing_is_claimed_when_no_model_is_known_to_answer() -> None:
    entry = listed(MODELS)["vllm-sr/fusion"]
    assert (entry.context_window, entry.capabilities) == (None, ())


async def test_own_slugs_cannot_sit_on_the_panel_when_any_model_may() -> None:
    looper = '{endpoint: "http://127.0.0.1:9", fusion: {request_overrides: any}}'
    config = f"{CONFIG}global: {{integrations: {{looper: {looper}}}}}"
    with pytest.raises(InvalidRequestError):
        await route("vllm-sr/fusion", plugins=panel("vllm-sr/fusion"), config=config)


PROJECTED = """
      signals: {keywords: [{name: weighs, keywords: [compare]}, {name: idle, keywords: [idle]}]}
      projections:
        scores:
          - {name: s, method: weighted_sum, inputs: [{type: keyword, name: weighs, weight: 1}]}
          - {name: t, method: weighted_sum, inputs: [{type: keyword, name: idle, weight: 1}]}
        mappings:
          - {name: m, source: s, method: multi_emit, outputs: [{name: hard, gte: 1}]}
          - {name: n, source: t, method: multi_emit, outputs: [{name: idle, gte: 1}]}
      decisions:
        - name: panel
          rules: {type: projection, name: hard}
          modelRefs: [{model: cheap}, {model: coder}]
          algorithm: {type: fusion, fusion: {model: coder}}
        - {name: single, rules: {type: projection, name: idle}, modelRefs: [{model: cheap}]}
"""


async def test_recipe_has_projections_of_its_own() -> None:
    recipe = f"recipes:\n  - name: night\n    routing:{PROJECTED}"
    entry = "entrypoints: [{model_names: [acme/night], recipe: night}]\n"

    found = await route("acme/night", "compare tea and coffee", config=MODELS + recipe + entry)

    assert (found.decision, found.recipe) == ("panel", "night")


async def test_fusion_slug_asks_only_for_the_projections_of_its_decisions() -> None:
    found = await route("vllm-sr/fusion", "compare a and b", config=f"{MODELS}routing:{PROJECTED}")

    assert found.decision == "panel"
    assert found.signals is not None
    assert {key.name for key in found.signals} == {"weighs", "hard"}
