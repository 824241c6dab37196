"""What is there to work with: vendors whose key is set, model servers on this machine, local models.

A key goes to its own vendor and nowhere else, and stands in nothing that is returned. Servers on
loopback are asked without one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import aiohttp
import anyio

from ..chat.codec import decode
from .local import is_installed
from .vendors import SERVERS, VENDORS, ModelServer, Vendor, chats, choose
from .weights import SMOLLM2, is_pulled

MAX_SERVER_MODELS = 3
MAX_LISTING_BYTES = 8 << 20
VENDOR_TIMEOUT_S = 3.0
SERVER_TIMEOUT_S = 1.0
_PLAIN_ID = re.compile(r"[\w./:@+~-]{1,200}", re.ASCII)
"""What a model may be called for us to take it from a stranger's list into a configuration."""
_RESERVED = frozenset(("auto", "MoM"))
"""Names that mean a route here."""
_WINDOW_FIELDS = ("context_length", "context_window", "max_context_length", "max_model_len")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be asked."""

    name: str
    """Unique among what was found; what a configuration should call it."""
    upstream_id: str
    """What its backend calls it."""
    source: str
    """Name of its `FoundSource`."""
    family: str
    """Who made it, as far as is known; the source's name otherwise."""
    light: bool = False
    """Whether it is a cheap one of its vendor."""
    context_tokens: int | None = None
    """Its context window, when the listing told."""


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A vendor, a server or this process, with the models chosen from it."""

    name: str
    kind: Literal["vendor", "server", "local"]
    base_url: str
    """Everything before `/chat/completions`; empty for `local`."""
    api_key_env: str | None = None
    """Name of the environment variable with the key; never the key."""
    models: tuple[FoundModel, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was found, in order of preference. Holds no secret."""

    sources: tuple[FoundSource, ...] = ()
    notes: tuple[str, ...] = ()
    """What to tell the user about how this came about, a line each."""

    @property
    def models(self) -> tuple[FoundModel, ...]:
        """All models, source by source."""
        return tuple(model for source in self.sources for model in source.models)

    def source_of(self, model: FoundModel) -> FoundSource:
        """Gives the source of one of `models`."""
        return next(source for source in self.sources if source.name == model.source)


class _Answer(NamedTuple):
    """A source, if there is one, and a note, if there is something to say."""

    source: FoundSource | None
    note: str | None


async def discover(
    environ: Mapping[str, str],
    *,
    vendors: Sequence[Vendor] = VENDORS,
    servers: Sequence[ModelServer] = SERVERS,
    local_installed: bool | None = None,
) -> Found:
    """Looks for models, everywhere at once, for about three seconds at most.

    Vendors come first, then servers on this machine. The model that runs in this process is found
    only when there is nothing else and the extra `local` is installed. Never raises: what cannot be
    reached is left out or, for a vendor, taken from the table.

    Args:
        environ: where keys are looked up.
        local_installed: whether the extra is there; looked up when None.
    """
    keyed = [(vendor, _key_name(vendor, environ)) for vendor in vendors]
    answers: dict[str, _Answer] = {}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        anyio.create_task_group() as tg,
    ):

        async def keep(name: str, ask: Callable[[], Awaitable[_Answer]]) -> None:
            answers[name] = await ask()

        for vendor, key_name in keyed:
            if key_name:
                ask = partial(_ask_vendor, session, vendor, key_name, environ)
                tg.start_soon(keep, vendor.name, ask)
        for server in servers:
            tg.start_soon(keep, server.name, partial(_ask_server, session, server))
    names = [vendor.name for vendor in vendors] + [server.name for server in servers]
    in_order = [answers[name] for name in names if name in answers]
    sources = [source for source, _ in in_order if source is not None and source.models]
    notes = [note for _, note in in_order if note is not None]
    if not sources and (is_installed() if local_installed is None else local_installed):
        source, note = _local(environ)
        sources.append(source)
        notes.append(note)
    return Found(_with_unique_names(sources), tuple(notes))


def _key_name(vendor: Vendor, environ: Mapping[str, str]) -> str | None:
    return next((name for name in vendor.key_names if environ.get(name, "").strip()), None)


