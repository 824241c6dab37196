"""Plugins of decisions as configuration: what loads, what warns, what is hidden."""

from __future__ import annotations

import re
from typing import Any

import pytest

from consilience.config import build_config, load_config, parse_config
from consilience.errors import ConfigError
from consilience.plugins import PLUGINS, UNAVAILABLE
from consilience.plugins.response_cache import ResponseCacheSettings
from consilience.plugins.system_prompt import SystemPromptOptions

from .builders import data
from .test_conformance import conformance


def routing(*plugins: dict[str, Any], **more: Any) -> dict[str, Any]:
    decisions = [{"name": "a", "modelRefs": [{"model": "small"}], "plugins": [*plugins]}]
    return data(routing={"decisions": decisions}, **more)


def entry(kind: str, **configuration: Any) -> dict[str, Any]:
    return {"type": kind, "configuration": configuration}


def warnings(*plugins: dict[str, Any], **more: Any) -> dict[str, str]:
    config = build_config(routing(*plugins, **more), environ={})
    return {warning.path: warning.message for warning in config.warnings}


def test_configuration_becomes_the_options_of_the_type() -> None:
    config = build_config(routing(entry("system_prompt", system_prompt="x")), environ={})

    (plugin,) = config.routing.decisions[0].plugins
    assert plugin.type == "system_prompt"
    assert plugin.options == SystemPromptOptions(system_prompt="x")


@pytest.mark.parametrize("kind", [k.kind for k in PLUGINS if k.kind != "header_mutation"])
def test_enabled_may_be_left_out_or_false(kind: str) -> None:
    needed = {"system_prompt": {"system_prompt": "x"}, "fast_response": {"message": "x"}}
    configuration = needed.get(kind, {})

    assert warnings(entry(kind, **configuration)) == {}
    assert warnings(entry(kind, enabled=False, **configuration)) == {}


def test_configuration_may_be_left_out_where_nothing_in_it_is_needed() -> None:
    assert warnings({"type": "response_cache"}) == {}


def test_variables_in_a_configuration_are_filled_in() -> None:
    given = entry("system_prompt", system_prompt="For ${TEAM}, $$5")
    config = build_config(routing(given), environ={"TEAM": "red"})

    assert config.routing.decisions[0].plugins[0].options == SystemPromptOptions(
        system_prompt="For red, $5"
    )


def test_number_from_a_variable_is_read_as_one() -> None:
    text = (
        "version: v0.3\nproviders: {models: [{name: a, backend_refs: [{endpoint: 'h:1'}]}]}\n"
        "routing:\n  decisions:\n    - name: d\n      modelRefs: [{model: a}]\n      plugins:\n"
        "        - type: request_params\n          configuration:\n"
        "            max_n: ${MOST}\n"
    )

    (plugin,) = parse_config(text, environ={"MOST": "3"}).routing.decisions[0].plugins

    assert plugin.options is not None
    assert plugin.options.model_dump()["max_n"] == 3


@pytest.mark.parametrize("kind", UNAVAILABLE)
def test_type_that_is_not_acted_on_says_what_is_lost(kind: str) -> None:
    anything = entry(kind, enabled=True, deep={"er": "${UNSET}"}, api_key="x")

    found = warnings(anything)

    assert list(found) == ["routing.decisions[0].plugins[0]"]
    assert found["routing.decisions[0].plugins[0]"].endswith(UNAVAILABLE[kind])


def test_ignored_key_is_one_only_for_its_type() -> None:
    found = warnings(entry("tools", semantic_selection=True))
    assert list(found) == ["routing.decisions[0].plugins[0].configuration.semantic_selection"]

    with pytest.raises(ConfigError, match="unknown key `semantic_selection`"):
        warnings(entry("request_params", semantic_selection=True))


