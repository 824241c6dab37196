"""Requests that wait together are embedded together; whoever leaves harms nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from consilience.upstream.embedding.base import EmbeddingError, Matrix
from consilience.upstream.embedding.local import MOST_CHARACTERS, MOST_TOGETHER, LocalEmbedder
from support.meanings import WordEncoder, sentence_encoder

pytestmark = pytest.mark.anyio


class Gated(WordEncoder):
    """Waits in each run until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failing = False
        self.at_once = 0
        self.most_at_once = 0

    def encode(self, texts: Sequence[str]) -> Matrix:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        self.go_on.acquire()
        self.at_once -= 1
        if self.failing:
            self.calls.append(tuple(texts))
            raise RuntimeError("out of memory")
        return super().encode(texts)

    async def run_begins(self) -> None:
        await anyio.to_thread.run_sync(self.begun.acquire)

    def let_go(self, runs: int = 1) -> None:
        self.go_on.release(runs)


class Request:
    """One caller in a task of its own."""

    def __init__(self, embedder: LocalEmbedder, *texts: str) -> None:
        self.embedder, self.texts = embedder, texts
        self.rows: Matrix | None = None
        self.error: Exception | None = None
        self.scope = anyio.CancelScope()

    async def __call__(self) -> None:
        with self.scope:
            try:
                self.rows = await self.embedder.embed(self.texts)
            except EmbeddingError as exc:
                self.error = exc


def expected(*texts: str) -> Matrix:
    return WordEncoder().encode(texts)


async def test_short_texts_are_embedded_in_place() -> None:
    encoder = WordEncoder(quick_characters=10)
    before = threading.active_count()
    assert np.array_equal(
        await LocalEmbedder(encoder).embed(["red", "blue"]), expected("red", "blue")
    )
    assert threading.active_count() == before


async def test_no_texts_give_no_rows() -> None:
    assert (await LocalEmbedder(WordEncoder()).embed([])).shape[0] == 0


async def test_rows_are_on_the_scale_of_the_floor() -> None:
    rows = await LocalEmbedder(WordEncoder(), 0.4).embed(["red", "blue", ""])
    assert float(rows[0] @ rows[1]) == pytest.approx(0.4)
    assert not rows[2].any()
    assert LocalEmbedder(WordEncoder(), 0.4).identity != LocalEmbedder(WordEncoder()).identity


async def test_requests_that_wait_share_a_run() -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    requests = [Request(embedder, f"text {i}", "shared") for i in range(5)]
    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(request)
        await encoder.run_begins()
        await anyio.wait_all_tasks_blocked()
        encoder.let_go(2)
    assert [len(call) for call in encoder.calls] in ([10], [2, 8])
    assert encoder.most_at_once == 1
    for i, request in enumerate(requests):
        assert np.array_equal(request.rows, expected(f"text {i}", "shared"))  # type: ignore[arg-type]


async def test_run_is_bounded_when_many_texts_wait() -> None:
    encoder = WordEncoder()
    texts = [f"text {i}" for i in range(3 * MOST_TOGETHER + 1)]
    assert np.array_equal(await LocalEmbedder(encoder).embed(texts), expected(*texts))
    assert [len(call) for call in encoder.calls] == [MOST_TOGETHER] * 3 + [1]


async def test_run_is_bounded_when_the_texts_are_long() -> None:
    encoder = WordEncoder()
    half = "x" * (MOST_CHARACTERS // 2)
    texts = [half, half, half, "y", "z" * 2 * MOST_CHARACTERS, "y"]
    await LocalEmbedder(encoder).embed(texts)
    assert [len(call) for call in encoder.calls] == [2, 2, 1, 1]


@pytest.mark.parametrize("leaving", [0, 1, 2])
async def test_others_get_their_vectors_when_one_leaves(leaving: int) -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    requests = [Request(embedder, f"text {i}") for i in range(3)]
    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(request)
        await encoder.run_begins()
        await anyio.wait_all_tasks_blocked()
        requests[leaving].scope.cancel()
        await anyio.wait_all_tasks_blocked()
        encoder.let_go(3)
    for i, request in enumerate(requests):
        if i != leaving:
            assert np.array_equal(request.rows, expected(f"text {i}"))  # type: ignore[arg-type]
    assert not embedder._waiting


async def test_text_is_not_computed_when_its_request_has_left_the_queue() -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    first, leaving, last = (Request(embedder, name) for name in ("first", "leaving", "last"))
    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await encoder.run_begins()
        group.start_soon(leaving)
        group.start_soon(last)
        await anyio.wait_all_tasks_blocked()
        leaving.scope.cancel()
        encoder.let_go(2)
    assert encoder.calls == [("first",), ("last",)]
    assert leaving.rows is None


async def test_runner_leaves_after_its_run_when_it_is_cancelled() -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    runner = Request(embedder, *(f"text {i}" for i in range(3 * MOST_TOGETHER)))
    async with anyio.create_task_group() as group:
        group.start_soon(runner)
        await encoder.run_begins()
        runner.scope.cancel()
        encoder.let_go(3)
    assert len(encoder.calls) == 1
    assert runner.rows is None


async def test_text_in_a_run_is_computed_again_when_the_runner_is_cancelled_from_outside() -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    # this is what happens to users of the library: asyncio's own cancellation heeds no shield
    loop = asyncio.get_running_loop()
    other = Request(embedder, "other")
    async with anyio.create_task_group() as group:
        async with embedder._running:  # both are in the queue before either runs
            runner = loop.create_task(embedder.embed(["runner"]))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(other)
            await anyio.wait_all_tasks_blocked()
        await encoder.run_begins()
        runner.cancel()
        with anyio.fail_after(10), pytest.raises(asyncio.CancelledError):
            await runner
        encoder.let_go(2)
    assert np.array_equal(other.rows, expected("other"))  # type: ignore[arg-type]
    assert ("other",) in encoder.calls


async def test_failure_of_a_run_is_that_of_its_requests_and_of_no_other() -> None:
    encoder = Gated()
    embedder = LocalEmbedder(encoder)
    requests = [Request(embedder, f"text {i}") for i in range(3)]
    encoder.failing = True
    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(request)
        await encoder.run_begins()
        await anyio.wait_all_tasks_blocked()
        encoder.let_go(3)
    assert [str(request.error) for request in requests] == ["the model failed"] * 3
    encoder.failing = False
    encoder.let_go()
    assert np.array_equal(await embedder.embed(["again"]), expected("again"))


async def test_model_that_gives_too_few_rows_is_a_failure() -> None:
    class Short(WordEncoder):
        def encode(self, texts: Sequence[str]) -> Matrix:
            return super().encode(texts[1:])

    embedder = LocalEmbedder(Short())
    for _ in range(2):
        with anyio.fail_after(10), pytest.raises(EmbeddingError, match="the model failed"):
            await embedder.embed(["a", "b"])


async def test_real_model_gives_the_same_alone_and_together() -> None:
    texts = ["a short one", "a rather longer text about the weather in spring", "第三", ""]
    embedder = LocalEmbedder(sentence_encoder())
    alone = [await embedder.embed([text]) for text in texts]
    together: dict[int, Matrix] = {}

    async def one(i: int) -> None:
        together[i] = await embedder.embed([texts[i]])

    async with anyio.create_task_group() as group:
        for i in range(len(texts)):
            group.start_soon(one, i)
    for i, row in enumerate(alone):
        assert float(row[0] @ together[i][0]) > 0.98
