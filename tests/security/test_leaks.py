"""Canaries in every place where a secret or a text can be, and a search of all that comes out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.chat.headers import HeaderChanges
from consilience.config import load_config, parse_config, render_problems
from consilience.errors import ConfigError
from consilience.gateway import Gateway
from consilience.telemetry.log import configure, log, log_failure
from consilience.telemetry.redaction import told_failure
from consilience.upstream.embedding.remote import EmbeddingEndpoint
from consilience.upstream.scripted import ScriptedUpstream
from security.places import (
    CLIENT_KEY,
    ENVIRON,
    FAULTS,
    PROMPT,
    SAID,
    SECRET,
    configuration,
    script,
)
from support.client import Response, ask, get, post, send
from support.command import run, started, written
from support.live import fusion_yaml, live_gateway
from support.raw_server import RawServer, raw_server

CANARIES = (SECRET, SAID, PROMPT)
CLIENT = {"authorization": f"Bearer {CLIENT_KEY}"}
MODELS = ("a", "nobody", "nowhere", "vllm-sr/fusion", "auto", *FAULTS)
QUESTION = [{"role": "user", "content": f"hello {PROMPT}"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawServer]:
    with raw_server(script) as server:
        yield server


class Seen(NamedTuple):
    """All that one process let out."""

    log: str
    replies: dict[str, Response]


@pytest.fixture(scope="module", params=["text", "json"])
def seen(
    request: pytest.FixtureRequest, upstream: RawServer, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """Runs `serve` at debug level, asks everything of it once, and ends it."""
    directory = tmp_path_factory.mktemp("gateway")
    path = written(directory, configuration(upstream.base_url, directory))
    options = ("--log-level", "debug", "--log-format", request.param)
    with started("serve", "-c", path, *options, cwd=directory, env=ENVIRON) as gateway:
        url = gateway.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
        replies = dict(all_replies(url))
        path.write_text(path.read_text() + f"\nunknown: {SECRET}-reload\napi_key: {SECRET}-x\n")
        gateway.said("config_reload_failed")
    return Seen(gateway.err, replies)


def all_replies(url: str) -> Iterator[tuple[str, Response]]:
    headers = {
        **CLIENT,
        "cookie": f"s={SECRET}-cookie",
        "x-api-key": f"{SECRET}-x",
        "x-anything": f"{SECRET}-y",
        "x-vsr-debug": "true",
        "proxy-authorization": f"Basic {SECRET}-z",
        "referer": f"http://h/?k={SECRET}",
        "user-agent": f"{SECRET}-agent",
    }
    more = {"user": f"{PROMPT}-user", "metadata": {"k": PROMPT}, "never_heard_of": PROMPT}
    for model in MODELS:
        for stream in (False, True):
            body = {"model": model, "messages": QUESTION, "stream": stream, **more}
            where = f"/v1/chat/completions?key={SECRET}-query"
            yield f"{model} {stream}", post(url, body, headers, path=where)
    paths = ("/v1/models", "/v1/models/a", "/openapi.json", "/health", "/ready", "/nothing")
    for path in paths:
        yield path, get(url, f"{path}?k={SECRET}-query", headers)
    for trace in ("true", "false"):
        body = {"text": f"hello {PROMPT}", "model": "auto"}
        yield f"eval {trace}", post(url, body, headers, path=f"/api/v1/eval?trace={trace}")
    yield "unknown model", ask(url, PROMPT, headers)
    yield (
        "eval of an unknown model",
        post(url, {"text": "x", "model": PROMPT}, headers, path="/api/v1/eval"),
    )
    yield "wrong key", ask(url, "a", {"authorization": f"Bearer {SECRET}-wrong"})
    yield "odd key", ask(url, "a", {"authorization": f"{SECRET}-scheme {SECRET}-odd"})
    yield "not json", post(url, f'{{"k": {SECRET}'.encode(), headers)
    yield "no messages", post(url, {"model": "a", "messages": SECRET * 9}, headers)
    yield (
        "refused field",
        post(url, {"model": "a", "messages": QUESTION, "api_key": SECRET}, headers),
    )
    yield "odd type", send(url, "POST", "/v1/chat/completions", SECRET.encode(), headers)
    yield "wrong method", send(url, "DELETE", "/v1/chat/completions", None, headers)
    plugin = {"id": "fusion", "analysis_models": ["a", "b"], "include_reasoning": True}
    for stream in (False, True):
        body = {"model": "vllm-sr/fusion", "messages": QUESTION, "stream": stream}
        yield (
            f"plugin {stream}",
            post(url, {**body, "plugins": [{**plugin, "stream_progress": True}]}, headers),
        )
    yield "metrics", get(url, f"/metrics?k={SECRET}-query", headers)


def test_the_canaries_were_really_there(seen: Seen, upstream: RawServer) -> None:
    sent = str([(dict(r.headers), r.body) for r in upstream.requests])
    kinds = ("direct", "env", "file", "extra", "added", "updated", "helper-env", "embedding-env")
    assert all(f"{SECRET}-{kind}" in sent for kind in kinds)
    assert PROMPT in sent
    assert not any(f"{SECRET}-{kind}" in sent for kind in ("client", "cookie", "query", "agent"))
    statuses = {name: reply.status for name, reply in seen.replies.items()}
    assert statuses["metrics"] == 200
    assert statuses["vllm-sr/fusion False"] == statuses["a True"] == 200
    assert {400, 401, 404, 405, 429, 502} <= set(statuses.values())
    events = ("upstream_failed", "request", "config_reload_failed", "signal_model_failed")
    assert all(event in seen.log for event in events)


def test_no_log_line_has_a_secret_a_prompt_or_what_an_upstream_said(seen: Seen) -> None:
    lines = [line for line in seen.log.splitlines() if any(c in line for c in CANARIES)]
    # an address of the configuration is the log's to tell
    assert [line for line in lines if f"http://{SAID}.invalid" not in line] == []
    assert not any(SECRET in line or PROMPT in line for line in lines)
    assert "Traceback" not in seen.log


def test_no_response_has_a_secret_or_what_an_upstream_said(seen: Seen) -> None:
    for name, reply in seen.replies.items():
        shown = f"{reply.headers} {reply.body!r}"
        assert SECRET not in shown, name
        assert SAID not in shown, name


def test_no_error_and_no_page_has_another_ones_words(seen: Seen) -> None:
    own = ("unknown model", "eval", "a ", "auto ", "vllm-sr/fusion", "plugin")
    for name, reply in seen.replies.items():
        if not name.startswith(own):
            assert PROMPT not in f"{reply.headers} {reply.body!r}", name
        assert PROMPT not in str(reply.headers), name


COMMANDS = (
    ("check",),
    ("doctor",),
    ("doctor", "--json"),
    ("explain", "hello"),
    ("explain", "hello", "--json"),
    ("explain", "hello", "--trace"),
    ("models",),
    ("config", "schema"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_secret(
    upstream: RawServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = written(tmp_path, configuration(upstream.base_url, tmp_path))
    takes_file = command[0] in ("check", "doctor", "explain")
    result = run(*command, *(("-c", path) if takes_file else ()), cwd=tmp_path, env=ENVIRON)
    assert result.out + result.err
    assert SECRET not in result.out + result.err
    if command[0] != "doctor":
        assert SAID not in result.out + result.err


MISPLACED = {
    "name": "name: {k}",
    "weight": "weight: {k}",
    "type": "type: [{k}]",
    "endpoint": "endpoint: {k}",
    "base_url": "base_url: {k}",
    "user info": "base_url: https://u:{k}@h/v1",
    "query": "base_url: https://h/v1?api-key={k}",
    "protocol": "protocol: {k}",
    "variable": "api_key_env: {k}",
    "file": "api_key_file: {k}",
    "header": "auth_header: '{k} x'",
    "unknown key": "{k}: x",
    "unknown value": "apikey: {k}",
    "list of headers": "extra_headers: [{k}]",
    "header name": "extra_headers: {{'{k} y': x}}",
}
ELSEWHERE = {
    "helper variable": "global: {{model_catalog: {{external: [{{name: h, llm_endpoint: {{address: h}},"
    " llm_model_name: m, access_key_env: {k}}}]}}}}",
    "embedding variable": "global: {{model_catalog: {{embeddings: {{semantic: {{endpoint:"
    " {{base_url: 'http://h/v1', model: m, api_key_env: {k}}}}}}}}}}}",
    "model": "routing: {{decisions: [{{name: d, modelRefs: [{{model: {k}}}]}}]}}",
    "default model": "providers: {{defaults: {{default_model: {k}}}}}",
    "version": "version: {k}",
    "listener": "listeners: [{{port: {k}}}]",
    "keys": "listeners: [{{api_keys: {k}}}]",
    "listener's unknown": "listeners: [{{key: {k}}}]",
    "bare": "{k}",
    "top": "{k}: 1",
}
KEYS = (
    "sk-proj-c4nary_0123456789",
    "AIzaSyC4nary0123456789",
    "hf_c4nary0123456789",
    "c4a9e1d0b2f3c4a9e1d0b2f3c4a9e1d0",
    "eyJhbGciOiJI.eyJzdWIiOiJj.c4nary",
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("place", [*MISPLACED, *ELSEWHERE])
def test_a_key_in_the_wrong_place_of_a_file_is_not_repeated(place: str, key: str) -> None:
    if place in ELSEWHERE:
        text = ELSEWHERE[place].format(k=key)
    else:
        head = "providers:\n  models:\n    - name: small\n      backend_refs:\n        - endpoint: h:1\n"
        line = MISPLACED[place].format(k=key)
        head = head.replace("endpoint: h:1", "weight: 1") if "endpoint" in line else head
        text = f"{head}          {line}\n"
    try:
        found = parse_config(text, environ={}).warnings
        error = ""
    except ConfigError as exc:
        found, error = (*exc.problems, *exc.warnings), f"{exc} {exc!r}"
    report = render_problems(found, text=text, source="c.yaml")
    assert key not in report + error + repr(found)


async def objects_of(config: Any) -> list[object]:
    async with Gateway(config) as gateway:
        pool = await gateway.open()
        return [gateway, pool, vars(gateway), vars(pool) if hasattr(pool, "__dict__") else pool]


@pytest.mark.anyio
async def test_no_object_shows_a_secret_when_printed(tmp_path: Path, upstream: RawServer) -> None:
    path = written(tmp_path, configuration(upstream.base_url, tmp_path))
    config = load_config(path, environ=ENVIRON)
    shown = [repr(config), str(config), config.model_dump_json(), repr(config.model_dump())]
    shown += [repr(thing) for thing in await objects_of(config)]
    shown += [repr(EmbeddingEndpoint("http://h", "m", {"authorization": SECRET}))]
    shown += [repr(HeaderChanges({"x": SECRET}, {"y": SECRET}))]
    assert SECRET not in "\n".join(shown)


# -- exceptions

KINDS = (RuntimeError, KeyError, OSError, ValueError, AssertionError, UnicodeError, LookupError)


@settings(deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_what_an_exception_says_is_not_told(
    kinds: list[type[Exception]], grouped: bool, chained: bool
) -> None:
    error: BaseException | None = None
    for kind in kinds:
        fresh = kind(SECRET, PROMPT)
        fresh.add_note(PROMPT)
        try:
            raise fresh from error if chained else None
        except kind as exc:
            error = ExceptionGroup(PROMPT, [exc]) if grouped else exc
    assert error is not None
    told = told_failure(error)
    assert kinds[-1].__name__ in told
    assert not any(canary in told for canary in CANARIES)


def test_an_exception_that_causes_itself_is_told_once() -> None:
    first, second = ValueError(SECRET), KeyError(SECRET)
    first.__cause__, second.__cause__ = second, first
    assert told_failure(first).split("\n") == ["builtins.ValueError", "builtins.KeyError"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_of_ours_tells_nobody_what_it_was_about(
    capsys: pytest.CaptureFixture[str], as_json: bool, stream: bool
) -> None:
    def fails(request: object) -> object:
        raise RuntimeError(f"{SECRET} {request!r}")

    configure(as_json=as_json, level=logging.DEBUG)
    with live_gateway(fusion_yaml(), ScriptedUpstream({"a": fails, "b": "x", "j": "y"})) as url:
        reply = post(url, {"model": "a", "messages": QUESTION, "stream": stream})
    told = capsys.readouterr().err
    assert reply.status == 500
    assert "RuntimeError" in told
    assert not any(canary in told + str(reply) for canary in CANARIES)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_key_in_any_field_of_a_line_is_taken_out(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    configure(as_json=as_json)
    log("request", path=f"/v1/sk-{SECRET}", said=f"Bearer {SAID}")
    try:
        raise ValueError(SECRET)
    except ValueError as exc:
        log_failure("plugin_failed", exc, plugin=f"AIza{SECRET}")
        logging.getLogger("consilience.x").warning("helper_failed", exc_info=exc)
    told = capsys.readouterr().err
    assert told.count("ValueError") == 2
    assert not any(canary in told for canary in CANARIES)


def test_what_another_librarys_record_says_of_an_exception_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    other = logging.getLogger("asyncio")
    for handler in logging.getLogger("consilience").handlers:
        handler.handle(
            other.makeRecord(
                *("asyncio", logging.ERROR, "f", 1),
                f"Task exception was never retrieved\nfuture: <exception=KeyError('{SECRET}')>",
                (),
                (ValueError, ValueError(PROMPT), None),
            )
        )
    told = capsys.readouterr().err
    assert "Task exception was never retrieved" in told
    assert "ValueError" in told
    assert not any(canary in told for canary in CANARIES)


@pytest.mark.parametrize("recorded", [False, True])
def test_what_an_upstream_said_is_logged_only_where_configured(
    capsys: pytest.CaptureFixture[str], upstream: RawServer, recorded: bool
) -> None:
    setting = f"log_upstream_errors: {str(recorded).lower()}"
    config = fusion_yaml(base_url=upstream.base_url, gateway=setting)
    configure(level=logging.DEBUG)
    with live_gateway(
        config.replace("name: a,", "name: a, provider_model_id: bad-request,")
    ) as url:
        assert ask(url, "a").status == 400
    assert (SAID in capsys.readouterr().err) is recorded
