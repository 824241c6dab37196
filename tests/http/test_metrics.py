"""`/metrics`: what is counted, who may read it, and that it waits for nobody."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from consilience.config import Config, parse_config
from consilience.errors import UpstreamStatusError
from consilience.gateway import Gateway
from consilience.http.metrics import note_levels
from consilience.live import LiveGateway
from consilience.telemetry import metrics
from consilience.telemetry.metrics import MOST_VALUES, Family, Names
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import ask, eventually, get, opened, pending, send
from support.keys import bearer, keyed_yaml, made_key
from support.live import fusion_yaml, live_gateway, model_yaml
from support.metrics import read, scraped
from support.raw_server import (
    HANG,
    RESET,
    SSE_HEAD,
    Received,
    Step,
    chunked,
    completion,
    json_answer,
    piece,
    raw_server,
)
from support.scripts import fusion_script

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
FUSION = "vllm-sr/fusion"
NEVER = Reply("x", delay_s=math.inf)


def _status(code: int) -> UpstreamStatusError:
    return UpstreamStatusError(f"answered with status {code}", model="m", status_code=code)


def test_a_fused_answer_is_counted_in_every_part() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        before = scraped(url)
        assert ask(url, FUSION).status == 200
        assert ask(url, FUSION, stream=True).status == 200
        after = scraped(url)
    grown = {
        ("requests_total", "path", "/v1/chat/completions"): 2,
        ("requests_total", "decision", "panel"): 2,
        ("requests_total", "status", "200"): 3,  # with the first scrape
        ("request_seconds_count", "path", "/v1/chat/completions"): 2,
        ("fusions_total", "outcome", "full"): 2,
        ("stage_seconds_count", "stage", "panel"): 4,
        ("stage_seconds_count", "stage", "judge"): 2,
        ("stage_seconds_count", "stage", "synthesis"): 2,
        ("upstream_calls_total", "model", "j"): 4,
        ("upstream_calls_total", "outcome", "ok"): 8,
        ("upstream_first_token_seconds_count", "model", "j"): 1,
        ("tokens_total", "direction", "prompt"): 80,
        ("tokens_total", "direction", "completion"): 40,
        ("unpriced_calls_total", "model", "a"): 2,
    }
    assert {
        (name, label, value): after.since(before, name, **{label: value})
        for name, label, value in grown
    } == grown
    assert after.since(before, "gateway_overhead_seconds_count") == 2
    assert after.since(before, "routing_seconds_count") == 2
    assert after.since(before, "queue_seconds_count") == 2
    assert after.value("build_info") == 1
    assert after.value("config_last_reload_successful") == 1


def test_what_fails_is_counted_by_its_reason() -> None:
    script = fusion_script(a=_status(500), b=_status(429))
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        before = scraped(url)
        assert ask(url, FUSION).status == 502
        assert ask(url, "no-such-model").status == 404
        after = scraped(url)
    assert after.since(before, "errors_total", code="panel_failed") == 1
    assert after.since(before, "errors_total", code="model_not_found") == 1
    assert after.since(before, "fusions_total", decision="panel", outcome="failed") == 1
    assert after.since(before, "upstream_calls_total", model="b", outcome="rate_limited") == 1
    assert after.since(before, "requests_total", decision="", status="404") == 1


def test_a_degraded_answer_and_a_client_that_left_are_told_apart() -> None:
    script = fusion_script(a=_status(500))
    with live_gateway(fusion_yaml(), ScriptedUpstream(script)) as url:
        before = scraped(url)
        assert ask(url, FUSION).status == 200
        assert scraped(url).since(before, "fusions_total", outcome="degraded") == 1
    upstream = ScriptedUpstream({"j": NEVER})
    with live_gateway(fusion_yaml(), upstream) as url:
        before = scraped(url)
        with pending(url, "j"):
            assert eventually(lambda: len(upstream.calls) == 1)
        assert eventually(lambda: scraped(url).since(before, "requests_total", status="499") == 1)
        assert scraped(url).since(before, "upstream_calls_total", outcome="left") == 1


def test_retries_and_a_backend_out_of_service_are_counted() -> None:
    answers: list[int] = [503, 200, 429, 429]

    def script(request: Received) -> list[Step]:
        status = answers.pop(0)
        return [json_answer(completion("hi") if status == 200 else {}, status=status)]

    with raw_server(script) as server:
        text = fusion_yaml(
            base_url=server.base_url, gateway="retry_base_seconds: 0.001, retry_count: 1"
        )
        with live_gateway(text) as url:
            before = scraped(url)
            assert ask(url, "a").status == 200
            after = scraped(url)
            assert after.since(before, "upstream_retries_total", model="a") == 1
            assert after.since(before, "upstream_calls_total", model="a", outcome="ok") == 1
            assert ask(url, "a").status == 429
            last = scraped(url)
    assert last.since(after, "backend_absences_total", backend="a/0", state="cooling") == 1
    assert after.value("backend_out", backend="a/0") == 0
    assert last.value("backend_out", backend="a/0") == 1


@pytest.mark.anyio
async def test_a_backend_that_a_reload_took_away_is_not_out_for_ever() -> None:
    def config(name: str) -> Config:
        return parse_config(f"version: v0.3\nproviders:\n  models:\n{model_yaml(name)}")

    async with LiveGateway(Gateway(config("before"))) as live:
        live.current().healths["before/0"].end("credentials", anyio.current_time())
        note_levels(live)
        assert _gauge("backend_out", backend="before/0") == 1
        assert await live.reload(lambda: config("after"))
        note_levels(live)
        assert _gauge("backend_out", backend="before/0") == 0
        assert _gauge("backend_out", backend="after/0") == 0


@pytest.mark.anyio
async def test_a_refused_reload_leaves_the_time_of_the_last_good_one() -> None:
    locked = parse_config(fusion_yaml(listener="api_keys: [sk-1]"))
    async with LiveGateway(Gateway(locked), stays_locked=True) as live:
        at = _gauge("config_last_reload_success_timestamp_seconds")
        assert not await live.reload(lambda: parse_config(fusion_yaml()))
        assert _gauge("config_last_reload_successful") == 0
        assert _gauge("config_last_reload_success_timestamp_seconds") == at
        assert await live.reload(lambda: locked)
        assert _gauge("config_last_reload_successful") == 1
        assert _gauge("config_last_reload_success_timestamp_seconds") > at


def _gauge(name: str, **labels: str) -> float:
    return read(metrics.rendered()).value(name, **labels)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_stream_that_nobody_tells_the_usage_of_is_a_call_of_unknown_cost(leaves: bool) -> None:
    said: list[Step] = [SSE_HEAD, chunked(piece("par")), HANG if leaves else RESET]
    with raw_server(lambda _: said) as server:
        text = fusion_yaml(base_url=server.base_url)
        with live_gateway(text) as url:
            before = scraped(url)
            with opened(url, "a") as stream:
                assert next(stream.data())
                if not leaves:
                    assert "error" in list(stream.data())[-1]
            outcome = "left" if leaves else "connection"
            name = "upstream_calls_total"
            assert eventually(
                lambda: scraped(url).since(before, name, model="a", outcome=outcome) == 1
            )
            assert scraped(url).since(before, "unpriced_calls_total", model="a") == 1


def test_money_is_counted_where_the_price_is_known(tmp_path: Path) -> None:
    file = tmp_path / "keys.sqlite3"
    key = bearer(made_key(file))
    listener = "sk-operator"
    text = keyed_yaml(file, listener=f"api_keys: [{listener}]")
    with live_gateway(text, ScriptedUpstream(fusion_script())) as url:
        before = scraped(url, bearer(listener))
        assert ask(url, "j", key).status == 200
        after = scraped(url, bearer(listener))
    # 10 tokens of prompt and 5 of answer, at $1 and $10 a million
    assert after.since(before, "cost_usd_total", model="j") == pytest.approx(60e-6)
    assert after.since(before, "unpriced_calls_total") == 0


def test_metrics_want_the_operators_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.sqlite3"
    key = bearer(made_key(file))
    with live_gateway(
        keyed_yaml(file, listener="api_keys: [sk-operator]"), ScriptedUpstream("hi")
    ) as url:
        assert get(url, "/metrics").status == 401
        refused = get(url, "/metrics", key)
        assert (refused.status, refused.error["code"]) == (403, "permission_denied")
        assert "global.metrics.public" in refused.error["message"]
        scraped(url, bearer("sk-operator"))


@pytest.mark.parametrize(
    ("setting", "status"), [("public: true", 200), ("enabled: false, public: true", 404)]
)
def test_the_configuration_opens_metrics_or_leaves_them_out(
    tmp_path: Path, setting: str, status: int
) -> None:
    file = tmp_path / "keys.sqlite3"
    made_key(file)
    text = f"{keyed_yaml(file)}  metrics: {{{setting}}}\n"
    with live_gateway(text, ScriptedUpstream("hi")) as url:
        assert get(url, "/metrics").status == status
        assert get(url, "/v1/models").status == 401


def test_metrics_can_only_be_read() -> None:
    with live_gateway(fusion_yaml(), ScriptedUpstream("hi")) as url:
        refused = send(url, "POST", "/metrics", b"x")
        assert (refused.status, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
        head = send(url, "HEAD", "/metrics")
        assert (head.status, head.body) == (200, b"")


def test_metrics_wait_for_no_room_and_show_who_does() -> None:
    upstream = ScriptedUpstream({"j": NEVER})
    text = fusion_yaml(gateway="max_in_flight: 1, max_queued: 1, max_queue_seconds: 600")
    with live_gateway(text, upstream) as url, pending(url, "j"), pending(url, "j"):
        assert eventually(lambda: scraped(url).value("requests_queued") == 1)
        assert scraped(url).value("calls_in_flight") == 1
        before = scraped(url)
        assert ask(url, "j").status == 503
        assert scraped(url).since(before, "errors_total", code="overloaded") == 1


def test_what_clients_choose_makes_no_series() -> None:
    upstream = ScriptedUpstream(fusion_script())
    with live_gateway(fusion_yaml(), upstream) as url:
        ask(url, FUSION)
        ask(url, "x")
        get(url, "/nothing")
        before = len(scraped(url).samples)
        for i in range(300):
            assert ask(url, f"model-{i}", user=f"u{i}").status == 404
            assert get(url, f"/nothing/{i}").status == 404
        assert len(scraped(url).samples) <= before + 20  # buckets that had nothing before


def test_models_that_only_requests_name_are_one() -> None:
    with raw_server(lambda _: [json_answer(completion("hi"))]) as server:
        looper = f"  integrations: {{looper: {{endpoint: '{server.base_url}/chat/completions',"
        text = fusion_yaml().replace(
            "global:\n", f"global:\n{looper} fusion: {{request_overrides: any}}}}}}\n"
        )
        with live_gateway(text) as url:
            before = scraped(url)
            for i in range(3):
                entry: dict[str, Any] = {
                    "id": "fusion",
                    "analysis_models": [f"own-{i}", f"other-{i}"],
                    "model": f"own-{i}",
                }
                assert ask(url, FUSION, plugins=[entry]).status == 200
            after = scraped(url)
    assert after.since(before, "upstream_calls_total", model="other") == 12
    assert after.value("upstream_calls_total", model="own-1") == 0


def test_the_docs_name_every_metric_with_its_type_and_labels() -> None:
    table = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}
    families = [each for each in vars(metrics).values() if isinstance(each, metrics.Family)]
    made = {
        (
            each.metric.describe()[0].name.removeprefix("consilience_")
            + ("_total" if each.metric.describe()[0].type == "counter" else ""),
            each.metric.describe()[0].type,
            tuple(each.metric._labelnames),
        )
        for each in families
    }
    assert told == made


def test_a_label_takes_so_many_values_and_then_one_more() -> None:
    names = Names()
    values = {names.of(f"m{i}") for i in range(10_000)}
    assert len(values) == MOST_VALUES + 1
    assert names.of("m3") == "m3"
    assert names.of("m9999") == "other"


def test_a_family_keeps_no_more_than_its_metric() -> None:
    class Metric:
        _labelnames = ("model",)

        def __init__(self) -> None:
            self.made: set[str] = set()

        def labels(self, model: str) -> str:
            self.made.add(model)
            return model

    metric = Metric()
    family = Family(metric, "model")
    for i in range(10_000):
        family.of(f"m{i}")
    assert len(metric.made) == MOST_VALUES + 1
    assert family.of("m1") == "m1"
