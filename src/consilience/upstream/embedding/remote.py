"""Embeddings from an OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio
import numpy as np

from ...chat.codec import decode, encode
from .base import EmbeddingError, Matrix, as_text, on_scale, unit

MAX_BODY = 32 << 20
BATCH = 64
"""Texts in one call."""
_RETRY_AFTER_S = 0.2
_LARGEST = 1e15
"""Of a vector's numbers: their squares still add up in float32."""


@dataclass(frozen=True, slots=True)
class EmbeddingEndpoint:
    """Where and how to ask."""

    url: str
    """`…/v1/embeddings`"""
    model: str
    headers: Mapping[str, str] = field(repr=False)
    """The key included; never shown."""
    timeout_s: float = 5.0
    """For one call."""
    retries: int = 2
    """Further tries after a connection that fails, 429 and 5xx."""
    dimensions: int | None = None
    """Asked of models that can give fewer; None: theirs."""


class RemoteEmbedder:
    """Asks the endpoint; cancelling `embed` closes the connection."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: EmbeddingEndpoint, floor: float = 0.0
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._floor = floor
        where = hashlib.sha256(endpoint.url.encode()).hexdigest()[:16]
        self.identity = f"{endpoint.model}@{where}/{endpoint.dimensions or ''}/{floor:g}"
        self.limit_s = endpoint.timeout_s

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.zeros((0, 0), np.float32)
        parts = [
            await self._tried([as_text(text) for text in texts[begin : begin + BATCH]])
            for begin in range(0, len(texts), BATCH)
        ]
        return on_scale(unit(np.vstack(parts)), self._floor)

    async def _tried(self, texts: Sequence[str]) -> Matrix:
        for further in range(self._endpoint.retries, -1, -1):
            try:
                return await self._asked(texts)
            except _PassingError as exc:
                if not further:
                    raise EmbeddingError(str(exc)) from exc
                await anyio.sleep(_RETRY_AFTER_S)
        raise EmbeddingError("the embeddings endpoint was not asked")

    async def _asked(self, texts: Sequence[str]) -> Matrix:
        body: dict[str, Any] = {"model": self._endpoint.model, "input": list(texts)}
        if self._endpoint.dimensions is not None:
            body["dimensions"] = self._endpoint.dimensions
        timeout = aiohttp.ClientTimeout(total=self._endpoint.timeout_s)
        headers = {**self._endpoint.headers, "content-type": "application/json"}
        try:
            async with self._session.post(
                self._endpoint.url,
                data=encode(body),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status == 429 or response.status >= 500:
                    raise _PassingError(f"the embeddings endpoint answered {response.status}")
                if response.status != 200:
                    raise EmbeddingError(f"the embeddings endpoint answered {response.status}")
                raw = bytearray()
                while len(raw) <= MAX_BODY and (more := await response.content.read(MAX_BODY)):
                    raw += more
        except TimeoutError as exc:
            seconds = self._endpoint.timeout_s
            raise _PassingError(f"the embeddings endpoint took longer than {seconds:g} s") from exc
        except ValueError as exc:
            raise EmbeddingError("the embeddings endpoint's address or key is unusable") from exc
        except aiohttp.ClientError as exc:
            raise _PassingError("the embeddings endpoint cannot be reached") from exc
        if len(raw) > MAX_BODY:
            raise EmbeddingError("the embeddings endpoint's answer is too large")
        return _matrix(bytes(raw), len(texts))


class _PassingError(Exception):
    """A failure that may be gone a moment later."""


def _matrix(raw: bytes, count: int) -> Matrix:
    try:
        entries = decode(raw)["data"]
        ordered = sorted(entries, key=lambda entry: entry.get("index", 0))
        figures = np.array([entry["embedding"] for entry in ordered], np.float64)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        raise EmbeddingError("the embeddings endpoint's answer is not what OpenAI's is") from exc
    if figures.ndim != 2 or len(figures) != count or not figures.shape[1]:
        raise EmbeddingError("the embeddings endpoint's answer has not one vector for each text")
    if not (np.abs(figures) < _LARGEST).all():
        raise EmbeddingError("the embeddings endpoint's answer has numbers that are none")
    return figures.astype(np.float32)
