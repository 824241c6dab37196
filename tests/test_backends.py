"""A model's backends and its `reliability` block, from the configuration to what clients see."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from consilience.backends import build_pool
from consilience.config import parse_config
from consilience.upstream.balance import Member
from consilience.upstream.http import new_session
from consilience.upstream.retry import RetryPolicy
from support.client import Response, ask, eventually
from support.live import fusion_yaml, live_gateway
from support.ports import closed_port
from support.raw_server import (
    CLOSE,
    RawServer,
    Received,
    Step,
    answer,
    completion,
    json_answer,
    raw_server,
)
from support.scripts import REPLY

KEY = "sk-canary-1234567890"
FINE: list[Step] = [json_answer(completion("here"))]


def _yaml(*refs: str, reliability: str = "", gateway: str = "") -> str:
    return (
        "version: v0.3\nlisteners: [{name: http, port: 0}]\n"
        f"providers: {{models: [{{name: m, reliability: {{{reliability}}},"
        f" backend_refs: [{', '.join(refs)}]}}]}}\n"
        f"global: {{gateway: {{retry_base_seconds: 0.001{', ' + gateway if gateway else ''}}}}}\n"
    )


def _ref(server: RawServer, more: str = "") -> str:
    return f"{{base_url: '{server.base_url}'{more}}}"


@contextmanager
def _served(*scripts: list[Step], **settings: str) -> Iterator[tuple[str, list[RawServer]]]:
    """A gateway with one model and a backend for each script."""
    with ExitStack() as stack:
        servers = [stack.enter_context(raw_server(script)) for script in scripts]
        yield stack.enter_context(live_gateway(_yaml(*map(_ref, servers), **settings))), servers


async def _member(reliability: str) -> Member:
    refs = ("{endpoint: '127.0.0.1:1', weight: 3}", "{endpoint: '127.0.0.1:2'}")
    async with new_session() as session:
        pool = build_pool(parse_config(_yaml(*refs, reliability=reliability)), session)
        member = pool.member("m")
    assert member is not None
    return member


@pytest.mark.anyio
async def test_a_reliability_block_goes_over_the_gateway_s_own_settings() -> None:
    member = await _member(
        "lb_policy: least_request, retry_count: 1, retry_on: '5xx,reset', consecutive_5xx: 2,"
        " base_ejection_time: 10m, max_ejection_percent: 25"
    )
    policy = member.backends[0].health.policy
    assert member.retries == RetryPolicy(1, 0.001, 8.0, frozenset({"5xx", "reset"}))
    assert (member.balancing, member.most_ejected) == ("least_request", 0.25)
    assert (policy.failures, policy.ejection_s, policy.longest_ejection_s) == (2, 600, 600)
    assert [b.weight for b in member.backends] == [3, 1]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("listener", "gateway", "seconds"),
    [
        ("", "", 10),
        (", timeout: 1s", "", 0.1),
        (", timeout: 1s", "first_byte_timeout_seconds: 0.05", 0.05),
    ],
)
async def test_where_requests_have_little_time_silence_tells_something_sooner(
    listener: str, gateway: str, seconds: float
) -> None:
    yaml = _yaml("{endpoint: '127.0.0.1:1'}", gateway=gateway)
    config = parse_config(yaml.replace("port: 0", f"port: 0{listener}"))
    async with new_session() as session:
        member = build_pool(config, session).member("m")
    assert member is not None
    assert member.retries.telling_s == pytest.approx(seconds)


@pytest.mark.anyio
async def test_models_at_the_same_servers_share_their_retry_budget() -> None:
    models = {
        "one": ["http://127.0.0.1:1/v1"],
        "same": ["http://127.0.0.1:1/other/v1"],
        "port": ["http://127.0.0.1:2/v1"],
        "both": ["http://127.0.0.1:2/v1", "http://127.0.0.1:1/v1"],
        "turned": ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"],
    }
    listed = "\n".join(
        f"    - {{name: {name}, backend_refs: [{', '.join(f'{{base_url: {url!r}}}' for url in urls)}]}}"
        for name, urls in models.items()
    )
    config = parse_config(
        f"version: v0.3\nlisteners: [{{name: http, port: 0}}]\nproviders:\n  models:\n{listed}\n"
    )
    async with new_session() as session:
        pool = build_pool(config, session)
    budgets = {name: member.budget for name in models if (member := pool.member(name))}
    assert budgets["one"] is budgets["same"]
    assert budgets["both"] is budgets["turned"]
    assert len({id(budget) for budget in budgets.values()}) == 3


@pytest.mark.anyio
async def test_without_one_the_gateway_s_own_settings_hold() -> None:
    member = await _member("")
    policy = member.backends[1].health.policy
    assert member.retries == RetryPolicy(2, 0.001, 8.0, None)
    assert (member.balancing, member.most_ejected, policy.failures) == ("round_robin", 1.0, 5)
    assert policy.ejection_s == 30


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_backend_that_fails_costs_nobody_an_answer(stream: bool) -> None:
    with _served([answer(b"", status=503)], FINE) as (url, (down, up)):
        replies = [ask(url, "m", stream=stream) for _ in range(20)]
    assert {reply.status for reply in replies} == {200}
    # five in a row, and it is out
    assert (len(down.requests), len(up.requests)) == (5, 20)


def test_a_dead_backend_is_passed_over() -> None:
    with raw_server(FINE) as up:
        dead = f"{{base_url: 'http://127.0.0.1:{closed_port()}/v1', weight: 9}}"
        with live_gateway(_yaml(dead, _ref(up), reliability="retry_count: 0")) as url:
            assert [ask(url, "m").status for _ in range(10)] == [200] * 10


def test_a_refused_key_is_said_once_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    def asked(url: str) -> Response:
        return ask(url, "m")

    refusal = json_answer({"error": {"message": f"bad key {KEY}"}}, status=401)
    with raw_server([refusal]) as one, raw_server(FINE) as two:
        refs = (_ref(one, f", api_key: {KEY}, name: old"), _ref(two))
        with live_gateway(_yaml(*refs)) as url:
            replies = [asked(url) for _ in range(10)]
    assert {reply.status for reply in replies} == {200}
    assert len(one.requests) == 1
    said = [r for r in caplog.records if r.getMessage() == "backend_disabled"]
    assert [getattr(r, "fields", {})["backend"] for r in said] == ["m/old"]
    assert KEY not in str([vars(r) for r in caplog.records])


def test_all_keys_refused_is_a_502_about_credentials() -> None:
    refusal: list[Step] = [json_answer({}, status=401)]
    with _served(refusal, refusal) as (url, servers):
        replies = [ask(url, "m") for _ in range(3)]
    assert [r.error["code"] for r in replies] == ["upstream_credentials"] * 3
    assert sum(len(s.requests) for s in servers) >= 4


def test_a_request_makes_no_more_calls_than_it_may() -> None:
    settings = {"gateway": "retry_count: 9, max_upstream_calls: 4"}
    with _served([CLOSE], **settings) as (url, (server,)):
        reply = ask(url, "m")
    assert (reply.status, len(server.requests)) == (502, 4)
    assert reply.headers["x-should-retry"] == "false"


def test_by_default_a_plain_request_makes_three_calls_at_most() -> None:
    with _served([CLOSE], gateway="retry_count: 9") as (url, (server,)):
        ask(url, "m")
    assert len(server.requests) == 3


def test_a_request_that_needs_more_calls_than_it_may_make_is_a_400_before_any() -> None:
    with raw_server(FINE) as server:
        text = _yaml(_ref(server), gateway="max_upstream_calls: 3") + (
            "routing: {decisions: [{name: p, algorithm: {type: fusion, fusion:"
            " {model: m, analysis_models: [m]}}}]}\n"
        )
        plugins = [{"id": "fusion", "analysis_models": ["m", "m"]}]
        with live_gateway(text) as url:
            assert ask(url, "vllm-sr/fusion").status == 200
            asked = len(server.requests)
            reply = ask(url, "vllm-sr/fusion", plugins=plugins)
    assert (reply.status, len(server.requests)) == (400, asked)
    assert "up to 4 upstream calls" in reply.error["message"]
    assert "max_upstream_calls allows 3" in reply.error["message"]


@pytest.mark.parametrize(
    ("most", "degraded"),
    [
        (4, ["judge=call_limit", None]),
        (5, ["judge=call_limit", None]),
        (6, [None, None]),
        (None, [None, None]),
    ],
)
@pytest.mark.parametrize("budget", ["", "  budgets: {per_request_usd: 100}\n"])
def test_asking_a_judge_in_other_words_never_takes_the_place_of_the_synthesis(
    most: int | None, degraded: list[str | None], budget: str
) -> None:
    def script(request: Received) -> list[Step]:
        if "response_format" in request.json:
            refusal = {"error": {"message": "no", "param": "response_format"}}
            return [json_answer(refusal, status=400)]
        judges = request.json["messages"][0]["content"] != "hello" and request.json["model"] == "j"
        first = len(request.json["messages"]) == 1
        return [json_answer(completion(REPLY if judges and first else "fine"))]

    limit = "" if most is None else f"max_upstream_calls: {most}"
    priced = ", pricing: {prompt_per_1m: 1, completion_per_1m: 1}"
    with raw_server(script) as server:
        text = fusion_yaml(base_url=server.base_url, gateway=limit) + budget
        if budget:
            text = text.replace("}]}\n", f"}}]{priced}}}\n")
        with live_gateway(text) as url:
            # what it does not take may be learnt a step a request
            replies = [ask(url, "vllm-sr/fusion") for _ in range(3)]
            calls = len(server.requests)
    assert {reply.status for reply in replies} == {200}
    assert {reply.json["choices"][0]["message"]["content"] for reply in replies} == {"fine"}
    told = [reply.headers.get("x-vsr-degraded") for reply in replies]
    assert [told[0], told[-1]] == degraded
    assert calls <= 3 * (most or 12)


def test_a_model_that_is_down_for_long_costs_hardly_a_call_more_than_the_requests() -> None:
    with _served([answer(b"", status=503)]) as (url, (server,)):
        assert {ask(url, "m").status for _ in range(50)} == {502}
    assert 50 < len(server.requests) <= 1.2 * 50


def test_active_checks_keep_a_sick_backend_out_and_end_with_the_gateway() -> None:
    sick = True

    def one(request: Received) -> list[Step]:
        if request.method == "GET":
            assert request.path == "/health"
            return [answer(b"", status=503 if sick else 200)]
        return FINE

    def checks(server: RawServer) -> int:
        return sum(r.method == "GET" for r in server.requests)

    settings = {
        "reliability": "health_check_path: /health, health_check_interval: 20ms,"
        " health_check_timeout: 10ms"
    }
    with raw_server(one) as first, raw_server(FINE) as second:
        with live_gateway(_yaml(_ref(first), _ref(second), **settings)) as url:
            assert first.wait_for(lambda s: checks(s) >= 3)
            assert [ask(url, "m").status for _ in range(6)] == [200] * 6
            assert all(r.method == "GET" for r in first.requests)
            sick = False
            assert eventually(lambda: ask(url, "m").status == 200 and checks(first) >= 5)
            assert eventually(
                lambda: (
                    ask(url, "m").status == 200 and any(r.method == "POST" for r in first.requests)
                )
            )
        assert first.wait_for(lambda s: s.active == 0, 1.0)
        assert checks(second) > 0


def test_nothing_is_checked_unless_a_path_is_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with _served(FINE, FINE) as (url, servers):
        assert ask(url, "m").status == 200
    assert {r.method for s in servers for r in s.requests} == {"POST"}
