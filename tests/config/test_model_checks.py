"""Whether what signals need is there: models on this machine, helpers in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consilience.config import build_config
from consilience.config.external import HelperEndpoint
from consilience.errors import ConfigError, Problem

from .builders import data

COMPARING = {"embeddings": [{"name": "e", "threshold": 0.5, "candidates": ["x"]}]}
EXTERNAL = {"name": "helper", "llm_endpoint": {"address": "localhost"}, "llm_model_name": "m"}
ASKING = {"classifiers": [{"name": "c", "type": "llm", "labels": ["a", "b"], "model": "helper"}]}


def decided(kind: str, name: str, **more: Any) -> dict[str, Any]:
    rules = {"type": kind, "name": name, **more}
    return {"name": "d", "rules": rules, "modelRefs": [{"model": "small"}]}


def problems(
    signals: dict[str, Any],
    *decisions: dict[str, Any],
    semantic: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    external: Any = (),
    modules: dict[str, Any] | None = None,
) -> list[Problem]:
    catalog = {
        "embeddings": {"semantic": semantic or {}},
        "external": list(external),
        "modules": modules or {},
    }
    sections: dict[str, Any] = {
        "routing": {"signals": signals, "decisions": list(decisions)},
        "global": {"model_catalog": catalog},
    }
    try:
        build_config(data(**sections), environ=environ or {})
    except ConfigError as error:
        return list(error.problems)
    return []


def empty(folder: Path) -> dict[str, str]:
    return {"CONSILIENCE_CACHE": str(folder)}


E = decided("embedding", "e")


def test_nothing_is_wrong_when_the_model_is_there() -> None:
    assert problems(COMPARING, E) == []
    assert problems(COMPARING, E, semantic={"model": "minilm-l6-int8"}) == []


def test_model_that_was_not_fetched_is_named_where_it_is_needed(tmp_path: Path) -> None:
    (problem,) = problems(COMPARING, E, environ=empty(tmp_path))
    assert problem.path == "routing.signals.embeddings"
    assert problem.message == (
        'signals here compare meanings, and their embedding model "wordllama-256" is not on this'
        " machine (18 MiB)"
    )
    assert problem.suggestion == "consilience models pull wordllama-256"


def test_model_that_was_not_fetched_is_named_where_it_is_chosen(tmp_path: Path) -> None:
    semantic = {"model": "minilm-l6-int8"}
    (problem,) = problems(COMPARING, E, semantic=semantic, environ=empty(tmp_path))
    assert problem.path == "global.model_catalog.embeddings.semantic.model"
    assert problem.suggestion == "consilience models pull minilm-l6-int8"


@pytest.mark.parametrize("decisions", [(), (decided("keyword", "k"),)])
def test_no_model_is_needed_when_no_decision_asks(tmp_path: Path, decisions: Any) -> None:
    signals = {**COMPARING, "keywords": [{"name": "k", "keywords": ["x"]}]}
    assert problems(signals, *decisions, environ=empty(tmp_path)) == []


def test_no_model_is_needed_when_an_endpoint_is_asked(tmp_path: Path) -> None:
    semantic = {"endpoint": {"base_url": "http://localhost:1/v1", "model": "m"}}
    assert problems(COMPARING, E, semantic=semantic, environ=empty(tmp_path)) == []


def test_no_model_is_needed_for_what_is_compared_as_written(tmp_path: Path) -> None:
    signals = {"jailbreak": [{"name": "j", "method": "patterns", "jailbreak_patterns": ["x"]}]}
    assert problems(signals, decided("jailbreak", "j"), environ=empty(tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("minilm-l6", 'did you mean "minilm-l6-int8"?'),
        ("qqqq", "there is: wordllama-256, minilm-l6-int8"),
    ],
)
def test_unknown_model_is_told_with_those_there_are(name: str, suggestion: str) -> None:
    (problem,) = problems(COMPARING, E, semantic={"model": name})
    assert problem.message == f'there is no embedding model "{name}", and no folder of that name'
    assert problem.suggestion == suggestion


def test_folder_without_a_model_is_told(tmp_path: Path) -> None:
    (problem,) = problems(COMPARING, E, semantic={"model": str(tmp_path)})
    assert problem.message == f"there is no model.onnx in {tmp_path}"
    (tmp_path / "model.onnx").write_bytes(b"")
    (problem,) = problems(COMPARING, E, semantic={"model": str(tmp_path)})
    assert problem.message == f"there is no tokenizer.json in {tmp_path}"


def test_folder_with_a_model_will_do(tmp_path: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    assert problems(COMPARING, E, semantic={"model": str(tmp_path)}) == []


def test_helper_is_one_of_the_catalog_or_a_model() -> None:
    asked = decided("classifier", "c", label="a")
    assert problems(ASKING, asked, external=[EXTERNAL]) == []
    by_model = {"classifiers": [{**ASKING["classifiers"][0], "model": "small"}]}
    assert problems(by_model, asked) == []


def test_helper_that_is_not_there_is_told() -> None:
    external = [{**EXTERNAL, "name": "helpr"}]
    (problem,) = problems(ASKING, decided("classifier", "c", label="a"), external=external)
    assert problem.path == "routing.signals.classifiers[0].model"
    assert problem.message == (
        'there is no helper "helper" in global.model_catalog.external, and no model of that name'
    )
    assert problem.suggestion == 'did you mean "helpr"?'


def test_helpers_need_names_of_their_own() -> None:
    (problem,) = problems({}, external=[EXTERNAL, EXTERNAL])
    assert problem.message == 'the helper "helper" is declared twice'


@pytest.mark.parametrize(("port", "count"), [(8899, 1), (8000, 0)])
def test_helper_is_refused_when_it_is_this_gateway(port: int, count: int) -> None:
    where = {"address": "127.0.0.1", "port": port}
    found = problems({}, external=[{**EXTERNAL, "llm_endpoint": where}])
    assert ["is this gateway itself" in problem.message for problem in found] == [True] * count


PREFERRED = {"preferences": [{"name": "p", "examples": ["x"]}]}
BY_HELPER = {"classifier": {"preference": {"use_contrastive": False}}}


def test_preferences_by_a_helper_need_one_with_the_role() -> None:
    asked = decided("preference", "p")
    (problem,) = problems(PREFERRED, asked, modules=BY_HELPER, external=[EXTERNAL])
    assert problem.path.endswith("classifier.preference.use_contrastive")
    assert "`model_role: preference`" in problem.message
    external = [{**EXTERNAL, "model_role": "preference"}]
    assert problems(PREFERRED, asked, modules=BY_HELPER, external=external) == []


def test_preferences_by_a_helper_need_no_embedding_model(tmp_path: Path) -> None:
    external = [{**EXTERNAL, "model_role": "preference"}]
    asked = decided("preference", "p")
    found = problems(
        PREFERRED, asked, modules=BY_HELPER, external=external, environ=empty(tmp_path)
    )
    assert found == []


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"address": "localhost"}, "http://localhost:80/v1/chat/completions"),
        (
            {"address": "h.example", "protocol": "https"},
            "https://h.example:443/v1/chat/completions",
        ),
        ({"address": "10.0.0.1", "port": 8000, "path": "/x"}, "http://10.0.0.1:8000/x"),
        ({"address": "::1", "port": 8000}, "http://[::1]:8000/v1/chat/completions"),
        ({"address": "[::1]", "port": 8000}, "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_address_of_a_helper_is_made_of_its_parts(fields: dict[str, Any], url: str) -> None:
    assert HelperEndpoint.model_validate(fields).url == url


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "https://api.example.org"},
        {"address": "api.example.org/v1"},
        {"address": "user@host"},
        {"address": "two words"},
        {"address": ""},
        {"address": "h", "path": "v1/chat/completions"},
        {"address": "h", "path": "/v1?key=x"},
        {"address": "h", "port": 0},
    ],
)
def test_address_of_a_helper_is_refused_when_it_cannot_be_asked(fields: dict[str, Any]) -> None:
    external = [{**EXTERNAL, "llm_endpoint": fields}]
    found = problems({}, external=external)
    assert [p.path.startswith("global.model_catalog.external[0]") for p in found] == [True]


@pytest.mark.parametrize("where", ["external", "endpoint"])
def test_keys_are_read_from_the_environment_and_shown_nowhere(where: str) -> None:
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m", "api_key_env": "KEY"}
    catalog: dict[str, Any] = {
        "embeddings": {"semantic": {"endpoint": endpoint}},
        "external": [{**EXTERNAL, "access_key_env": "KEY"}],
    }
    sections: dict[str, Any] = {"global": {"model_catalog": catalog}}
    config = build_config(data(**sections), environ={"KEY": "canary-4711"})
    holder = config.global_.helpers[0] if where == "external" else config.global_.semantic.endpoint
    assert holder is not None
    assert holder.key is not None
    assert holder.key.get_secret_value() == "canary-4711"
    assert "canary" not in repr(config)
    unset = build_config(data(**sections), environ={})
    (warning,) = unset.warnings
    assert warning.message.startswith("the environment variable KEY is not set: this backend")
    with pytest.raises(ConfigError, match="cannot stand in an HTTP header") as caught:
        build_config(data(**sections), environ={"KEY": "canary 4711"})
    assert "canary" not in str(caught.value)