def test_warning_of_a_plugin_stands_at_its_first_place_and_names_the_others() -> None:
    plugins = [entry("response_cache", mode="semantic")]
    refs = [{"model": "small"}]
    decisions: list[Any] = [{"name": n, "modelRefs": refs, "plugins": plugins} for n in "ab"]
    config = build_config(data(routing={"decisions": decisions}), environ={})

    (warning,) = config.warnings
    assert warning.path == "routing.decisions[0].plugins[0].configuration"
    assert "works as exact" in warning.message
    assert warning.message.endswith("(also routing.decisions[1].plugins[0].configuration)")


def test_disabled_plugin_has_no_warning_of_its_own() -> None:
    assert warnings(entry("response_cache", enabled=False, mode="semantic")) == {}


@pytest.mark.parametrize("kind", ["static", "remom"])
def test_decision_that_is_always_answered_needs_no_model_and_no_looper(kind: str) -> None:
    decision = {"name": "a", "algorithm": {"type": kind}}
    plugins = [entry("fast_response", message="x")]

    config = build_config(
        data(routing={"decisions": [{**decision, "plugins": plugins}]}), environ={}
    )

    assert config.warnings == ()


def test_disabled_answer_does_not_count() -> None:
    plugins = [entry("fast_response", message="x", enabled=False)]
    decision = {"name": "a", "algorithm": {"type": "static"}, "plugins": plugins}

    with pytest.raises(ConfigError, match="has no models"):
        build_config(data(routing={"decisions": [decision]}), environ={})


def test_plugins_of_recipes_are_checked_too() -> None:
    decisions: list[Any] = [{"name": "a", "modelRefs": [{"model": "small"}]}]
    decisions[0]["plugins"] = [entry("tools"), entry("tools")]
    recipes = [{"name": "r", "routing": {"decisions": decisions}}]

    with pytest.raises(ConfigError) as caught:
        build_config(data(recipes=recipes), environ={})

    (problem,) = caught.value.problems
    assert problem.path == "recipes[0].routing.decisions[0].plugins[1].type"


def test_store_of_the_cache_is_read_and_warns_of_other_backends() -> None:
    store = {"backend_type": "redis", "max_entries": 5, "redis": {"password": "${UNSET}"}}
    stores = {"stores": {"response_cache": store}}
    config = build_config(data(**{"global": stores}), environ={})

    settings = config.global_.plugin_settings["response_cache"]
    assert isinstance(settings, ResponseCacheSettings)
    assert (settings.max_entries, settings.ttl_seconds) == (5, 3600)
    assert {w.path for w in config.warnings} == {
        "global.stores.response_cache",
        "global.stores.response_cache.redis",
    }


def test_switched_off_store_warns_where_it_is_used() -> None:
    found = warnings(
        entry("response_cache"), **{"global": {"stores": {"response_cache": {"enabled": False}}}}
    )

    assert "global.stores.response_cache.enabled is false" in next(iter(found.values()))


def test_header_values_are_shown_nowhere() -> None:
    given = entry("header_mutation", add=[{"name": "x-a", "value": "canary"}])
    config = build_config(routing(given), environ={})

    assert "canary" not in repr(config) + str(config.model_dump()) + config.model_dump_json()


def test_every_plugin_block_of_the_reference_loads() -> None:
    folder = conformance()
    if folder is None:
        pytest.skip("the conformance files are not beside this checkout")
    config = load_config(folder / "reference-config.yaml", environ={})

    plugins = [p for d in config.routing.decisions for p in d.plugins]
    told = [w.message for w in config.warnings if ".plugins[" in w.path]

    assert {p.type for p in plugins if p.options} == {plugin.kind for plugin in PLUGINS}
    not_acted_on = [t for t in told if re.match(r"the decision plugin `\w+` is not acted on", t)]
    assert len(not_acted_on) == len({p.type for p in plugins if p.options is None})
    keys = {found[1] for t in told if (found := re.match(r"`(\w+)` is not acted on", t))}
    assert keys == {
        "embedding_model_ref",
        "memory",
        "personalized",
        "rag",
        "recovery",
        "request_controls",
        "semantic",
        "semantic_selection",
    }
