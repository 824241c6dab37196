"""Signals that compare meanings and ask helpers, from a file to a route."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from consilience import Config, Gateway, ScriptedUpstream, load_config, signal_models
from consilience.chat.request import ChatRequest
from consilience.config import build_config
from consilience.errors import DeadlineExceededError
from consilience.live import LiveGateway
from consilience.router import Consideration, Router
from consilience.signal_models import Helpers, prepared_router
from consilience.signals import models
from consilience.signals.asking import HelperError
from consilience.signals.base import SignalKey, SignalResult
from consilience.upstream.http import new_session
from support.chat_server import chat_server
from support.meanings import WordEncoder
from support.raw_server import (
    HANG,
    RESET,
    RawServer,
    Received,
    Step,
    answer,
    completion,
    json_answer,
    raw_server,
)

pytestmark = pytest.mark.anyio
KEY = "canary-4711"
MODELS = [
    {"name": name, "backend_refs": [{"endpoint": "127.0.0.1:9"}]} for name in ("cheap", "strong")
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are kept in a folder of the test; models are those of this machine."""
    monkeypatch.setattr("consilience.signal_models.cache_dir", lambda: tmp_path / "models")


def decided(name: str, rules: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "rules": rules, "modelRefs": [{"model": "strong"}]}


def configured(
    signals: dict[str, Any],
    *decisions: dict[str, Any],
    catalog: dict[str, Any] | None = None,
    **more: Any,
) -> Config:
    return build_config(
        {
            "version": "v0.3",
            "providers": {"defaults": {"default_model": "cheap"}, "models": MODELS},
            "global": {"model_catalog": catalog or {}},
            "routing": {"signals": signals, "decisions": list(decisions)},
            **more,
        },
        environ={},
    )


REFUNDS = {"embeddings": [{"name": "refunds", "threshold": 0.7, "candidates": ["money back"]}]}
REFUND = decided("refund", {"type": "embedding", "name": "refunds"})
CLASSIFIERS = {
    "classifiers": [{"name": "tone", "type": "llm", "labels": ["formal", "casual"], "model": "h"}]
}
FORMAL = decided(
    "formal",
    {"type": "classifier", "name": "tone", "label": "formal", "predicate": {"gte": 0.5}},
)
NOT_FORMAL = decided(
    "casual",
    {
        "operator": "NOT",
        "conditions": [{"type": "classifier", "name": "tone", "label": "formal"}],
    },
)


def remote(server: RawServer, **more: Any) -> dict[str, Any]:
    endpoint = {"base_url": server.base_url, "model": "embedder", "api_key": KEY, **more}
    return {"embeddings": {"semantic": {"endpoint": endpoint}}}


def helper(server: RawServer, **more: Any) -> dict[str, Any]:
    where = {"address": "127.0.0.1", "port": server.port}
    entry = {"name": "h", "llm_endpoint": where, "llm_model_name": "labeller", "access_key": KEY}
    return {"external": [{**entry, **more}]}


def asking(text: str = "give me my money back", model: str = "auto") -> ChatRequest:
    return ChatRequest.from_body({"model": model, "messages": [{"role": "user", "content": text}]})


def embeds(request: Received) -> Sequence[Step]:
    rows = WordEncoder().encode(request.json["input"])
    entries = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
    return [json_answer({"data": entries})]


async def considered(gateway: Gateway, text: str, **more: Any) -> Consideration:
    found = await gateway.router.consider(asking(text), {}, **more)
    assert found is not None
    return found


def winner(found: Consideration) -> str | None:
    return found.winner.decision.name if found.winner else None


def gateway_of(config: Config) -> Gateway:
    return Gateway(config, upstream=ScriptedUpstream({}))


@pytest.mark.parametrize("model", [None, "wordllama-256", "minilm-l6-int8"])
async def test_local_model_decides_the_route(model: str | None) -> None:
    catalog = {"embeddings": {"semantic": {"model": model}}} if model else {}
    async with gateway_of(configured(REFUNDS, REFUND, catalog=catalog)) as gateway:
        assert winner(await considered(gateway, "I want my money back")) == "refund"
        assert winner(await considered(gateway, "write a poem about rain")) is None


async def test_endpoint_decides_the_route_and_gets_the_key() -> None:
    with raw_server(embeds) as server:
        config = configured(REFUNDS, REFUND, catalog=remote(server))
        async with gateway_of(config) as gateway:
            assert winner(await considered(gateway, "money back")) == "refund"
            assert winner(await considered(gateway, "a poem")) is None
    assert [request.json["input"] for request in server.requests] == [
        *(["money back"], ["money back"], ["a poem"]),
    ]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert {request.path for request in server.requests} == {"/v1/embeddings"}


