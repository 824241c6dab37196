"""Secrets stay secret: no canary in any text that people may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from consilience.config import Config, load_config, parse_config, render_problems
from consilience.config.paths import is_secret_key
from consilience.errors import ConfigError

from .builders import problems_of, with_backend

CANARY = "canary-4711"

FULL = f"""
listeners: [{{port: 8899, api_keys: [{CANARY}-1, "{CANARY}-2"]}}]
providers:
  models:
    - name: small
      backend_refs:
        - base_url: https://llm.example.org/v1
          api_key: {CANARY}-3
          extra_headers: {{X-Tenant: {CANARY}-4}}
        - {{name: b, endpoint: "h:1", api_key_env: THE_KEY}}
        - {{name: c, endpoint: "h:2", api_key: $THE_KEY}}
        - {{name: d, endpoint: "h:3", api_key_file: key.txt}}
global:
  integrations:
    looper: {{headers: {{Authorization: {CANARY}-5}}}}
"""


def shown(config: Config) -> str:
    parts = [repr(config), str(config), config.model_dump_json(), repr(config.warnings)]
    parts += [repr(ref) for model in config.providers.models for ref in model.backend_refs]
    return "\n".join(parts)


def test_loaded_configuration_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"  {CANARY}-7\n")
    (tmp_path / "config.yaml").write_text(FULL)

    config = load_config(tmp_path / "config.yaml", environ={"THE_KEY": f"{CANARY}-6"})

    assert CANARY not in shown(config)
    keys = [ref.key for ref in config.providers.models[0].backend_refs]
    values = [key.get_secret_value() for key in keys if key is not None]
    assert values == [f"{CANARY}-3", f"{CANARY}-6", f"{CANARY}-6", f"{CANARY}-7"]


def test_request_headers_carry_the_key_behind_its_prefix() -> None:
    config = with_backend(
        base_url="https://h/v1", api_key="k", auth_prefix="Key", extra_headers={"X-A": "b"}
    )

    headers = config.providers.models[0].backend_refs[0].request_headers()

    assert headers == {"X-A": "b", "Authorization": "Key k"}


def test_request_headers_carry_the_bare_key_without_prefix() -> None:
    config = with_backend(
        base_url="https://h/v1", api_key="k", auth_header="api-key", auth_prefix=""
    )

    assert config.providers.models[0].backend_refs[0].request_headers() == {"api-key": "k"}


BROKEN = [
    f"api_key: [{CANARY}]",
    f"api_key: {{a: {CANARY}}}",
    f"api_key: {CANARY}: x",
    f"api_key {CANARY}",
    f"api_key: '{CANARY}",
    f'api_key: "{CANARY}\\q"',
    f"api_key: !secret {CANARY}",
    f"api_key: one\napi_key: {CANARY}",
    f"api_key: |\n  {CANARY}\n\tx",
    f"api_key:\n  {CANARY}\n  : {CANARY}: x",
    f"access_key: {CANARY}",
    f"password: {CANARY}",
    f"auth_token: {CANARY}",
    f"client_secret: {CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"? api_key\n: {CANARY}: x",
    f"? [api_key]\n: {CANARY}",
    f"api_keys:\n  - one\n  - {CANARY}: x: y",
    f"api_keys:\n  - one\n  - two\n  - three\n  - {CANARY}: 'x",
    f"headers: {{x: {CANARY}, y: [}}",
    f"extra_headers:\n  X-Tenant: {CANARY}\n  'X Bad': {CANARY}",
    f"shared: &k {CANARY}\napi_key: *k",
    f"base_url: https://me:{CANARY}@h/v1",
    f"endpoint: http://me:{CANARY}@h",
    f"name: 5 # api_key {CANARY}",
    "api_key: ${CANARY_VARIABLE}\nextra_headers: {X: $CANARY_VARIABLE, 'Y Z': a}",
    "api_key: ${OTHER:-" + CANARY + "}\nport: ${OTHER}",
    "weight: ${CANARY_VARIABLE}\ntype: [$CANARY_VARIABLE]",
    "endpoint: ${CANARY_VARIABLE}:x\napi_key_file: no/${CANARY_VARIABLE}",
    "api_key: {" + CANARY + ": 1, " + CANARY + ": 2}",
]


@pytest.mark.parametrize("indent", [0, 10])
@pytest.mark.parametrize("body", BROKEN)
def test_report_shows_no_secret_when_the_lines_around_it_are_wrong(body: str, indent: int) -> None:
    head = (
        "providers:\n  models:\n    - name: small\n      backend_refs:\n        -\n"
        if indent
        else ""
    )
    text = head + "\n".join(" " * indent + line for line in body.split("\n")) + "\n"

    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ={"CANARY_VARIABLE": CANARY})

    error = caught.value
    report = render_problems([*error.problems, *error.warnings], text=text, source="c.yaml")
    assert CANARY not in report
    assert CANARY not in str(error)
    assert CANARY not in repr(error.problems)


def test_key_from_the_environment_that_is_no_header_value_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        with_backend({"THE_KEY": f"{CANARY}\nx"}, base_url="https://h/v1", api_key_env="THE_KEY")

    assert "THE_KEY" in caught.value.problems[0].message
    assert CANARY not in repr(caught.value.problems)


def test_unset_api_key_env_is_a_warning() -> None:
    config = with_backend(base_url="https://h/v1", api_key_env="THE_KEY")

    (warning,) = config.warnings
    assert "THE_KEY" in warning.message
    assert warning.path.endswith("api_key_env")
    assert config.providers.models[0].backend_refs[0].key is None


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"two words", b"x" * 70_000])
def test_key_file_that_holds_no_key_is_a_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.txt").write_bytes(content)
    text = (
        "providers: {models: [{name: a, backend_refs: [{endpoint: 'h:1', api_key_file: key.txt}]}]}"
    )

    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ={}, base_dir=tmp_path)

    (problem,) = caught.value.problems
    assert "key.txt" in problem.message
    assert str(tmp_path) not in problem.message


def test_problem_names_only_the_key_file_as_given() -> None:
    text = "providers: {models: [{name: a, backend_refs: [{endpoint: 'h:1', api_key_file: no/k}]}]}"

    (problem,) = problems_of(text)

    assert problem.message == 'the key file "no/k" does not exist'


@pytest.mark.parametrize(
    "key", ["api_key", "api_keys", "apikey", "access_key", "auth_token", "X-Api-Key", "password"]
)
def test_key_is_secret_when_its_name_says_so(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["api_key_env", "api_key_file", "max_tokens", "keywords", "key", "author", "auth_header"]
)
def test_key_is_not_secret_when_it_only_sounds_like_one(key: str) -> None:
    assert not is_secret_key(key)
