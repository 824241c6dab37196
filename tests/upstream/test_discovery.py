"""Discovery against model servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from consilience import parse_config
from consilience.config.starter import starter_config
from consilience.upstream import discovery
from consilience.upstream.discovery import Found, discover
from consilience.upstream.vendors import (
    SERVERS,
    VENDORS,
    Choice,
    ModelServer,
    Vendor,
    chats,
    choose,
)

pytestmark = pytest.mark.anyio

SECRET = "sk-very-secret-1234"
CLOSED = "http://127.0.0.1:9/v1"


class Listing:
    """A server with one `/v1/models`; keeps what it was asked with."""

    def __init__(self, answer: object = None, *, status: int = 200, delay_s: float = 0) -> None:
        self.answer, self.status, self.delay_s = answer, status, delay_s
        self.seen: list[dict[str, str]] = []
        self.left = anyio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append({k.lower(): v for k, v in request.headers.items()})
        with anyio.move_on_after(self.delay_s):
            await self.left.wait()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def serving(*listings: Listing) -> AsyncIterator[None]:
    runners: list[web.AppRunner] = []
    try:
        for listing in listings:
            app = web.Application()
            app.router.add_get("/v1/models", listing.handle)
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            listing.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield
    finally:
        for listing in listings:
            listing.left.set()
        for runner in runners:
            await runner.cleanup()


def models(*ids: str, **fields: object) -> dict[str, object]:
    return {"object": "list", "data": [{"id": model, **fields} for model in ids]}


def vendor(url: str, *choices: Choice, name: str = "acme", key: str = "ACME_API_KEY") -> Vendor:
    table = choices or (
        Choice(r"big-\d+", "big-1", "acme"),
        Choice(r"small-\d+", "small-1", "acme", light=True),
    )
    return Vendor(name, url, (key,), table)


def server(listing: Listing, name: str = "vllm") -> ModelServer:
    return ModelServer(name, "vLLM", listing.url)


async def found_at(listing: Listing, *, key: str = SECRET) -> Found:
    async with serving(listing):
        acme = vendor(listing.url)
        return await discover(
            {"ACME_API_KEY": key}, vendors=(acme,), servers=(), local_installed=False
        )


def names(found: Found) -> Sequence[str]:
    return [model.name for model in found.models]


async def test_discover_takes_the_newest_listed_model_of_each_kind() -> None:
    listing = Listing(models("big-9", "big-10", "big-10-preview", "small-3", "other"))

    found = await found_at(listing)

    assert names(found) == ["big-10", "small-3"]
    assert [model.light for model in found.models] == [False, True]
    assert found.sources[0].api_key_env == "ACME_API_KEY"


async def test_discover_sends_the_key_to_its_vendor_and_shows_it_nowhere() -> None:
    listing, local = Listing(models("big-1")), Listing(models("llama"))
    async with serving(listing, local):
        found = await discover(
            {"ACME_API_KEY": f" {SECRET}\n"},
            vendors=(vendor(listing.url),),
            servers=(server(local),),
        )

    assert listing.seen[0]["authorization"] == f"Bearer {SECRET}"
    assert "authorization" not in local.seen[0]
    assert SECRET not in repr(found)


async def test_discover_asks_anthropic_in_its_own_way() -> None:
    listing = Listing(models("big-1"))
    async with serving(listing):
        own = replace(vendor(listing.url), key_style="anthropic")
        await discover({"ACME_API_KEY": SECRET}, vendors=(own,), servers=())

    assert listing.seen[0]["x-api-key"] == SECRET
    assert "anthropic-version" in listing.seen[0]
    assert "authorization" not in listing.seen[0]


@pytest.mark.parametrize(
    "listing",
    [
        Listing({"error": "busy"}, status=500),
        Listing("<html>"),
        Listing({"data": "none"}),
        Listing("[" * 5000),
    ],
    ids=["error", "html", "no_list", "nested"],
)
async def test_discover_falls_back_to_the_table_when_the_listing_cannot_be_read(
    listing: Listing,
) -> None:
    found = await found_at(listing)

    assert names(found) == ["big-1", "small-1"]
    assert "by name only" in found.notes[0]


async def test_discover_falls_back_to_the_table_when_the_vendor_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "VENDOR_TIMEOUT_S", 0.05)

    found = await found_at(Listing(models("big-7"), delay_s=30))

    assert names(found) == ["big-1", "small-1"]


async def test_discover_falls_back_to_the_table_when_the_listing_is_endless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "MAX_LISTING_BYTES", 1000)

    found = await found_at(Listing(models("big-7", padding="x" * 2000)))

    assert names(found) == ["big-1", "small-1"]


async def test_discover_leaves_a_vendor_out_when_it_refuses_the_key() -> None:
    found = await found_at(Listing({"error": "no"}, status=401))

    assert found.models == ()
    assert found.notes == ("acme: refused the key in ACME_API_KEY (401)",)


async def test_discover_survives_a_key_that_cannot_stand_in_a_header() -> None:
    listing = Listing(models("big-7"))

    found = await found_at(listing, key="one\ntwo")

    assert listing.seen == []
    assert "by name only" in found.notes[0]


async def test_discover_takes_what_a_moved_vendor_lists() -> None:
    listing = Listing(models("in-house-1", "text-embedding-1", max_model_len=4096))
    async with serving(listing):
        moved = replace(vendor(CLOSED), base_url_name="ACME_BASE_URL")
        environ = {"ACME_API_KEY": SECRET, "ACME_BASE_URL": f"{listing.url}/"}
        found = await discover(environ, vendors=(moved,), servers=())

    assert names(found) == ["in-house-1"]
    assert found.sources[0].base_url == listing.url
    assert found.models[0].context_tokens == 4096


async def test_discover_takes_the_first_chat_models_of_a_server() -> None:
    ids = ["nomic-embed-text", "llama3.2:3b", "qwen3:8b", "gemma3", "phi4", "bge-m3"]
    listing = Listing(models(*ids))
    async with serving(listing):
        found = await discover({}, vendors=(), servers=(server(listing),))

    assert names(found) == ["llama3.2:3b", "qwen3:8b", "gemma3"]
    assert [model.family for model in found.models] == ["llama", "qwen", "gemma"]
    assert found.sources[0].kind == "server"


async def test_discover_leaves_out_another_gateway() -> None:
    listing = Listing(models("vllm-sr/auto", "vllm-sr/fusion"))
    async with serving(listing):
        found = await discover({}, vendors=(), servers=(server(listing),), local_installed=False)

    assert found.sources == ()
    assert "gateway like this one" in found.notes[0]


async def test_discover_keeps_the_tables_order_when_the_first_is_the_slowest() -> None:
    slow, quick = Listing(models("a"), delay_s=0.1), Listing(models("b"))
    async with serving(slow, quick):
        found = await discover({}, vendors=(), servers=(server(slow, "one"), server(quick, "two")))

    assert [source.name for source in found.sources] == ["one", "two"]


async def test_discover_gives_unique_names_when_two_sources_have_the_same_model() -> None:
    one, two = Listing(models("llama")), Listing(models("llama"))
    async with serving(one, two):
        found = await discover({}, vendors=(), servers=(server(one, "one"), server(two, "two")))

    assert names(found) == ["llama", "two/llama"]
    assert [model.upstream_id for model in found.models] == ["llama", "llama"]


async def test_discover_finds_the_local_model_when_there_is_nothing_else() -> None:
    environ = {"CONSILIENCE_CACHE": "/nowhere"}

    found = await discover(environ, vendors=(), servers=(), local_installed=True)

    assert [source.kind for source in found.sources] == ["local"]
    assert "consilience models pull" in found.notes[0]


async def test_discover_leaves_the_local_model_out_when_a_server_answers() -> None:
    listing = Listing(models("llama"))
    async with serving(listing):
        found = await discover({}, vendors=(), servers=(server(listing),), local_installed=True)

    assert [source.kind for source in found.sources] == ["server"]


async def test_discover_finds_nothing_when_nothing_is_there() -> None:
    closed = ModelServer("vllm", "vLLM", CLOSED)

    found = await discover({}, vendors=VENDORS, servers=(closed,), local_installed=False)

    assert found == Found()


def test_choose_takes_versions_before_dates() -> None:
    table = (Choice(r"claude-sonnet-\d[\d-]*", "x", "anthropic"),)
    listed = ["claude-sonnet-4-20250514", "claude-sonnet-4-5-20250929", "claude-3-opus"]

    assert [c.id for c in choose(table, listed)] == ["claude-sonnet-4-5-20250929"]


@pytest.mark.parametrize("table", VENDORS, ids=lambda vendor: vendor.name)
def test_vendor_tables_match_their_own_fallbacks(table: Vendor) -> None:
    listed = [choice.fallback for choice in table.choices]

    assert [c.id for c in choose(table.choices, listed)] == listed
    assert table.base_url.startswith("https://")
    assert any(not choice.light for choice in table.choices)


def test_servers_are_asked_on_loopback_only() -> None:
    assert all(each.base_url.startswith("http://127.0.0.1:") for each in SERVERS)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama3.2", True),
        ("qwen/qwen3-32b", True),
        ("text-embedding-3-small", False),
        ("BAAI/bge-m3", False),
        ("whisper-large-v3", False),
        ("tts-1", False),
    ],
)
def test_chats_tells_chat_models_by_their_names(model: str, expected: bool) -> None:
    assert chats(model) is expected


async def test_discover_takes_no_name_that_a_configuration_could_not_hold() -> None:
    odd = ("\x1b[31mred", "x" * 3000, "two words", "${HOME}", "auto", "MoM", "llama3.2:3b")
    listing = Listing(models(*odd))
    async with serving(listing):
        found = await discover({}, vendors=(), servers=(server(listing),), local_installed=False)
    assert names(found) == ["vllm/auto", "vllm/MoM", "llama3.2:3b"]
    assert [model.upstream_id for model in found.models] == ["auto", "MoM", "llama3.2:3b"]
    parse_config(starter_config(found))
