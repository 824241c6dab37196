from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.chat_server import chat_server, page, refusal
from support.command import environment, invoke, run, started, written
from support.golden import assert_golden
from support.live import fusion_yaml, live_gateway
from support.raw_server import (
    CLOSE,
    HANG,
    SSE_HEAD,
    RawServer,
    Step,
    chunked,
    event,
    json_answer,
    piece,
    raw_server,
    streamed,
)
from support.scripts import fusion_script

NASTY = "\x1b[31mred\x1b]0;title\x07\x9b2J and\rback, :smile: [bold]kept[/bold]"
HARMLESS = "[31mred]0;title2J andback, :smile: [bold]kept[/bold]"


def config_for(upstream: RawServer, directory: Path, **more: str) -> Path:
    more = {"fusion": "max_concurrent: 1", **more}
    return written(directory, fusion_yaml(base_url=upstream.base_url, **more))


def test_answer_alone_goes_to_standard_output(config: Path, tmp_path: Path) -> None:
    result = run("ask", "-c", config, "hello", cwd=tmp_path)

    assert (result.code, result.out) == (0, "says j\n")
    assert "panel 1" in result.err


def test_quiet_says_nothing_but_the_answer(config: Path) -> None:
    assert invoke("ask", "-c", config, "--quiet", "hello") == (0, "says j\n", "")


def test_trace_shows_answers_and_analysis(config: Path) -> None:
    result = invoke("ask", "-c", config, "--trace", "hello")

    assert (result.code, result.out) == (0, "says j\n")
    assert_golden("ask_trace.txt", result.err[result.err.index("--- Answer") :])


def test_progress_is_told_line_by_line_where_there_is_no_terminal(config: Path) -> None:
    result = invoke("ask", "-c", config, "hello")

    told = [" ".join(line.split()) for line in result.err.splitlines()]
    assert "panel 1 a asking" in told[:2]
    answered = re.compile(r"panel 1 a answered \d+\.\d s 2 tokens says a")
    assert [line for line in told[1:4] if answered.fullmatch(line)]
    assert told[-5:] == [
        "judge j comparing",
        "judge j done 1 consensus, 1 unique insights",
        "synthesis j writing",
        "",
        "[model j, 20 tokens, 4 calls]",
    ]


def test_json_prints_the_whole_answer(config: Path) -> None:
    result = invoke("ask", "-c", config, "--json", "hello")

    body = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert body["choices"][0]["message"]["content"] == "says j"
    assert body["fusion"]["labels"].keys() == {"A", "B"}


def test_question_is_read_from_standard_input(config: Path, upstream: RawServer) -> None:
    result = invoke("ask", "-c", config, "-q", "-", stdin="grüße\n".encode())

    assert result == (0, "says j\n", "")
    assert upstream.requests[0].json["messages"] == [{"role": "user", "content": "grüße\n"}]


def test_system_prompt_and_limit_reach_the_model(config: Path, upstream: RawServer) -> None:
    invoke("ask", "-c", config, "--model", "a", "--system", "be brief", "--max-tokens", 7, "hi")

    body = upstream.requests[0].json
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert body["max_completion_tokens"] == 7


def test_plain_model_answers_without_a_panel(config: Path, upstream: RawServer) -> None:
    result = invoke("ask", "-c", config, "--model", "b", "hi")

    assert (result.code, result.out) == (0, "says b\n")
    assert len(upstream.requests) == 1


def test_panel_answers_for_a_writer_that_only_reasons(tmp_path: Path) -> None:
    thoughtful = fusion_script(final=Reply("", reasoning="hm", finish_reason="length"))
    with live_gateway(fusion_yaml(), ScriptedUpstream(thoughtful)) as url:
        result = invoke("ask", "--url", url, "hi")

    assert (result.code, result.out) == (0, "one\n")
    assert "[model a, " in result.err
    assert "degraded: synthesis (empty), degraded: synthesis (answered_by_panel)" in result.err


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_empty_question_is_wrong_usage(config: Path, prompt: str) -> None:
    result = invoke("ask", "-c", config, prompt)

    assert (result.code, result.out) == (2, "")
    assert "the question is empty" in result.err


def test_question_that_is_no_text_is_wrong_usage(config: Path, tmp_path: Path) -> None:
    from_stdin = invoke("ask", "-c", config, "-", stdin=b"caf\xe9")
    from_arguments = invoke("ask", "-c", config, "caf\udce9")

    assert from_stdin == from_arguments == (2, "", "error: the question is not text in UTF-8\n")


def test_two_places_to_ask_are_wrong_usage(config: Path) -> None:
    result = invoke("ask", "-c", config, "--url", "http://127.0.0.1:9", "hi")

    assert (result.code, result.err) == (2, "error: give --config or --url, not both\n")


