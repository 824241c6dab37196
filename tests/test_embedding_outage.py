"""An embeddings endpoint, or a helper, that misbehaves: every request gets a route, and soon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consilience import Config, Gateway, ScriptedUpstream
from consilience.chat.request import ChatRequest
from consilience.config import build_config
from consilience.signals import breaker
from consilience.signals.base import SignalKey, SignalResult
from support.meanings import WordEncoder
from support.raw_server import (
    CLOSE,
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
KEY = SignalKey("embedding", "refunds")
MODELS = [
    {"name": name, "backend_refs": [{"endpoint": "127.0.0.1:9"}]} for name in ("cheap", "strong")
]
RULES: dict[str, Any] = {
    "embeddings": [{"name": "refunds", "threshold": 0.7, "candidates": ["money back"]}]
}
BY_HELPER: dict[str, Any] = {
    "classifiers": [{"name": "tone", "type": "llm", "labels": ["formal", "casual"], "model": "h"}]
}
REFUND = {
    "name": "refund",
    "rules": {"type": "embedding", "name": "refunds"},
    "modelRefs": [{"model": "strong"}],
}
FORMAL = {
    "name": "formal",
    "rules": {"type": "classifier", "name": "tone", "label": "formal"},
    "modelRefs": [{"model": "strong"}],
}
OTHERWISE = {"name": "rest", "modelRefs": [{"model": "cheap"}]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are kept in a folder of the test."""
    monkeypatch.setattr("consilience.signal_models.cache_dir", lambda: tmp_path / "models")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.upstream.embedding.remote._RETRY_AFTER_S", 0)


def configured(
    server: RawServer, *decisions: Any, catalog: Any = None, limit_s: float = 0.3, **signals: Any
) -> Config:
    endpoint = {"base_url": server.base_url, "model": "embedder", "timeout_seconds": limit_s}
    return build_config(
        {
            "version": "v0.3",
            "providers": {"models": MODELS},
            "global": {
                "model_catalog": catalog or {"embeddings": {"semantic": {"endpoint": endpoint}}}
            },
            "routing": {"signals": signals, "decisions": [*decisions, OTHERWISE]},
        },
        environ={},
    )


def helped(server: RawServer, limit_s: float = 1) -> Config:
    where = {"address": "127.0.0.1", "port": server.port}
    entry = {"name": "h", "llm_endpoint": where, "llm_model_name": "labeller"}
    external = {"external": [{**entry, "llm_timeout_seconds": limit_s}]}
    return configured(server, FORMAL, catalog=external, **BY_HELPER)


def gateway_of(config: Config) -> Gateway:
    return Gateway(config, upstream=ScriptedUpstream({}))


async def routed(gateway: Gateway, text: str = "money back") -> tuple[str, SignalResult]:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    found = await gateway.router.consider(ChatRequest.from_body(body), {})
    assert found is not None
    assert found.winner is not None
    (result,) = (r for key, r in found.signals.items() if key.name in ("refunds", "tone:formal"))
    return found.winner.decision.name, result


async def all_routed(gateway: Gateway, count: int = 50) -> Sequence[tuple[str, SignalResult]]:
    ends: list[tuple[str, SignalResult]] = []

    async def one() -> None:
        ends.append(await routed(gateway))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return ends


def embeds(request: Received) -> bytes:
    rows = WordEncoder().encode(request.json["input"])
    entries = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
    return json_answer({"data": entries})


class Moody:
    """Behaves until it is told otherwise."""

    def __init__(self) -> None:
        self.steps: Callable[[Received], Sequence[Step]] = lambda request: [embeds(request)]

    def __call__(self, request: Received) -> Sequence[Step]:
        return self.steps(request)


def says(*steps: Step) -> Callable[[Received], Sequence[Step]]:
    return lambda _request: steps


def trickles(request: Received) -> Sequence[Step]:
    whole = embeds(request)
    return [step for i in range(40) for step in (whole[i : i + 1], 0.05)]


def late(request: Received) -> Sequence[Step]:
    return [0.05, embeds(request)]


