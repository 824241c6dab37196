"""Models in this process, off the event loop: requests that wait together are embedded together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np

from .base import EmbeddingError, Encoder, Matrix, on_scale

MOST_TOGETHER = 64
"""Texts of one run; more wait for the next."""
MOST_CHARACTERS = 16 * 1024
"""Of one run, its first text aside: nobody can leave in the middle of one, half a second at most."""
LIMIT_S = 2.0
"""How long a request may wait for its vectors."""


class _Job:
    """One text that waits for its vector."""

    __slots__ = ("error", "left", "row", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.left = False
        """Whether nobody waits for it any more."""
        self.row: Matrix | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.row is not None or self.error is not None


class LocalEmbedder:
    """An encoder behind a queue. One run at a time, in a thread; nobody runs for nobody.

    Whoever waits at the head of the queue runs what has gathered behind it, its own texts included,
    so there is no background task to own. A request that is cancelled takes its texts with it,
    unless they are being computed already; the one that runs leaves when its run has ended.
    """

    def __init__(self, encoder: Encoder, floor: float = 0.0, *, limit_s: float = LIMIT_S) -> None:
        """
        Args:
            encoder: what computes.
            floor: of its vectors' scale; see `base`.
            limit_s: seconds.
        """
        self.identity = f"{encoder.identity}/{floor:g}"
        self.limit_s = limit_s
        self._encoder = encoder
        self._floor = floor
        self._waiting: deque[_Job] = deque()
        self._running = anyio.Lock()

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if self._encoder.is_quick(texts):
            return self._encoded(texts)
        jobs = [_Job(text) for text in texts]
        self._waiting.extend(jobs)
        try:
            async with self._running:
                while not all(job.done for job in jobs):
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    await self._run()
        finally:
            for job in jobs:
                job.left = True
        return _rows(jobs)

    async def _run(self) -> None:
        """Computes what waits at the head of the queue."""
        batch = self._next()
        try:
            # others wait for some of these: who began the run does not take it along on leaving
            with anyio.CancelScope(shield=True):
                rows = await anyio.to_thread.run_sync(self._encoded, [job.text for job in batch])
            for job, row in zip(batch, rows, strict=True):
                job.row = row
        except Exception as exc:  # the run's failure is that of each text in it
            for job in batch:
                job.error = exc
        finally:  # a task of asyncio may be cancelled through every shield: the others go on
            self._waiting.extendleft(job for job in reversed(batch) if not job.done)

    def _next(self) -> Sequence[_Job]:
        """Takes the texts of one run from the queue, without those that nobody waits for."""
        batch: list[_Job] = []
        characters = 0
        while self._waiting and len(batch) < MOST_TOGETHER:
            job = self._waiting[0]
            characters += len(job.text)
            if batch and not job.left and characters > MOST_CHARACTERS:
                break
            self._waiting.popleft()
            if job.left:
                characters -= len(job.text)
            else:
                batch.append(job)
        return batch

    def _encoded(self, texts: Sequence[str]) -> Matrix:
        return on_scale(self._encoder.encode(texts), self._floor)


def _rows(jobs: Sequence[_Job]) -> Matrix:
    rows = []
    for job in jobs:
        if job.row is None:
            raise EmbeddingError("the model failed") from job.error
        rows.append(job.row)
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
