"""Whatever the text, the outcome is a Config or a ConfigError, soon and in little memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consilience.config import Config, load_config, parse_config, render_problems
from consilience.errors import ConfigError

from .builders import MODELS, problems_of

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["small", "fusion", "auto", "${X}", "8k", "AND", "keyword", "../x", "-1"]),
)
# fmt: off
KEYS = st.sampled_from([
    "version", "listeners", "providers", "routing", "entrypoints", "recipes", "global", "models",
    "name", "backend_refs", "endpoint", "base_url", "api_key", "weight", "modelCards", "loras",
    "signals", "keywords", "context", "decisions", "rules", "modelRefs", "model", "algorithm",
    "type", "fusion", "analysis_models", "operator", "conditions", "plugins", "annotations",
    "output_contract_spec", "router", "integrations", "looper", "gateway", "headers",
])
# fmt: on
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=40,
)


def outcome(text: str) -> Config | ConfigError:
    try:
        return parse_config(text, environ={"X": "1"})
    except ConfigError as error:
        return error


def check_outcome(text: str) -> None:
    """Asserts that a text loads, or that what is wrong with it can be shown."""
    result = outcome(text)
    assert isinstance(result, Config | ConfigError)
    if isinstance(result, ConfigError):
        problems = [*result.problems, *result.warnings]
        assert render_problems(problems, text=text, source="x").startswith("x")
        assert result.problems


def dump(value: object) -> str:
    """JSON is YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump(k)}: {dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in value)
        return f'"{escaped}"'
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return repr(value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
@example('a: "\\UFFFFFFFF"')
@example("&a [*a]")
@example("? ? ? ?")
@example("%YAML 1.1\n---\na: yes")
@example("a: !!int x")
@example("- - - - -")
@example("a: &x\nb: *x\n*x : c")
@example("\ufeffversion: v0.3")
@example("{a: 1, a: {b: [}")
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    check_outcome(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(list("ab:-?[]{},&*!|>'\"%#@ \n\t~<$")), max_size=60).map("".join))
def test_any_yaml_punctuation_gives_a_config_or_a_config_error(text: str) -> None:
    check_outcome(text)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_any_document_of_known_keys_gives_a_config_or_a_config_error(tree: object) -> None:
    check_outcome(dump(tree))


@settings(max_examples=100, deadline=None)
@given(TREES, st.sampled_from(["routing", "global", "recipes", "entrypoints", "listeners"]))
def test_any_section_beside_good_models_gives_a_config_or_a_config_error(
    tree: object, section: str
) -> None:
    check_outcome(f"{MODELS}{section}: {dump(tree)}\n")


def test_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]

    messages = [p.message for p in problems_of("\n".join(lines))]

    assert any("too many values" in message for message in messages)


def test_alias_ladder_is_refused_when_it_nests_too_deep() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100)]

    messages = [p.message for p in problems_of("\n".join(lines))]

    assert any("levels deep" in message for message in messages)


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "{a: " * 50_000, "- " * 5_000, "".join(f"{' ' * i}a:\n" for i in range(200))],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert any("levels deep" in p.message for p in problems_of(text))


def test_deep_rules_are_refused() -> None:
    rules = "{operator: NOT, conditions: [" * 25 + "]}" * 25
    decision = f"{{name: a, modelRefs: [{{model: small}}], rules: {rules}}}"
    text = f"{MODELS}routing: {{decisions: [{decision}]}}"

    assert problems_of(text)


@pytest.mark.parametrize(
    "line", ["k{i}: 1", "v{i}: $V{i}", "a: {i}", "- {i}", "{{a: [{i}}}", "api_key: s{i}"]
)
def test_thousands_of_mistakes_are_reported_in_part(line: str) -> None:
    text = "".join(line.format(i=i) + "\n" for i in range(20_000))

    problems = problems_of(text)

    assert 1 <= len(problems) <= 201
    assert render_problems(problems, text=text, source="c.yaml")


def test_thousands_of_unknown_names_are_reported_in_part() -> None:
    refs = ", ".join(f"{{model: smal{i}}}" for i in range(5000))
    text = f"{MODELS}routing: {{decisions: [{{name: a, modelRefs: [{refs}]}}]}}"

    assert 100 <= len(problems_of(text)) <= 201


def test_text_of_ten_megabytes_is_refused() -> None:
    (problem,) = problems_of("a: b\n" * (2 * 1024 * 1024))

    assert "10.0 MB" in problem.message


def test_file_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"# \n" * (4 * 1024 * 1024))

    with pytest.raises(ConfigError, match="at most 2 MB"):
        load_config(tmp_path / "big.yaml", environ={})


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02", b"\xff\xfe\x00", b"\x7fELF\x02\x01", os.urandom(4096), b"a: \xc3"]
)
def test_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.yaml", environ={})

    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_file_that_cannot_be_read_is_a_config_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(f"{tmp_path}/{name}", environ={})

    assert "cannot be read" in caught.value.problems[0].message
