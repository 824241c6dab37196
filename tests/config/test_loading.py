from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from consilience.config import Config, build_config, load_config, parse_config, render_problems
from consilience.errors import ConfigError, Problem

from .builders import MODELS, data, problems_of


def test_problems_of_one_file_are_reported_together_in_file_order() -> None:
    text = (Path(__file__).parent / "mistakes" / "many_at_once.yaml").read_text()

    problems = problems_of(text)

    assert len(problems) == 12
    lines = [problem.line or 0 for problem in problems]
    assert lines == sorted(lines)


def test_mistake_in_a_field_does_not_hide_an_unknown_model_elsewhere() -> None:
    text = MODELS + (
        "listeners: [{port: many}]\n"
        "routing:\n  decisions:\n    - {name: a, priority: high, modelRefs: [{model: smal}]}\n"
    )

    assert [p.path for p in problems_of(text)] == [
        "listeners[0].port",
        "routing.decisions[0].priority",
        "routing.decisions[0].modelRefs[0].model",
    ]


def test_unusable_model_is_not_also_reported_where_it_is_used() -> None:
    text = MODELS.replace("name: large", "name: large\n      api_format: morse") + (
        "routing:\n  decisions:\n    - {name: a, modelRefs: [{model: large}]}\n"
    )

    assert [p.path for p in problems_of(text)] == ["providers.models[1].api_format"]


def test_entry_left_out_does_not_move_the_places_of_later_ones() -> None:
    text = (
        "providers:\n  models:\n    - {backend_refs: [{endpoint: 'a:1'}]}\n"
        "    - {name: two, backend_refs: [{endpoint: 'b:x'}]}\n    - {name: two}\n"
    )

    assert [(p.path, p.line) for p in problems_of(text)] == [
        ("providers.models[0].name", 3),
        ("providers.models[1].backend_refs[0].endpoint", 4),
        ("providers.models[2]", 5),
        ("providers.models[2].name", 5),
    ]


def test_file_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("\ufeff" + MODELS)

    config = load_config(path, environ={})

    assert config.source == str(path)


def test_key_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("secret\n")
    path = tmp_path / "c.yaml"
    path.write_text(MODELS.replace('8001"', '8001", api_key_file: k'))

    key = load_config(path, environ={}).providers.models[1].backend_refs[0].key

    assert key is not None
    assert key.get_secret_value() == "secret"


def test_data_is_checked_like_a_file() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(data(routing={"decisions": [{"name": "a", "modelRefs": [{"model": "x"}]}]}))

    (problem,) = caught.value.problems
    assert problem.path == "routing.decisions[0].modelRefs[0].model"
    assert problem.line is None


def test_aliases_and_merge_keys_are_followed() -> None:
    config = parse_config(
        "providers:\n  models:\n"
        "    - {name: a, backend_refs: &refs [{endpoint: 'h:1'}], pricing: &p {prompt_per_1m: 2}}\n"
        "    - {name: b, backend_refs: *refs, pricing: {<<: *p, completion_per_1m: 3}}\n",
        environ={},
    )

    pricing = config.providers.models[1].pricing
    assert pricing is not None
    assert (pricing.prompt_per_1m, pricing.completion_per_1m) == (Decimal(2), Decimal(3))
    assert config.providers.models[1].backend_refs == config.providers.models[0].backend_refs


@pytest.mark.parametrize("word", ["no", "off", "yes", "y", "1:30", "2026-08-22", "0777x"])
def test_word_of_yaml_1_1_stays_text(word: str) -> None:
    config = parse_config(
        f"providers: {{models: [{{name: {word}, backend_refs: [{{endpoint: 'h:1'}}]}}]}}",
        environ={},
    )

    assert config.model_names == (word,)


def test_key_without_value_is_no_key() -> None:
    assert isinstance(parse_config(MODELS + "routing:\nrecipes:\n", environ={}), Config)


def test_rules_with_an_operator_alone_always_match() -> None:
    text = MODELS + (
        "routing:\n  decisions:\n"
        "    - {name: a, modelRefs: [{model: small}], rules: {operator: AND}}\n"
    )

    rules = parse_config(text, environ={}).routing.decisions[0].rules

    assert rules is not None
    assert rules.model_dump() == {"operator": "AND", "conditions": ()}


def test_render_shows_path_line_caret_and_suggestion() -> None:
    problem = Problem("a.b", "must be one", line=2, column=4, suggestion="did you mean one?")

    assert render_problems([problem], text="a:\n  b: x\n", source="c.yaml") == (
        "c.yaml:2:4: a.b\n  must be one\n    2 |   b: x\n      |    ^\n  = did you mean one?"
    )


def test_render_leaves_the_frame_out_when_there_is_no_line() -> None:
    assert render_problems([Problem("", "gone")], text="", source="c.yaml") == "c.yaml\n  gone"


def test_render_shortens_a_long_line_around_the_column() -> None:
    text = "a: " + "x" * 500 + "\n"

    report = render_problems([Problem("a", "m", line=1, column=400)], text=text, source="c")

    assert max(map(len, report.splitlines())) < 180
    frame, caret = report.splitlines()[2:4]
    assert caret.index("^") <= len(frame)
