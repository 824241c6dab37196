"""Virtual keys and budgets over HTTP, with the official client, against a live gateway."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from consilience.config import parse_config
from consilience.gateway import Gateway
from consilience.http.middleware import UNPROTECTED
from consilience.http.models import Process
from consilience.http.routes import build_router
from consilience.keys.records import new_secret
from consilience.keys.store import EVERYTHING, KeyStore
from consilience.live import LiveGateway
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.client import HELLO, ask, eventually, get, opened, post, send
from support.keys import bearer, keyed_yaml, made_key
from support.live import live_gateway
from support.scripts import fusion_script

openai = pytest.importorskip("openai")
FUSION = "vllm-sr/fusion"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@contextmanager
def serving(path: Path, *, script: Any = None, **more: Any) -> Iterator[tuple[str, Any]]:
    upstream = ScriptedUpstream(script or {**fusion_script(), "p": "priced"})
    with live_gateway(keyed_yaml(path, **more), upstream) as url:
        yield url, upstream


@contextmanager
def client_of(url: str, key: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


def chat(client: Any, model: str = "a", **fields: Any) -> Any:
    return client.chat.completions.create(model=model, messages=HELLO, **fields)


def spent(path: Path, account: str) -> Decimal:
    with KeyStore(path) as store:
        return sum((v for (of, _), v in store.spend_since("").items() if of == account), Decimal(0))


def test_a_key_opens_the_door_and_nothing_else_does(path: Path) -> None:
    key = made_key(path)
    with serving(path) as (url, upstream), client_of(url, key) as client:
        assert chat(client).choices[0].message.content == "one"
        for other in ("csl-wrong", key[:-1], key.removeprefix("csl-"), "' OR '1'='1"):
            with client_of(url, other) as stranger, pytest.raises(openai.AuthenticationError) as e:
                chat(stranger)
            assert e.value.code == "invalid_api_key"
        assert len(upstream.calls) == 1


def test_every_route_is_protected_that_is_not_on_the_list(path: Path) -> None:
    made_key(path)
    config = parse_config(keyed_yaml(path))
    routes = build_router(LiveGateway(Gateway(config)), "0", Process()).routes
    paths = {
        (method, route.path.replace("{name:path}", "a"))
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert len(paths) > 8
    assert len({route.path for route in routes if isinstance(route, Route)}) == len(routes)

    with live_gateway(config, ScriptedUpstream()) as url:
        statuses = {(m, p): send(url, m, p, b"{}").status for m, p in paths}

    assert {p for (_, p), status in statuses.items() if status != 401} == UNPROTECTED
    assert {"/health", "/ready"} == UNPROTECTED


def test_nobody_needs_a_key_where_there_is_none(path: Path) -> None:
    with serving(path) as (url, _):
        assert ask(url, "a").status == 200
        assert not path.exists()


def test_the_first_key_locks_a_gateway_that_runs(path: Path) -> None:
    with serving(path) as (url, _):
        made_key(path)

        assert eventually(lambda: ask(url, "a").status == 401)


def test_a_listeners_key_is_as_good_and_has_no_limits(path: Path) -> None:
    made_key(path, models=("b",))
    with serving(path, listener="api_keys: [k-one]") as (url, _):
        assert ask(url, "a", bearer("k-one")).status == 200
        assert "x-ratelimit-limit-requests" not in ask(url, "a", bearer("k-one")).headers


@pytest.mark.parametrize(("change", "told"), [("revoke", "revoked"), ("rotate", "not known")])
def test_a_key_that_is_ended_is_refused_within_seconds(path: Path, change: str, told: str) -> None:
    key = made_key(path)
    with serving(path) as (url, _):
        assert ask(url, "a", bearer(key)).status == 200
        with KeyStore(path) as store:
            if change == "revoke":
                store.revoke("team", now=1)
            else:
                store.rotate("team", new_secret(), now=1)
                store.rotate("team", new_secret(), now=1)

        assert eventually(lambda: ask(url, "a", bearer(key)).status == 401, 5)
        assert told in ask(url, "a", bearer(key)).error["message"]


def test_an_expired_key_is_refused(path: Path) -> None:
    key = made_key(path, expires_in=-1)
    with serving(path) as (url, _):
        reply = ask(url, "a", bearer(key))

    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert reply.error["message"] == "this key has expired"


def test_a_key_may_use_what_it_names_and_sees_nothing_else(path: Path) -> None:
    key = made_key(path, models=("a", FUSION))
    with serving(path) as (url, upstream), client_of(url, key) as client:
        assert chat(client).choices[0].message.content == "one"
        assert chat(client, FUSION).choices[0].message.content == "The answer."
        assert [model.id for model in client.models.list()] == [FUSION, "a"]
        assert get(url, "/v1/models/b", bearer(key)).status == 404
        made = len(upstream.calls)
        for model, fields in (
            ("b", {}),
            ("auto", {}),
            ("no-such-model", {}),
            (FUSION, {"extra_body": {"plugins": [{"id": "fusion", "analysis_models": ["b"]}]}}),
            (FUSION, {"extra_body": {"plugins": [{"id": "fusion", "model": "b"}]}}),
        ):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                chat(client, model, **fields)
            assert refused.value.code == "permission_denied"
        dry = post(url, {"model": "b", "text": "hi"}, bearer(key), path="/api/v1/eval")
        assert (dry.status, len(upstream.calls)) == (403, made)


def test_requests_a_minute_are_counted_and_told(path: Path) -> None:
    key = made_key(path, requests_per_minute=2)
    with serving(path) as (url, _), client_of(url, key) as client:
        left = [ask(url, "a", bearer(key)).headers["x-ratelimit-remaining-requests"] for _ in "12"]
        with pytest.raises(openai.RateLimitError) as refused:
            chat(client)

    headers = refused.value.response.headers
    assert left == ["1", "0"]
    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert "x-should-retry" not in headers


def test_tokens_a_minute_are_what_was_used(path: Path) -> None:
    key = made_key(path, tokens_per_minute=600)
    with serving(path) as (url, upstream):
        first = ask(url, "a", bearer(key), max_tokens=5)
        second = ask(url, "a", bearer(key), max_tokens=5)
        third = ask(url, FUSION, bearer(key))

    assert (first.status, second.status, third.status) == (200, 200, 429)
    assert second.headers["x-ratelimit-limit-tokens"] == "600"
    assert len(upstream.calls) == 2


@BOTH
def test_a_budget_that_is_too_small_is_a_402_before_anything_is_spent(
    path: Path, stream: bool
) -> None:
    key = made_key(path, usd_per_day=Decimal("0.001"))
    with serving(path) as (url, upstream), client_of(url, key) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            chat(client, FUSION, stream=stream)
        assert chat(client, max_completion_tokens=50).choices[0].message.content == "one"

    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert len(upstream.calls) == 1


@BOTH
def test_what_was_spent_is_kept(path: Path, stream: bool) -> None:
    key = made_key(path, usd_per_month=Decimal(10))
    with serving(path) as (url, _):
        reply = ask(url, FUSION, bearer(key), stream=stream, stream_options={"include_usage": True})
    with KeyStore(path) as store:
        (record,) = store.records()

    trace = reply.events[-2]["fusion"] if stream else reply.json["fusion"]
    cost = 4 * Decimal("0.00006")  # ten tokens read and five written, four times
    assert spent(path, record.id) == spent(path, EVERYTHING) == cost
    assert Decimal(str(trace["cost_usd"])) == cost


def test_a_budget_holds_over_a_restart(path: Path) -> None:
    key = made_key(path, usd_per_day=Decimal("0.0003"))
    for _ in range(2):
        with serving(path) as (url, _):
            statuses = [ask(url, "a", bearer(key), max_tokens=10).status for _ in range(5)]

    assert spent(path, EVERYTHING) <= Decimal("0.0003")
    assert statuses[-1] == 402


def test_a_client_that_leaves_pays_for_what_it_began(path: Path) -> None:
    hangs = {"a": Reply("x " * 1000, gap_s=0.05)}
    with serving(path, script=hangs, budgets="per_day_usd: 1") as (url, upstream):
        with opened(url, "a", max_tokens=100) as response:
            next(response.lines())
        assert eventually(lambda: upstream.cancelled == 1)
        assert eventually(lambda: path.exists() and spent(path, EVERYTHING) > 0)

    assert Decimal("0.001") <= spent(path, EVERYTHING) < Decimal("0.002")


@pytest.mark.parametrize(
    ("fields", "headers", "param"),
    [
        ({"plugins": [{"id": "fusion", "max_cost_usd": 0.001}]}, {}, "plugins[0].max_cost_usd"),
        ({}, {"x-max-cost-usd": "0.001"}, "x-max-cost-usd"),
    ],
    ids=["plugin", "header"],
)
def test_a_request_may_limit_itself(
    path: Path, fields: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    with serving(path) as (url, upstream):
        reply = ask(url, FUSION, headers, **fields)
        enough = ask(url, FUSION, {"x-max-cost-usd": "2"})

    assert (reply.status, reply.error["code"]) == (400, "max_cost_exceeded")
    assert reply.error["param"] == param
    assert (enough.status, len(upstream.calls)) == (200, 4)


@pytest.mark.parametrize("amount", ["", "free", "0", "-1", "NaN", "Infinity", "1e999999999", "0,5"])
def test_a_limit_that_is_no_amount_is_a_400(path: Path, amount: str) -> None:
    with serving(path) as (url, upstream):
        reply = ask(url, "a", {"x-max-cost-usd": amount})

    assert (reply.status, reply.error["param"]) == (400, "x-max-cost-usd")
    assert upstream.calls == []


def test_the_gateways_own_ceiling_is_a_402(path: Path) -> None:
    with serving(path, budgets="per_request_usd: 0.01") as (url, _):
        small, large = ask(url, "a", max_tokens=10), ask(url, "a", max_tokens=10_000)

    assert (small.status, large.status) == (200, 402)
    assert "this gateway allows $0.01" in large.error["message"]


def test_an_unknown_price_is_not_nothing(path: Path) -> None:
    with serving(path, budgets="per_day_usd: 1", priced=False) as (url, upstream):
        refused = ask(url, "a")
    with serving(path, budgets="per_day_usd: 1, unpriced: allow", priced=False) as (url, _):
        allowed = ask(url, "a")

    assert (refused.status, refused.error["code"]) == (402, "budget_exceeded")
    assert "the price of model 'a' is not known" in refused.error["message"]
    assert (allowed.status, upstream.calls) == (200, [])


@pytest.mark.parametrize("limits", [True, False])
def test_an_answer_that_nothing_limits_is_limited_while_a_budget_holds(
    path: Path, limits: bool
) -> None:
    budgets = f"per_day_usd: 1, answer_tokens: 700, limit_answers: {str(limits).lower()}"
    with serving(path, budgets=budgets) as (url, upstream):
        ask(url, "a")
        ask(url, "a", max_tokens=9)
    with serving(path) as (url, without):
        ask(url, "a")

    sent = [call.body.get("max_completion_tokens") for call in upstream.calls]
    assert sent == [700 if limits else None, None]
    assert "max_completion_tokens" not in without.calls[0].body


def test_keys_are_in_no_log_and_no_answer(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = made_key(path, models=("a",), requests_per_minute=6)
    logging.getLogger("consilience").propagate = True
    said: list[str] = []
    with caplog.at_level(logging.DEBUG), serving(path) as (url, _):
        for model in ("a", "b", FUSION, "a", "a", "a", "a", "a"):
            reply = ask(url, model, bearer(key))
            said += [reply.body.decode(), str(reply.headers)]
        said.append(ask(url, "a", bearer(key[:-2])).body.decode())
        said += [str(vars(record)) for record in caplog.records]

    secret = key.removeprefix("csl-")
    assert not [line for line in said if secret[:-2] in line]
    assert any("'key': 'key_" in line for line in said)