async def test_prototypes_are_kept_for_the_next_start() -> None:
    signals = {"embeddings": [{**REFUNDS["embeddings"][0], "candidates": ["one", "two", "three"]}]}
    with raw_server(embeds) as server:
        config = configured(signals, REFUND, catalog=remote(server))
        for _ in range(2):
            async with gateway_of(config):
                pass
    assert [request.json["input"] for request in server.requests] == [
        ["one", "two", "three"],
        ["one"],
    ]


async def test_gateway_starts_when_the_endpoint_does_not_answer_and_uses_it_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "RETRY_S", 0)
    broken = True

    def script(request: Received) -> Sequence[Step]:
        return [answer(b"no", status=400)] if broken else embeds(request)

    with raw_server(script) as server, caplog.at_level(logging.WARNING):
        async with gateway_of(configured(REFUNDS, REFUND, catalog=remote(server))) as gateway:
            failed = await considered(gateway, "money back")
            assert winner(failed) is None
            assert failed.signals[SignalKey("embedding", "refunds")].error == (
                "the embedding model could not be used so far"
                " (the embeddings endpoint answered 400); tried again in 1 s"
            )
            broken = False
            assert winner(await considered(gateway, "money back")) == "refund"
    assert KEY not in caplog.text


async def test_request_goes_on_when_the_endpoint_is_too_slow() -> None:
    slow = False

    def script(request: Received) -> Sequence[Step]:
        return [HANG] if slow else embeds(request)

    with raw_server(script) as server:
        catalog = remote(server, timeout_seconds=0.2)
        async with gateway_of(configured(REFUNDS, REFUND, catalog=catalog)) as gateway:
            slow = True
            found = await considered(gateway, "money back")
            assert found.signals[SignalKey("embedding", "refunds")].error == (
                "not embedded within 0.2 s"
            )
            assert await server.until(lambda s: s.aborted == 1)


LABELS: list[tuple[str, str | None]] = [
    ('{"label": "formal", "rationale": "x"}', "formal"),
    ('{"label": "casual", "rationale": "x"}', "casual"),
]


@pytest.mark.parametrize(("said", "decision"), LABELS)
async def test_label_of_a_helper_decides_the_route(said: str, decision: str) -> None:
    with raw_server(chat_server({"labeller": said})) as server:
        config = configured(CLASSIFIERS, FORMAL, NOT_FORMAL, catalog=helper(server))
        async with gateway_of(config) as gateway:
            assert winner(await considered(gateway, "Dear Sir")) == decision
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json["model"] == "labeller"
    assert (request.json["max_tokens"], request.json["temperature"]) == (512, 0)


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([HANG], "the helper gave no answer within 0.2 s"),
        ([RESET], "the helper could not be asked: upstream_unreachable"),
        (
            [json_answer({"error": KEY}, status=500)],
            "the helper could not be asked: upstream_error",
        ),
        (
            [json_answer({"error": KEY}, status=401)],
            "the helper could not be asked: upstream_credentials",
        ),
        ([answer(b"<html>")], "the helper could not be asked: upstream_protocol_error"),
        (
            [json_answer(completion("I think it is formal"))],
            "the helper's answer is not the JSON object that was asked for",
        ),
        (
            [json_answer(completion('{"label": "angry"}'))],
            "the helper's answer names no label that was offered",
        ),
        (
            [json_answer(completion(None))],
            "the helper's answer is not the JSON object that was asked for",
        ),
    ],
)
async def test_failure_of_a_helper_is_in_the_trace_and_matches_nothing(
    steps: list[Step], error: str
) -> None:
    with raw_server(steps) as server:
        catalog = helper(server, llm_timeout_seconds=0.2)
        config = configured(CLASSIFIERS, FORMAL, NOT_FORMAL, catalog=catalog)
        async with gateway_of(config) as gateway:
            found = await considered(gateway, "Dear Sir")
    assert winner(found) is None
    assert found.signals[SignalKey("classifier", "tone:formal")] == SignalResult(False, error=error)


async def test_call_of_a_helper_is_cancelled_with_the_request() -> None:
    with raw_server([HANG]) as server:
        async with gateway_of(configured(CLASSIFIERS, FORMAL, catalog=helper(server))) as gateway:
            async with anyio.create_task_group() as group:
                group.start_soon(considered, gateway, "Dear Sir")
                assert await server.until(lambda s: len(s.requests) == 1)
                group.cancel_scope.cancel()
            assert await server.until(lambda s: s.aborted == 1)