async def _ask_vendor(
    session: aiohttp.ClientSession, vendor: Vendor, key_name: str, environ: Mapping[str, str]
) -> _Answer:
    moved = environ.get(vendor.base_url_name or "", "").strip().rstrip("/")
    base_url = moved if moved.startswith(("http://", "https://")) else vendor.base_url
    key = environ[key_name].strip()
    headers = {"authorization": f"Bearer {key}"}
    if vendor.key_style == "anthropic":
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    status, listing = await _listing(session, base_url, headers, VENDOR_TIMEOUT_S)
    if status in (401, 403):
        return _Answer(None, f"{vendor.name}: refused the key in {key_name} ({status})")
    windows = None if listing is None else _windows(listing)
    chosen = choose(vendor.choices, windows)
    if windows and not chosen:  # an address that was moved, or a vendor whose names all changed
        chosen = choose(vendor.choices, None) if base_url == vendor.base_url else ()
    if windows and not chosen:
        models = _first_models(vendor.name, windows)
    else:
        models = tuple(
            FoundModel(c.id, c.id, vendor.name, c.family, c.light, (windows or {}).get(c.id))
            for c in chosen
        )
    source = FoundSource(vendor.name, "vendor", base_url, key_name, models)
    how = "" if listing is not None else "; its list of models could not be read, so by name only"
    return _Answer(source, f"{vendor.name}: key in {key_name}{how}")


async def _ask_server(session: aiohttp.ClientSession, server: ModelServer) -> _Answer:
    _, listing = await _listing(session, server.base_url, {}, SERVER_TIMEOUT_S)
    if listing is None:
        return _Answer(None, None)
    windows = _windows(listing)
    if any(model.startswith("vllm-sr/") for model in windows):
        return _Answer(None, f"{server.base_url} is a gateway like this one; left out")
    models = _first_models(server.name, windows)
    if not models:
        return _Answer(None, f"{server.title} at {server.base_url} has no chat model loaded")
    source = FoundSource(server.name, "server", server.base_url, None, models)
    return _Answer(source, f"{server.title} at {server.base_url}")


async def _listing(
    session: aiohttp.ClientSession, base_url: str, headers: Mapping[str, str], timeout_s: float
) -> tuple[int, Sequence[Any] | None]:
    """Asks for `/models`: the status (0: none) and the entries, None when they cannot be read."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(
            f"{base_url}/models", headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status != 200:
                return response.status, None
            raw = bytearray()
            async for piece in response.content.iter_any():
                raw += piece
                if len(raw) > MAX_LISTING_BYTES:
                    return 200, None
        body = decode(bytes(raw))
    # ValueError: not JSON, or a key or an address that cannot stand in a request.
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return 0, None
    entries = body.get("data") if isinstance(body, Mapping) else body
    return 200, entries if isinstance(entries, list) else None


def _windows(listing: Sequence[Any]) -> dict[str, int | None]:
    """Ids in the listing's order, each with its context window if the entry tells it."""
    windows: dict[str, int | None] = {}
    for entry in listing:
        model = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(model, str) and _PLAIN_ID.fullmatch(model.strip()):
            windows.setdefault(model.strip().removeprefix("models/"), _window(entry))
    return windows


def _window(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    told = [entry.get(name) for name in _WINDOW_FIELDS]
    told.append(meta.get("n_ctx") if isinstance(meta, Mapping) else None)
    return next((n for n in told if type(n) is int and n > 0), None)


def _first_models(source: str, windows: Mapping[str, int | None]) -> tuple[FoundModel, ...]:
    ids = [model for model in windows if chats(model)][:MAX_SERVER_MODELS]
    return tuple(
        FoundModel(model, model, source, _family(model), context_tokens=windows[model])
        for model in ids
    )


def _family(model_id: str) -> str:
    """The first word of the model's own name: `llama` of `meta/llama3.2:3b`."""
    stem = model_id.rsplit("/", 1)[-1].lower()
    letters = len(stem) - len(stem.lstrip("abcdefghijklmnopqrstuvwxyz"))
    return stem[:letters] or stem


def _local(environ: Mapping[str, str]) -> tuple[FoundSource, str]:
    model = FoundModel(
        SMOLLM2.name, SMOLLM2.name, "local", "smollm", context_tokens=SMOLLM2.context_tokens
    )
    note = f"no key and no server found: {SMOLLM2.name} runs in this process"
    if not is_pulled(SMOLLM2, environ):
        note += f"; fetch it first with: consilience models pull {SMOLLM2.name}"
    return FoundSource("local", "local", "", None, (model,)), note


def _with_unique_names(sources: Sequence[FoundSource]) -> tuple[FoundSource, ...]:
    """A name that is taken, by a model or by a route, gets the source's name in front."""
    used: set[str] = set(_RESERVED)
    named: list[FoundSource] = []
    for source in sources:
        models: list[FoundModel] = []
        for model in source.models:
            name = model.name
            while name in used:
                name = f"{source.name}/{name}"
            used.add(name)
            models.append(replace(model, name=name))
        named.append(replace(source, models=tuple(models)))
    return tuple(named)
