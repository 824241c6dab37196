from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import invoke, run, written
from support.live import fusion_yaml

WRONG = """\
version: v0.3
providers:
  models:
    - {name: small, backend_refs: [{endpoint: "127.0.0.1:8000"}]}
routing:
  decisions:
    - name: panel
      algorithm:
        type: fusion
        fusion: {analysis_models: [smal], max_concurent: 2, on_error: maybe}
"""
IGNORED = fusion_yaml().replace(
    "routing:\n", "routing:\n  signals: {domains: [{name: law, model_scores: []}]}\n"
)


def test_check_says_ok_when_a_file_can_be_used(tmp_path: Path) -> None:
    path = written(tmp_path, fusion_yaml())

    result = invoke("check", path)

    assert result == (0, f"{path}: ok (3 models, 1 decision, 0 warnings)\n", "")


def test_check_counts_the_decisions_of_recipes(tmp_path: Path) -> None:
    recipe = "recipes:\n  - {name: r, routing: {decisions: [{name: d, modelRefs: [{model: a}]}]}}\n"
    path = written(tmp_path, fusion_yaml() + recipe)

    result = invoke("check", path)

    counted = "3 models, 2 decisions, 1 of them in 1 recipe, 0 warnings"
    assert result == (0, f"{path}: ok ({counted})\n", "")


def test_check_shows_every_problem_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, WRONG)

    result = run("check", path, cwd=tmp_path)

    assert (result.code, result.out) == (1, "")
    for problem in ("max_concurent", "did you mean `max_concurrent`?", "maybe", "smal"):
        assert problem in result.err
    assert f"{path}:10:" in result.err
    assert "3 problems; nothing was started." in result.err


def test_check_gives_problems_as_json(tmp_path: Path) -> None:
    result = invoke("check", written(tmp_path, WRONG), "--json")

    told = json.loads(result.out)
    assert (result.code, result.err, told["ok"]) == (1, "", False)
    assert len(told["problems"]) == 3
    assert all(problem["line"] == 10 for problem in told["problems"])


def test_check_shows_warnings_and_still_accepts(tmp_path: Path) -> None:
    path = written(tmp_path, IGNORED)

    result = invoke("check", path)

    assert result.code == 0
    assert result.out.endswith("1 warning)\n")
    assert f"warning: {path}:" in result.err


def test_check_gives_warnings_as_json(tmp_path: Path) -> None:
    result = invoke("check", written(tmp_path, IGNORED), "--json")

    told = json.loads(result.out)
    assert (result.code, told["ok"], told["problems"]) == (0, True, [])
    assert len(told["warnings"]) == 1


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_check_refuses_what_is_no_readable_text(tmp_path: Path, as_json: tuple[str, ...]) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"version: v0.3\nname: caf\xe9\n")
    (tmp_path / "wide.yaml").write_bytes("version: v0.3\n".encode("utf-16"))
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "large.yaml").write_text(f"# {'x' * 5_000_000}\n")
    said = {
        "missing.yaml": "No such file",
        ".": "Is a directory",
        "latin.yaml": "not text in UTF-8: byte e9",
        "wide.yaml": "text in UTF-16",
        "picture.yaml": "the file is not text",
        "large.yaml": "the file has 4.8 MB; a configuration may have at most 2 MB",
    }
    for name, reason in said.items():
        result = invoke("check", name, *as_json)

        assert result.code == 1
        assert reason in (result.out if as_json else result.err)


def test_check_reads_json_too(tmp_path: Path) -> None:
    models = [{"name": "small", "backend_refs": [{"endpoint": "127.0.0.1:8000"}]}]
    text = json.dumps({"version": "v0.3", "providers": {"models": models}}, indent="\t")

    result = invoke("check", written(tmp_path, text))

    assert (result.code, result.err) == (0, "")


def test_check_refuses_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "circle.yaml"
    path.symlink_to(path)

    result = invoke("check", path)

    assert result.code == 1
    assert "symbolic links" in result.err


def test_check_never_shows_a_key(tmp_path: Path) -> None:
    text = fusion_yaml(listener="api_keys: ['sk-canary-0123456789', '']")

    result = invoke("check", written(tmp_path, text))

    assert result.code == 1
    assert "canary" not in result.out + result.err


def test_check_lets_no_escape_sequence_through(tmp_path: Path) -> None:
    result = invoke("check", written(tmp_path, 'version: v0.3\n"\\e[31mred": 1\n'))

    assert result.code == 1
    assert "\x1b" not in result.err


COMPARING = """\
version: v0.3
providers:
  models:
    - {name: small, backend_refs: [{endpoint: "127.0.0.1:8000"}]}
routing:
  signals:
    embeddings:
      - {name: refunds, threshold: 0.7, candidates: [I want my money back]}
  decisions:
    - {name: money, rules: {type: embedding, name: refunds}, modelRefs: [{model: small}]}
"""


def test_check_says_how_to_get_the_embedding_model(tmp_path: Path) -> None:
    path = written(tmp_path, COMPARING)

    result = invoke("check", path)

    assert result.code == 1
    assert f"{path}:8:7: routing.signals.embeddings" in result.err
    assert 'their embedding model "wordllama-256" is not on this machine (18 MiB)' in result.err
    assert "= consilience models pull wordllama-256" in result.err
