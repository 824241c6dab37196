"""The server as users start it: a process of its own on a free port."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
from pathlib import Path

import pytest

from support.client import ask, eventually, pending, send
from support.command import Running, invoke, run, started, written
from support.live import fusion_yaml, model_yaml
from support.raw_server import HANG, RawServer, raw_server

LOCAL = """\
version: v0.3
providers:
  models:
    - {name: tiny, provider_model_id: smollm2-135m-instruct, backend_refs: [{provider: local}]}
"""


def url_of(gateway: Running) -> str:
    """Where it says it listens, with the wildcard address as loopback."""
    return gateway.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n\ncurl [^\n]+\n[^\n]+\n")[1]


def printed_body(gateway: Running) -> bytes:
    """The body of the curl line that it printed."""
    words = shlex.split(gateway.said(r"(?s)\ncurl .*?-d .*?\n\n")[0])
    return words[words.index("-d") + 1].encode()


def try_printed(gateway: Running, **headers: str) -> tuple[int, str]:
    """Sends the printed request; gives status and text."""
    fields = {"content-type": "application/json", **headers}
    response = send(url_of(gateway), "POST", "/v1/chat/completions", printed_body(gateway), fields)
    if response.status != 200:
        return response.status, response.error["message"]
    return 200, response.json["choices"][0]["message"]["content"]


def test_serve_prints_a_request_that_works(config: Path, tmp_path: Path) -> None:
    with started("serve", "-c", config, "--port", 0, cwd=tmp_path) as gateway:
        answer = try_printed(gateway)
        gateway.signal(signal.SIGTERM)

        assert gateway.wait() == 0
    assert answer == (200, "says j")
    assert f"config  {config}\npanel   a, b\njudge   j\nwriter  j\n" in gateway.err


def test_serve_ends_with_130_when_interrupted(config: Path, tmp_path: Path) -> None:
    with started("serve", "-c", config, "--port", 0, cwd=tmp_path) as gateway:
        url_of(gateway)
        gateway.signal(signal.SIGINT)

        assert gateway.wait() == 130


def test_second_interrupt_ends_what_is_in_flight(tmp_path: Path) -> None:
    with raw_server([HANG]) as upstream:
        path = written(tmp_path, fusion_yaml(base_url=upstream.base_url))
        with (
            started("serve", "-c", path, "--port", 0, cwd=tmp_path) as gateway,
            pending(url_of(gateway), "vllm-sr/fusion"),
        ):
            assert upstream.wait_for(lambda server: len(server.requests) == 2)
            gateway.signal(signal.SIGINT)
            gateway.said("stopping: 1 request in flight")
            gateway.signal(signal.SIGINT)

            assert gateway.wait() == 130
        assert upstream.wait_for(lambda server: server.aborted == 2)


def test_serve_answers_without_configuration(upstream: RawServer, tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "sk-canary-0123456789", "OPENAI_BASE_URL": upstream.base_url}

    with started("serve", "--port", 0, cwd=tmp_path, env=env) as gateway:
        status, text = try_printed(gateway)
        gateway.signal(signal.SIGTERM)

        assert gateway.wait() == 0
    assert status == 200
    assert text.startswith("says gpt-")
    assert "openai: key in OPENAI_API_KEY" in gateway.err
    assert "canary" not in gateway.err


def test_serve_takes_the_file_that_lies_here(upstream: RawServer, tmp_path: Path) -> None:
    here = tmp_path / "consilience.yaml"
    here.write_text(fusion_yaml(base_url=upstream.base_url), encoding="utf-8")

    with started("serve", cwd=tmp_path) as gateway:
        assert try_printed(gateway) == (200, "says j")
    assert "config  consilience.yaml\n" in gateway.err


def test_serve_refuses_a_taken_port(config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = run("serve", "-c", config, "--port", port, cwd=tmp_path)

    assert (result.code, result.out) == (1, "")
    assert f"error: cannot listen on 127.0.0.1 port {port}: Address already in use" in result.err
    assert "curl" not in result.err


@pytest.mark.parametrize("host", ["a" * 70, "192.0.2.1"])
def test_serve_refuses_a_host_that_is_not_here(config: Path, host: str) -> None:
    result = invoke("serve", "-c", config, "--port", 0, "--host", host, "--no-auth")

    assert result.code == 1
    assert f"error: cannot listen on {host}" in result.err


@pytest.mark.parametrize(
    "wrong", [("--port", 65536), ("--log-level", "loud"), ("--log-format", "xml")]
)
def test_serve_refuses_options_that_cannot_be(config: Path, wrong: tuple[str, object]) -> None:
    result = invoke("serve", "-c", config, *wrong)

    assert result.code == 2
    assert str(wrong[0]) in result.err


def test_serve_starts_nothing_on_a_file_with_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path, fusion_yaml(fusion="on_error: maybe, max_concurent: 2"))

    result = run("serve", "-c", path, cwd=tmp_path)

    assert result.code == 1
    assert "max_concurrent" in result.err
    assert "2 problems; nothing was started." in result.err
    assert "curl" not in result.err


def test_serve_refuses_other_machines_without_keys(config: Path) -> None:
    result = invoke("serve", "-c", config, "--port", 0, "--host", "0.0.0.0")

    assert result.code == 2
    assert "0.0.0.0 can be reached from other machines" in result.err
    assert "--no-auth" in result.err


def test_serve_lets_other_machines_in_when_told_to(config: Path, tmp_path: Path) -> None:
    arguments = ("serve", "-c", config, "--port", 0, "--host", "0.0.0.0", "--no-auth")

    with started(*arguments, cwd=tmp_path) as gateway:
        assert try_printed(gateway) == (200, "says j")


def test_serve_lets_other_machines_in_with_keys(upstream: RawServer, tmp_path: Path) -> None:
    text = fusion_yaml(base_url=upstream.base_url, listener="api_keys: [canary-key-1]")
    arguments = ("serve", "-c", written(tmp_path, text), "--port", 0, "--host", "0.0.0.0")

    with started(*arguments, cwd=tmp_path) as gateway:
        refused, _ = try_printed(gateway)
        answered = try_printed(gateway, authorization="Bearer canary-key-1")
    assert (refused, answered) == (401, (200, "says j"))
    assert "-H 'authorization: Bearer YOUR_KEY'" in gateway.err
    assert "canary" not in gateway.err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_does_not_take_the_last_key_from_a_gateway_that_others_can_reach(
    upstream: RawServer, tmp_path: Path, workers: int
) -> None:
    locked = fusion_yaml(base_url=upstream.base_url, listener="api_keys: [sk-1]")
    path = written(tmp_path, locked)
    options = ("--host", "0.0.0.0", "--port", 0, "--workers", workers)
    with started("serve", "-c", path, *options, cwd=tmp_path) as gateway:
        url = url_of(gateway)
        path.write_text(fusion_yaml(base_url=upstream.base_url), encoding="utf-8")
        line = gateway.said("config_reload_failed.*")[0]
        assert "listeners[].api_keys" in line
        assert "--no-auth" in line
        assert ask(url, "j").status == 401
        assert ask(url, "j", {"authorization": "Bearer sk-1"}).status == 200
        path.write_text(locked.replace("sk-1", "sk-2"), encoding="utf-8")
        gateway.said("config_reloaded")
        assert eventually(lambda: ask(url, "j", {"authorization": "Bearer sk-2"}).status == 200)


def test_a_reload_may_open_a_gateway_that_was_told_so_or_that_only_this_machine_reaches(
    upstream: RawServer, tmp_path: Path
) -> None:
    locked = fusion_yaml(base_url=upstream.base_url, listener="api_keys: [sk-1]")
    for options in (("--host", "0.0.0.0", "--no-auth"), ("--host", "127.0.0.1")):
        path = written(tmp_path, locked)
        with started("serve", "-c", path, *options, "--port", 0, cwd=tmp_path) as gateway:
            url = url_of(gateway)
            path.write_text(fusion_yaml(base_url=upstream.base_url), encoding="utf-8")
            gateway.said("config_reloaded")
            assert ask(url, "j").status == 200


def test_serve_says_how_to_get_a_model_that_is_not_here(tmp_path: Path) -> None:
    result = run("serve", "-c", written(tmp_path, LOCAL), "--port", 0, cwd=tmp_path)

    assert (result.code, result.out) == (1, "")
    assert "consilience models pull smollm2-135m-instruct" in result.err
    assert "url " not in result.err


def test_sample_brings_its_panel_when_no_rule_matches(upstream: RawServer, tmp_path: Path) -> None:
    signal_rules = (
        "  signals: {keywords: [{name: rare, operator: OR, keywords: [trade-offs]}]}\n  decisions:"
    )
    rules = "rules: {operator: OR, conditions: [{type: keyword, name: rare}]}"
    text = fusion_yaml(base_url=upstream.base_url, decision=rules)
    path = written(tmp_path, text.replace("  decisions:", signal_rules))

    with started("serve", "-c", path, "--port", 0, cwd=tmp_path) as gateway:
        assert try_printed(gateway) == (200, "says j")
        body = json.loads(printed_body(gateway))
    assert body["plugins"] == [{"id": "fusion", "model": "j", "analysis_models": ["a", "b"]}]


def test_sample_asks_one_model_when_there_is_no_fusion(upstream: RawServer, tmp_path: Path) -> None:
    text = f"version: v0.3\nproviders:\n  models:\n{model_yaml('its', upstream.base_url)}"
    path = written(tmp_path, text.replace("name: its", 'name: "it\'s"'))

    with started("serve", "-c", path, "--port", 0, cwd=tmp_path) as gateway:
        assert try_printed(gateway) == (200, "says it's")
    assert re.search(r"\nmodels  it's\n", gateway.err)


def test_serve_takes_up_a_changed_file_and_outlives_a_bad_one(config: Path, tmp_path: Path) -> None:
    good = config.read_text(encoding="utf-8")
    with started("serve", "-c", config, "--port", 0, cwd=tmp_path) as gateway:
        url = url_of(gateway)
        config.write_text(good + "  - nonsense", encoding="utf-8")
        gateway.said("config_reload_failed")
        assert send(url, "GET", "/health").json["config"]["last_reload"] == "failed"
        assert try_printed(gateway) == (200, "says j")
        config.write_text(good + "\n# the same\n", encoding="utf-8")
        gateway.said("config_reloaded")
        gateway.signal(signal.SIGHUP)
        gateway.said("reloads=2")
        assert try_printed(gateway) == (200, "says j")
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