def test_limit_below_one_is_wrong_usage(config: Path) -> None:
    assert invoke("ask", "-c", config, "--max-tokens", 0, "hi").code == 2


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_unknown_model_is_wrong_usage(config: Path, as_json: tuple[str, ...]) -> None:
    result = invoke("ask", "-c", config, "--model", "vllm-sr/fusio", "hi", *as_json)

    assert (result.code, result.out) == (2, "")
    assert "Did you mean 'vllm-sr/fusion'" in result.err


def test_question_that_no_panel_is_for_says_how_to_ask_all_the_same(tmp_path: Path) -> None:
    text = fusion_yaml(decision="rules: {type: keyword, name: weighs}")
    signals = "routing:\n  signals: {keywords: [{name: weighs, keywords: [compare]}]}\n"
    file = written(tmp_path, text.replace("routing:\n", signals, 1))
    result = run("ask", "Why is the sky blue?", "-c", file, cwd=tmp_path)
    assert result.code == 2
    assert "found no Fusion decision that matches" in result.err
    assert "hint: --model auto lets any route answer" in result.err


def test_missing_file_is_told(tmp_path: Path) -> None:
    result = invoke("ask", "-c", "nowhere.yaml", "hi")

    assert result.code == 1
    assert "nowhere.yaml" in result.err


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_dead_models_are_told(tmp_path: Path, as_json: tuple[str, ...]) -> None:
    path = written(tmp_path, fusion_yaml())

    result = run("ask", "-c", path, "hi", *as_json, cwd=tmp_path)

    assert (result.code, result.out) == (3, "")
    assert "error: 2 of 2 panel models failed: a: could not be connected to" in result.err
    assert "upstream_failed" not in result.err
    assert "127.0.0.1" not in result.err


def test_our_own_key_refused_upstream_is_a_failed_model(tmp_path: Path) -> None:
    with raw_server(refusal(401)) as upstream:
        result = invoke("ask", "-c", config_for(upstream, tmp_path), "--model", "a", "hi")

    assert result.code == 3


def test_slow_models_run_out_of_time(tmp_path: Path) -> None:
    with raw_server([HANG]) as upstream:
        path = config_for(upstream, tmp_path, listener="timeout: 300ms")
        result = invoke("ask", "-c", path, "--model", "a", "hi")

    assert result.code == 5


def test_broken_stream_ends_the_line_and_fails(tmp_path: Path) -> None:
    steps: list[Step] = [SSE_HEAD, chunked(piece("half an ans")), CLOSE]
    with raw_server(chat_server({"a": steps})) as upstream:
        result = invoke("ask", "-c", config_for(upstream, tmp_path), "-q", "--model", "a", "hi")

    assert (result.code, result.out) == (3, "half an ans\n")
    assert result.err.startswith("error: model 'a': ")


def test_escape_sequences_of_models_are_removed(tmp_path: Path) -> None:
    judge = json.dumps({"consensus": [NASTY], "blind_spots": [NASTY]})
    script = chat_server(dict.fromkeys("abj", NASTY), judge=judge)
    with raw_server(script) as upstream:
        result = invoke("ask", "-c", config_for(upstream, tmp_path), "--trace", "hi")

    assert (result.code, result.out) == (0, f"{HARMLESS}\n")
    assert result.err.count(HARMLESS) == 4
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.err)


def test_json_keeps_what_a_console_would_replace(tmp_path: Path) -> None:
    with raw_server(chat_server({"a": NASTY})) as upstream:
        path = config_for(upstream, tmp_path)
        result = invoke("ask", "-c", path, "--json", "--model", "a", "hi")

    assert json.loads(result.out)["choices"][0]["message"]["content"] == NASTY
    assert "\x1b" not in result.out


def test_encoding_without_a_letter_gets_it_escaped(tmp_path: Path) -> None:
    with raw_server(chat_server({"a": "grüße…"})) as upstream:
        path = config_for(upstream, tmp_path)
        env = {"PYTHONIOENCODING": "ascii"}
        result = run("ask", "-c", path, "-q", "--model", "a", "hi", cwd=tmp_path, env=env)

    assert result == (0, "gr\\xfc\\xdfe\\u2026\n", "")


def test_interrupt_cancels_every_call(tmp_path: Path) -> None:
    with raw_server([HANG]) as upstream:
        path = config_for(upstream, tmp_path, fusion="max_concurrent: 2")
        with started("ask", "-c", path, "hi", cwd=tmp_path) as asking:
            assert upstream.wait_for(lambda server: len(server.requests) == 2)
            asking.signal(signal.SIGINT)

            assert asking.wait() == 130
        assert upstream.wait_for(lambda server: server.aborted == 2)
    assert "interrupted; every upstream call was cancelled" in asking.err