async def test_hung_endpoint_is_waited_for_by_the_first_requests_only() -> None:
    moody = Moody()
    with raw_server(moody) as server:
        config = configured(server, REFUND, limit_s=3, **RULES)
        async with gateway_of(config) as gateway:
            assert (await routed(gateway))[0] == "refund"
            moody.steps = says(HANG)
            ends = await all_routed(gateway)
            assert {name for name, _ in ends} == {"rest"}
            assert {result.error for _, result in ends} == {"not embedded within 3 s"}
            asked = len(server.requests)
            ends = await all_routed(gateway)
            assert {name for name, _ in ends} == {"rest"}
            assert all("is not asked: it failed" in str(result.error) for _, result in ends)
            assert len(server.requests) == asked


async def test_endpoint_that_is_up_again_is_used_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moody = Moody()
    with raw_server(moody) as server, caplog.at_level(logging.INFO, "consilience"):
        config = configured(server, REFUND, limit_s=30, **RULES)
        async with gateway_of(config) as gateway:
            monkeypatch.setattr(breaker, "REST_S", 0)
            monkeypatch.setattr(breaker, "LEAST_PROBE_S", 30)
            for _ in range(3):
                moody.steps = says(answer(b"<html>"))
                for _ in range(3):
                    assert (await routed(gateway))[0] == "rest"
                moody.steps = lambda request: [embeds(request)]
                assert (await routed(gateway))[0] == "refund"
    names = [record.message for record in caplog.records if "signal_model" in record.message]
    assert names == ["signal_model_failed", *["signal_model_down", "signal_model_back"] * 3]
    assert not any(record.exc_info for record in caplog.records)


async def test_hung_helper_is_waited_for_by_the_first_requests_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with raw_server([HANG]) as server, caplog.at_level(logging.INFO, "consilience"):
        async with gateway_of(helped(server)) as gateway:
            ends = await all_routed(gateway, 3)
            assert {result.error for _, result in ends} == {"the helper gave no answer within 1 s"}
            asked = len(server.requests)
            name, result = await routed(gateway)
            assert name == "rest"
            assert str(result.error).startswith(
                "the helper is not asked: it failed (the helper gave no answer within 1 s);"
            )
            assert len(server.requests) == asked
    names = [record.message for record in caplog.records if "model" in record.message]
    assert names == ["signal_model_down"]


async def test_helper_that_says_nothing_of_use_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with raw_server([json_answer(completion("formal, I think"))]) as server:
        async with gateway_of(helped(server, 30)) as gateway:
            with caplog.at_level(logging.INFO, "consilience"):
                for _ in range(5):
                    assert (await routed(gateway))[0] == "rest"
    assert [record.message for record in caplog.records] == ["helper_failed"]
    assert len(server.requests) == 5


MOODS: Sequence[Callable[[Received], Sequence[Step]]] = (
    lambda request: [embeds(request)],
    late,
    trickles,
    says(HANG),
    says(RESET),
    says(CLOSE),
    says(answer(b"<html>", kind="text/html")),
    says(answer(b"", status=500)),
    says(answer(b"", status=400)),
    says(json_answer({"data": [{"index": 0, "embedding": [1.0, 2.0]}]})),
    says(json_answer({"data": [{"index": 10**9, "embedding": [1.0] * 4096}]})),
    says(json_answer({"data": [{"index": 0, "embedding": [0.0] * 4096}]})),
    says(json_answer([1])),
)


@given(st.lists(st.sampled_from(MOODS), min_size=1, max_size=6), st.booleans())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_every_request_gets_a_route_whatever_the_endpoint_does(
    moods: Sequence[Callable[[Received], Sequence[Step]]], at_once: bool
) -> None:
    moody = Moody()
    moody.steps = moods[0]
    with pytest.MonkeyPatch.context() as patch, raw_server(moody) as server:
        if at_once:
            patch.setattr(breaker, "REST_S", 0)
            patch.setattr("consilience.signals.models.RETRY_S", 0)
        async with gateway_of(configured(server, REFUND, **RULES)) as gateway:
            for moody.steps in moods:
                for name, result in await all_routed(gateway, 5):
                    assert name == ("rest" if result.error else "refund")
