from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from support.chat_server import refusal
from support.command import invoke, run, written
from support.live import fusion_yaml, model_yaml
from support.raw_server import HANG, RawServer, raw_server

KEYED = """\
version: v0.3
providers:
  models:
    - {{name: a, backend_refs: [{{name: one, base_url: "{url}", api_key_env: A_KEY}}]}}
"""
LOCAL = """\
version: v0.3
providers:
  models:
    - {name: tiny, provider_model_id: smollm2-135m-instruct, backend_refs: [{provider: local}]}
"""


def findings(path: Path) -> dict[str, Any]:
    """What was found, by what was looked at; checks that it agrees with the exit code."""
    result = invoke("doctor", "-c", path, "--json")
    told = json.loads(result.out)
    problems = [f for f in told["findings"] if f["verdict"] == "problem"]
    assert (result.code, told["ok"], result.err) == (int(bool(problems)), not problems, "")
    return {f["what"]: f for f in told["findings"]}


def test_doctor_is_content_when_everything_answers(config: Path, tmp_path: Path) -> None:
    result = run("doctor", "-c", config, cwd=tmp_path)

    assert (result.code, result.err) == (0, "")
    for line in (f"ok  configuration: {config}\n", "ok  model a: answers\n"):
        assert line in result.out
    assert "\nx " not in result.out


def test_doctor_spends_nothing(config: Path, upstream: RawServer) -> None:
    found = findings(config)

    assert [found[f"model {name}"]["verdict"] for name in "abj"] == ["ok"] * 3
    assert {(r.method, r.path) for r in upstream.requests} == {("GET", "/v1/models")}


def test_doctor_names_the_variable_of_a_refused_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-canary-0123456789")
    with raw_server(refusal(401)) as upstream:
        path = written(tmp_path, KEYED.format(url=upstream.base_url))
        found = findings(path)
        text = invoke("doctor", "-c", path)

    assert found["model a (one)"]["verdict"] == "problem"
    assert found["model a (one)"]["fix"] == "set A_KEY"
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-canary-0123456789"
    assert "x   model a (one): answers, but refuses the key\n     -> set A_KEY\n" in text.out
    assert "canary" not in text.out


def test_doctor_warns_of_a_variable_that_is_not_set(upstream: RawServer, tmp_path: Path) -> None:
    found = findings(written(tmp_path, KEYED.format(url=upstream.base_url)))

    assert found["configuration"]["verdict"] == "warning"
    assert "1 warning" in found["configuration"]["detail"]


def test_doctor_finds_a_dead_backend(tmp_path: Path) -> None:
    found = findings(written(tmp_path, fusion_yaml()))

    assert found["model a"]["detail"] == "cannot be connected to"
    assert "is its server running" in found["model a"]["fix"]


@pytest.mark.parametrize(("status", "verdict"), [(404, "ok"), (500, "problem")])
def test_doctor_judges_a_status(tmp_path: Path, status: int, verdict: str) -> None:
    with raw_server(refusal(status)) as upstream:
        found = findings(written(tmp_path, fusion_yaml(base_url=upstream.base_url)))

    assert found["model a"]["verdict"] == verdict
    assert str(status) in found["model a"]["detail"]


def test_doctor_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.cli.doctor._PROBE_SECONDS", 0.2)
    with raw_server([HANG]) as upstream:
        found = findings(written(tmp_path, fusion_yaml(base_url=upstream.base_url)))

    assert found["model a"]["detail"] == "does not answer in time"


def test_doctor_looks_at_every_backend_of_a_model(upstream: RawServer, tmp_path: Path) -> None:
    refs = (
        f"[{{name: up, base_url: '{upstream.base_url}'}}, {{name: off, endpoint: '127.0.0.1:9'}}]"
    )
    text = f"version: v0.3\nproviders:\n  models: [{{name: a, backend_refs: {refs}}}]\n"

    found = findings(written(tmp_path, text))

    assert found["model a (up)"]["verdict"] == "ok"
    assert found["model a (off)"]["verdict"] == "problem"


def test_doctor_warns_of_a_taken_port(upstream: RawServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        models = f"providers:\n  models:\n{model_yaml('a', upstream.base_url)}"
        text = f"version: v0.3\nlisteners: [{{name: http, port: {port}}}]\n{models}"
        found = findings(written(tmp_path, text))

    assert found["port"]["verdict"] == "warning"
    assert "in use" in found["port"]["detail"]


def test_doctor_counts_the_problems_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, fusion_yaml(fusion="on_error: maybe, max_concurent: 2"))

    found = findings(path)

    assert found["configuration"]["detail"].startswith("2 problems; the first: ")
    assert found["configuration"]["fix"] == f"consilience check {path}"


def test_doctor_wants_the_weights_that_the_file_needs(tmp_path: Path) -> None:
    found = findings(written(tmp_path, LOCAL))

    assert found["local models"]["verdict"] == "problem"
    assert "consilience models pull smollm2" in found["local models"]["fix"]


def test_doctor_asks_a_vendor_that_was_found(
    upstream: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)

    result = invoke("doctor", "--json")

    models = [f for f in json.loads(result.out)["findings"] if f["what"].startswith("model gpt-")]
    assert models
    assert {f["verdict"] for f in models} == {"ok"}
    assert "canary" not in result.out