def test_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    many = streamed(*[piece("line\n" * 10_000)] * 50)
    with raw_server(chat_server({"a": many})) as upstream:
        path = config_for(upstream, tmp_path)
        with subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "consilience", "ask", "-c", path, "-q", "--model", "a", "hi"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as asking:
            assert asking.stdout is not None
            assert asking.stderr is not None
            first = asking.stdout.readline()
            asking.stdout.close()
            said = asking.stderr.read()
    assert (first, said, asking.returncode) == (b"line\n", b"", 1)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_running_gateway_answers_by_url(suffix: str) -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        result = invoke("ask", "--url", url + suffix, "--trace", "hello")

    assert (result.code, result.out) == (0, "The answer.\n")
    assert "panel 1" in result.err
    assert "--- Analysis by j\n" in result.err


def test_running_gateway_answers_as_json() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        result = invoke("ask", "--url", url, "--json", "hello")

    assert json.loads(result.out)["choices"][0]["message"]["content"] == "The answer."


def test_key_of_a_running_gateway_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = fusion_yaml(listener="api_keys: [canary-key-1]")
    with live_gateway(config, ScriptedUpstream(fusion_script())) as url:
        refused = invoke("ask", "--url", url, "-q", "hello")
        monkeypatch.setenv("CONSILIENCE_API_KEY", "canary-key-1")
        answered = invoke("ask", "--url", url, "-q", "hello")

    assert (refused.code, refused.out) == (4, "")
    assert "key" in refused.err
    assert answered == (0, "The answer.\n", "")


@pytest.mark.parametrize(
    ("model", "script", "code"),
    [
        ("vllm-sr/fusio", {}, 2),
        ("vllm-sr/fusion", {"a": OSError("down"), "b": OSError("down")}, 3),
    ],
)
def test_errors_of_a_running_gateway_have_the_same_codes(
    model: str, script: dict[str, OSError], code: int
) -> None:
    with raw_server(refusal(500)) as dead:
        upstream = None if script else ScriptedUpstream(fusion_script())
        with live_gateway(fusion_yaml(base_url=dead.base_url), upstream) as url:
            result = invoke("ask", "--url", url, "-q", "--model", model, "hi")

    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "upstream_error", "code": "panel_failed"}, 3),
        ({"type": "rate_limit_error", "code": "upstream_rate_limited"}, 3),
        ({"type": "timeout_error", "code": "deadline_exceeded"}, 5),
        ({"type": "upstream_error", "code": "upstream_timeout"}, 5),
        ({"type": "permission_error", "code": "permission_denied"}, 4),
        ({"type": "server_error", "code": "internal_error"}, 1),
    ],
)
def test_error_events_of_a_running_gateway_have_the_same_codes(
    error: dict[str, str], code: int
) -> None:
    failed = event({"error": {"message": "it broke", "param": None, **error}})
    with raw_server([SSE_HEAD, chunked(piece("half")), chunked(failed), CLOSE]) as gateway:
        result = invoke("ask", "--url", gateway.base_url, "-q", "hi")

    assert result == (code, "half\n", "error: it broke\n")


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("http://127.0.0.1:9", 3, "no gateway answers at that URL"),
        ("127.0.0.1:8899", 2, "must begin with http://"),
        ("http://", 2, "cannot stand in an HTTP request"),
        ("http://127.0.0.1:99999", 2, "cannot stand in an HTTP request"),
    ],
)
def test_url_that_leads_nowhere_is_told(url: str, code: int, message: str) -> None:
    result = invoke("ask", "--url", url, "-q", "hi")

    assert (result.code, result.out) == (code, "")
    assert message in result.err


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(
    "steps",
    [
        page(),
        refusal(302),
        [json_answer([1])],
        [json_answer({"hello": 1}, status=404)],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", CLOSE],
        [SSE_HEAD, chunked(piece("")), CLOSE],
        [SSE_HEAD, chunked(b"data: {}\n\n"), CLOSE],
    ],
    ids=["page", "redirect", "list", "other-404", "cut", "cut-stream", "no-chunk"],
)
def test_what_is_no_gateway_is_told(steps: list[bytes], as_json: tuple[str, ...]) -> None:
    with raw_server(steps) as other:
        result = invoke("ask", "--url", other.base_url, "-q", "hi", *as_json)

    assert result.code in (2, 3)
    assert result.err.startswith("error: ")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_no_colour_where_there_is_no_terminal(
    config: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    result = run("ask", "-c", config, "--trace", "hello", cwd=tmp_path, env=env)

    assert result.code == 0
    assert "\x1b" not in result.out + result.err
