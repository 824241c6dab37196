"""F34: what a signal asks fails: its rules are unknown, the answer says so, and no Fusion becomes less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.chat_server import chat_server
from support.client import HELLO, ask, post
from support.live import live_gateway
from support.raw_server import (
    CLOSE,
    HANG,
    RESET,
    Received,
    Step,
    answer,
    json_answer,
    raw_server,
)

FAILURES: dict[str, list[Step]] = {
    "status 500": [json_answer({"error": {"message": "no"}}, status=500)],
    "status 401": [json_answer({"error": {"message": "no"}}, status=401)],
    "closed": [CLOSE],
    "reset": [RESET],
    "silent": [HANG],
    "a page": [answer(b"<html>", kind="text/html")],
    "wrong shape": [json_answer({"data": "none", "choices": "none"})],
    "no vectors": [json_answer({"data": [], "choices": []})],
}
FAILED = "embedding:refunds, classifier:tone:formal"
CANARY = "sk-canary-4711"
CONFIG = """\
version: v0.3
listeners: [{{name: http, port: 0}}]
providers:
  defaults: {{default_model: single}}
  models:
    - {{name: single, backend_refs: [{{base_url: '{models}'}}]}}
    - {{name: a, backend_refs: [{{base_url: '{models}'}}]}}
    - {{name: b, backend_refs: [{{base_url: '{models}'}}]}}
routing:
  signals:
    embeddings: [{{name: refunds, threshold: 0.7, candidates: [money back]}}]
    classifiers: [{{name: tone, type: llm, labels: [formal, casual], model: h}}]
  decisions:
    - name: by_meaning
      priority: 3
      rules: {{type: embedding, name: refunds}}
      modelRefs: [{{model: a}}]
    - name: not_formal
      priority: 2
      rules:
        operator: NOT
        conditions: [{{type: classifier, name: tone, label: formal}}]
      modelRefs: [{{model: b}}]
    - name: panel
      priority: 1
      rules: {{type: embedding, name: refunds}}
      algorithm: {{type: fusion, fusion: {{model: a, analysis_models: [a, b]}}}}
global:
  model_catalog:
    embeddings:
      semantic:
        endpoint: {{base_url: '{helpers}', model: embedder, api_key: {key}, timeout_seconds: 0.2}}
    external:
      - {{name: h, llm_endpoint: {{address: 127.0.0.1, port: {port}}}, llm_model_name: labeller,
         access_key: {key}, llm_timeout_seconds: 0.2}}
"""


@contextmanager
def _gateway(failing: list[Step]) -> Iterator[tuple[str, list[str]]]:
    """A gateway whose helpers all fail, and the models that it asks."""
    asked: list[str] = []
    plain = chat_server()

    def script(request: Received) -> Iterable[Step]:
        if request.method == "POST":
            asked.append(request.json["model"])
        return plain(request)

    with raw_server(failing) as helpers, raw_server(script) as models:
        text = CONFIG.format(
            models=models.base_url, helpers=helpers.base_url, port=helpers.port, key=CANARY
        )
        with live_gateway(text) as url:
            yield url, asked


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_F34_a_signal_whose_backend_fails_is_unknown(  # noqa: N802
    failure: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with _gateway(FAILURES[failure]) as (url, asked):
        reply = ask(url, "auto", stream=stream)
        # neither does the rule match, nor the one under NOT: what is left is the default
        assert (reply.status, asked) == (200, ["single"])
        assert reply.headers["x-vsr-selected-model"] == "single"
        assert reply.headers["x-vsr-failed-signals"] == FAILED
    shown = reply.body.decode() + str(reply.headers) + str([vars(r) for r in caplog.records])
    assert CANARY not in shown


@pytest.mark.parametrize("failure", FAILURES)
def test_F34_a_fusion_slug_never_becomes_a_single_model(failure: str) -> None:  # noqa: N802
    with _gateway(FAILURES[failure]) as (url, asked):
        refused = ask(url, "vllm-sr/fusion")
        assert (refused.status, refused.error["code"]) == (400, "no_matching_decision")
        assert asked == []
        plugin: dict[str, Any] = {"id": "fusion", "model": "a", "analysis_models": ["a", "b"]}
        own = ask(url, "vllm-sr/fusion", plugins=[plugin])
        assert (own.status, sorted(asked)) == (200, ["a", "a", "a", "b"])
        assert own.headers["x-vsr-failed-signals"].startswith("embedding:refunds")


@pytest.mark.parametrize("failure", FAILURES)
def test_F34_a_dry_run_says_what_failed(failure: str) -> None:  # noqa: N802
    with _gateway(FAILURES[failure]) as (url, asked):
        body = {"model": "auto", "messages": HELLO}
        told = post(url, body, path="/api/v1/eval?trace=true").json
        assert "refunds" in str(told["signal_errors"])
        assert asked == []
