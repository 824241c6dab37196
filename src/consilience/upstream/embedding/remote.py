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
MOST_DIMENSIONS = 8192
"""Of a vector; the largest models that are known have 4,096."""
_ABOUT_THE_TEXT = frozenset({400, 413, 422})
_LARGEST = 1e15
"""Of a vector's numbers: their squares still add up in float32."""


@dataclass(frozen=True, slots=True)
class EmbeddingEndpoint:
    """Where and how to ask."""

    url: str
    """`…/v1/embeddings`"""
    model: str
    headers: Mapping[str, str] = field(repr=False)
    """Authorization included; never shown."""
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
        if len({part.shape[1] for part in parts}) > 1:
            raise EmbeddingError("the embeddings endpoint's vectors differ in length")
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
                    raise EmbeddingError(
                        f"the embeddings endpoint answered {response.status}",
                        of_text=response.status in _ABOUT_THE_TEXT,
                    )
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
        entries = _in_order(decode(raw)["data"])
        rows = [entry["embedding"] for entry in entries]
        longest = max(map(len, rows), default=0)
        if longest > MOST_DIMENSIONS:
            raise EmbeddingError(
                f"the embeddings endpoint's answer has a vector of {longest} numbers;"
                f" at most {MOST_DIMENSIONS} are allowed"
            )
        figures = np.array(rows, np.float64)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        raise EmbeddingError("the embeddings endpoint's answer is not what OpenAI's is") from exc
    if figures.ndim != 2 or len(figures) != count or not figures.shape[1]:
        raise EmbeddingError("the embeddings endpoint's answer has not one vector for each text")
    if not (np.abs(figures) < _LARGEST).all():
        raise EmbeddingError(
            "the embeddings endpoint's answer has numbers that are none", of_text=True
        )
    matrix: Matrix = figures.astype(np.float32)
    if not matrix.any(axis=1).all():
        raise EmbeddingError(
            "the embeddings endpoint's answer has a vector of nothing but zeros", of_text=True
        )
    return matrix


def _in_order(entries: list[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Gives the entries in the order of the texts: by their index, or as they come without any."""
    places = [entry.get("index") for entry in entries]
    if all(place is None for place in places):
        return entries
    by_place = dict(zip(places, entries, strict=True))
    whole = all(type(place) is int for place in places)
    if not whole or by_place.keys() != set(range(len(entries))):
        last = len(entries) - 1
        raise EmbeddingError(
            f"the embeddings endpoint's answer does not number its vectors from 0 to {last}"
        )
    return [by_place[place] for place in range(len(entries))]
