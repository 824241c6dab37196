"""The starter configuration loads, and says what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from consilience.config import Config, parse_config
from consilience.config.starter import panel_of, route_of, starter_config
from consilience.loopers.fusion.options import FusionOptions, seats_of
from consilience.upstream.discovery import Found, FoundModel, FoundSource

ENVIRON = {"ONE_API_KEY": "1", "TWO_API_KEY": "2"}


def source(name: str, *models: FoundModel) -> FoundSource:
    return FoundSource(
        name, "vendor", f"https://{name}.example/v1", f"{name.upper()}_API_KEY", models
    )


def model(name: str, of: str, *, family: str = "", light: bool = False) -> FoundModel:
    return FoundModel(name, name, of, family or of, light)


TWO_VENDORS = Found(
    (
        source("one", model("big", "one"), model("mini", "one", light=True), model("old", "one")),
        source("two", model("x/big", "two", family="one"), model("x/other", "two", family="x")),
    )
)
ONE_SERVER = Found(
    (
        FoundSource(
            "ollama",
            "server",
            "http://127.0.0.1:11434/v1",
            models=(FoundModel("llama3.2:3b", "llama3.2:3b", "ollama", "llama", False, 8192),),
        ),
    )
)
LOCAL = Found(
    (FoundSource("local", "local", "", models=(model("smollm2-135m-instruct", "local"),)),)
)
ODD = Found(
    (
        source(
            "one",
            FoundModel('a "b" $c: #d', "id${x}", "one", "one"),
        ),
    )
)


def load(found: Found, environ: Mapping[str, str] = ENVIRON) -> Config:
    return parse_config(starter_config(found), environ=environ)


def fusion_of(config: Config) -> FusionOptions:
    algorithm = next(d.algorithm for d in config.routing.decisions if d.algorithm)
    assert isinstance(algorithm.options, FusionOptions)
    return algorithm.options


def names(models: Sequence[FoundModel]) -> Sequence[str]:
    return [each.name for each in models]


@pytest.mark.parametrize("found", [TWO_VENDORS, ONE_SERVER, LOCAL, ODD])
def test_starter_config_loads_without_a_warning(found: Found) -> None:
    config = load(found)

    assert config.warnings == ()
    assert list(config.model_names) == names(found.models)
    assert len(seats_of(fusion_of(config).analysis_models)) <= 3


def test_starter_config_keeps_what_it_was_given_when_names_are_odd() -> None:
    config = load(ODD)

    assert config.providers.models[0].name == 'a "b" $c: #d'
    assert config.providers.models[0].upstream_id == "id${x}"


def test_starter_config_names_keys_by_their_variable() -> None:
    text = starter_config(TWO_VENDORS)

    assert 'api_key_env: "ONE_API_KEY"' in text
    refs = load(TWO_VENDORS).providers.models[0].backend_refs
    assert refs[0].chat_url == "https://one.example/v1/chat/completions"
    assert refs[0].request_headers()["Authorization"] == "Bearer 1"


def test_panel_of_takes_each_maker_once_before_any_twice() -> None:
    assert names(panel_of(TWO_VENDORS)) == ["big", "x/other", "x/big"]


def test_route_of_takes_the_cheap_model() -> None:
    assert route_of(TWO_VENDORS).name == "mini"


def test_starter_config_sends_everyday_requests_to_the_cheap_model() -> None:
    everyday, fusion = load(TWO_VENDORS).routing.decisions

    assert [ref.model for ref in everyday.model_refs] == ["mini"]
    assert everyday.priority > fusion.priority
    assert fusion.rules is None  # a Fusion slug always has its decision


def test_starter_config_seats_one_model_three_times_when_there_is_no_other() -> None:
    seats = seats_of(fusion_of(load(ONE_SERVER)).analysis_models)

    assert [seat.model for seat in seats] == ["llama3.2:3b"] * 3
    assert len({seat.temperature for seat in seats}) == 3
    assert len({seat.seed for seat in seats}) == 3
    assert len({seat.system_prompt for seat in seats}) == 3


def test_starter_config_tells_the_context_window_when_it_is_known() -> None:
    card = load(ONE_SERVER).card("llama3.2:3b")

    assert card is not None
    assert card.context_window_size == 8192


def test_starter_config_serves_the_local_model_here_and_keeps_it_short() -> None:
    config = load(LOCAL)

    assert config.providers.models[0].backend_refs[0].is_local
    assert fusion_of(config).max_completion_tokens is not None


def test_starter_config_refuses_to_write_about_nothing() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        starter_config(Found())