async def test_time_of_a_helper_counts_for_the_deadline() -> None:
    with raw_server([HANG]) as server:
        config = configured(
            CLASSIFIERS,
            FORMAL,
            catalog=helper(server, llm_timeout_seconds=60),
            listeners=[{"timeout": "200ms"}],
        )
        async with gateway_of(config) as gateway:
            with pytest.raises(DeadlineExceededError, match=r"within the 0\.2 seconds"):
                await gateway.complete(asking("Dear Sir"))


async def test_no_helper_is_asked_in_a_dry_run() -> None:
    with raw_server(chat_server()) as server:
        config = configured(CLASSIFIERS, FORMAL, catalog=helper(server))
        async with gateway_of(config) as gateway:
            live = await considered(gateway, "Dear Sir", dry_run=True)
        async with prepared_router(config) as router:
            alone = await router.consider(asking("Dear Sir"), {}, dry_run=True)
    assert alone is not None
    for found in (live, alone):
        assert found.signals[SignalKey("classifier", "tone:formal")].error == (
            "helper models are not asked in a dry run"
        )
    assert server.requests == []


async def test_meanings_are_compared_in_a_dry_run() -> None:
    with raw_server(embeds) as server:
        config = configured(REFUNDS, REFUND, catalog=remote(server))
        async with prepared_router(config) as router:
            found = await router.consider(asking("money back"), {}, dry_run=True)
    assert found is not None
    assert winner(found) == "refund"


PREFERENCES = {"preferences": [{"name": "code", "description": "wants code"}]}
PREFERRED = decided("code", {"type": "preference", "name": "code"})
BY_HELPER = {"modules": {"classifier": {"preference": {"use_contrastive": False}}}}


async def test_helper_with_the_role_chooses_preferences() -> None:
    with raw_server(chat_server({"labeller": '{"label": "code"}'})) as server:
        catalog = {**helper(server, model_role="preference"), **BY_HELPER}
        config = configured(PREFERENCES, PREFERRED, catalog=catalog)
        async with gateway_of(config) as gateway:
            assert winner(await considered(gateway, "fix this")) == "code"


@pytest.mark.parametrize("first", [True, False])
async def test_helper_that_is_named_like_the_role_does_not_stand_in_its_way(first: bool) -> None:
    with raw_server(chat_server({"labeller": '{"label": "code"}'})) as server:
        (entry,) = helper(server, model_role="preference")["external"]
        other = {**entry, "name": "preference", "model_role": None, "llm_model_name": "other"}
        external = [other, entry] if first else [entry, other]
        config = configured(PREFERENCES, PREFERRED, catalog={"external": external, **BY_HELPER})
        async with gateway_of(config) as gateway:
            assert winner(await considered(gateway, "fix this")) == "code"
    assert [request.json["model"] for request in server.requests] == ["labeller"]


async def test_model_of_the_configuration_may_be_the_helper() -> None:
    asked: list[ChatRequest] = []

    def said(request: ChatRequest) -> str:
        asked.append(request)
        return "said"

    upstream = ScriptedUpstream(said)

    async def no_session() -> Any:
        raise AssertionError

    text = await Helpers(configured({}), no_session, lambda *_: upstream).ask(
        "cheap", [{"role": "user", "content": "hello"}]
    )
    assert text == "said"
    assert [request.model for request in asked] == ["cheap"]


async def test_address_of_a_helper_stays_out_of_its_failure() -> None:
    with raw_server([]) as server:
        config = configured(CLASSIFIERS, FORMAL, catalog=helper(server))
    async with new_session() as session:

        async def open_session() -> Any:
            return session

        with pytest.raises(HelperError) as caught:
            await Helpers(config, open_session, lambda *_: ScriptedUpstream({})).ask(
                "h", [{"role": "user", "content": "x"}]
            )
    assert "127.0.0.1" not in str(caught.value)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that were loaded."""
    loaded: list[str] = []
    load: Callable[[str], Any] = signal_models._encoder

    def encoder(name: str) -> Any:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr(signal_models, "_encoder", encoder)
    return loaded


async def test_no_model_is_loaded_when_no_decision_compares_meanings(counted: list[str]) -> None:
    keywords = {"keywords": [{"name": "k", "keywords": ["x"]}]}
    plain = decided("plain", {"type": "keyword", "name": "k"})
    async with gateway_of(configured({**REFUNDS, **keywords}, plain)) as gateway:
        assert winner(await considered(gateway, "x")) == "plain"
    assert counted == []


async def test_configuration_is_replaced_while_requests_are_compared(
    tmp_path: Path, counted: list[str]
) -> None:
    first, second = (
        configured(REFUNDS, REFUND),
        configured(
            {
                "embeddings": [
                    {"name": "refunds", "threshold": 0.7, "candidates": ["a poem of rain"]}
                ]
            },
            REFUND,
        ),
    )
    async with LiveGateway(gateway_of(first)) as live:
        old = live.current()
        assert winner(await considered(old, "money back")) == "refund"
        with old.in_use():
            await live.replace(gateway_of(second))
            assert winner(await considered(live.current(), "a poem of rain")) == "refund"
            assert winner(await considered(live.current(), "money back")) is None
            assert winner(await considered(old, "money back")) == "refund"
    assert len(counted) == 2


async def test_gateway_can_be_opened_after_it_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(configured(REFUNDS, REFUND))

    async def failing(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(signal_models, "prepare", failing)
        with pytest.raises(OSError, match="no space left"):
            await gateway.open()
    assert not gateway.ready
    await gateway.open()
    session = await gateway._session()
    assert not session.closed
    await gateway.aclose()
    assert session.closed


async def test_model_that_cannot_be_loaded_is_an_error_in_the_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    catalog = {"embeddings": {"semantic": {"model": str(tmp_path)}}}
    with caplog.at_level(logging.ERROR):
        async with gateway_of(configured(REFUNDS, REFUND, catalog=catalog)) as gateway:
            found = await considered(gateway, "money back")
    assert found.signals[SignalKey("embedding", "refunds")].error == "there is no embedding model"
    assert [record.message for record in caplog.records] == ["embedding_model_missing"]


async def test_file_with_a_knowledge_base_decides_the_route(tmp_path: Path) -> None:
    base = tmp_path / "kb"
    base.mkdir()
    (base / "labels.json").write_text('{"labels": {"refund": {"exemplars": ["money back"]}}}')
    (tmp_path / "gateway.yaml").write_text(
        """\
version: v0.3
providers:
  defaults: {default_model: cheap}
  models: [{name: cheap, backend_refs: [{endpoint: "127.0.0.1:9"}]}]
global:
  model_catalog:
    kbs: [{name: shop, source: {path: kb}, threshold: 0.7, groups: {money: [refund]}}]
routing:
  signals:
    kb: [{name: money, kb: shop, target: {kind: group, value: money}, match: best}]
  decisions:
    - {name: refund, rules: {type: kb, name: money}, modelRefs: [{model: cheap}]}
"""
    )
    async with gateway_of(load_config(tmp_path / "gateway.yaml")) as gateway:
        assert winner(await considered(gateway, "I want my money back")) == "refund"
        assert winner(await considered(gateway, "write a poem")) is None


async def test_projection_of_a_metric_decides_the_route() -> None:
    base = {
        "name": "shop",
        "labels": {"refund": ["money back"], "chat": ["hello there"]},
        "groups": {"money": ["refund"], "talk": ["chat"]},
        "metrics": [{"name": "lead", "positive_group": "money", "negative_group": "talk"}],
    }
    score = {
        "name": "lead",
        "method": "weighted_sum",
        "inputs": [{"type": "kb_metric", "kb": "shop", "metric": "lead", "weight": 1}],
    }
    mapping = {
        "name": "band",
        "source": "lead",
        "method": "threshold_bands",
        "outputs": [{"name": "about_money", "gt": 0.1}],
    }
    config = configured(
        {},
        decided("refund", {"type": "projection", "name": "about_money"}),
        catalog={"kbs": [base]},
        routing={
            "projections": {"scores": [score], "mappings": [mapping]},
            "decisions": [decided("refund", {"type": "projection", "name": "about_money"})],
        },
    )
    async with gateway_of(config) as gateway:
        assert winner(await considered(gateway, "money back please")) == "refund"
        assert winner(await considered(gateway, "hello there")) is None


async def test_composer_takes_a_level_back() -> None:
    signals = {
        "keywords": [{"name": "long", "keywords": ["proof"]}],
        "complexity": [
            {
                "name": "depth",
                "hard": {"candidates": ["prove this theorem"]},
                "easy": {"candidates": ["hello"]},
                "composer": {"type": "keyword", "name": "long"},
            }
        ],
    }
    hard = decided("hard", {"type": "complexity", "name": "depth:hard"})
    async with gateway_of(configured(signals, hard)) as gateway:
        assert winner(await considered(gateway, "prove this theorem, a proof please")) == "hard"
        assert winner(await considered(gateway, "prove this theorem")) is None


async def test_router_without_models_answers_with_errors() -> None:
    found = await Router(configured(REFUNDS, REFUND)).consider(asking(), {})
    assert found is not None
    assert found.winner is None
    assert found.signals[SignalKey("embedding", "refunds")].error == "there is no embedding model"
