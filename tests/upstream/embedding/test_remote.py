"""An embeddings endpoint over loopback: what it says is checked, and nothing of it is shown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import numpy as np
import pytest

from consilience.upstream.embedding import remote
from consilience.upstream.embedding.base import EmbeddingError, Matrix, unit
from consilience.upstream.embedding.remote import BATCH, EmbeddingEndpoint, RemoteEmbedder
from consilience.upstream.http import new_session
from support.raw_server import (
    CLOSE,
    HANG,
    RESET,
    RawServer,
    Received,
    Script,
    Step,
    answer,
    json_answer,
    raw_server,
)

pytestmark = pytest.mark.anyio
Connect = Callable[..., RemoteEmbedder]
KEY = "canary-4711"


@pytest.fixture
async def connect(anyio_backend: str) -> AsyncIterator[Connect]:
    """Gives embedders over one session."""
    async with new_session() as session:

        def embedder(server: RawServer | str, floor: float = 0.0, **more: Any) -> RemoteEmbedder:
            url = server if isinstance(server, str) else f"{server.base_url}/embeddings"
            headers = {"authorization": f"Bearer {KEY}"}
            return RemoteEmbedder(
                session, EmbeddingEndpoint(url, "embed-1", headers, **more), floor
            )

        yield embedder


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RETRY_AFTER_S", 0)


def vector(text: str) -> list[float]:
    return [float(len(text)), 1.0]


def entry(index: int, values: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": values}


def embedding_server(request: Received) -> Sequence[Step]:
    texts = request.json["input"]
    entries = [entry(i, vector(text)) for i, text in enumerate(texts)]
    return [json_answer({"object": "list", "data": entries[::-1], "model": "embed-1"})]


def in_turn(*steps: Sequence[Step]) -> Script:
    """One after the other; the last of them for all that follow."""
    left = list(steps)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def lengths(*texts: str) -> Matrix:
    return unit(np.array([vector(text) for text in texts], np.float32))


async def test_rows_are_in_the_order_of_the_texts_whatever_the_order_of_the_answer(
    connect: Connect,
) -> None:
    with raw_server(embedding_server) as server:
        rows = await connect(server).embed(["a", "bbb", "cc"])
    assert np.allclose(rows, lengths("a", "bbb", "cc"))
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.json == {"model": "embed-1", "input": ["a", "bbb", "cc"]}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"


async def test_no_texts_are_not_asked_for(connect: Connect) -> None:
    with raw_server(embedding_server) as server:
        assert (await connect(server).embed([])).shape[0] == 0
    assert server.requests == []


async def test_many_texts_are_asked_for_in_parts(connect: Connect) -> None:
    texts = [str(i) * (i % 7 + 1) for i in range(2 * BATCH + 3)]
    with raw_server(embedding_server) as server:
        rows = await connect(server).embed(texts)
    assert np.allclose(rows, lengths(*texts))
    assert [len(request.json["input"]) for request in server.requests] == [BATCH, BATCH, 3]


async def test_dimensions_are_asked_for_when_they_are_set(connect: Connect) -> None:
    with raw_server(embedding_server) as server:
        await connect(server, dimensions=2).embed(["a"])
    assert server.requests[0].json["dimensions"] == 2


async def test_rows_are_on_the_scale_of_the_floor(connect: Connect) -> None:
    with raw_server(embedding_server) as server:
        rows = await connect(server, 0.5).embed(["a", "bbb"])
    similarity = float((lengths("a") @ lengths("bbb").T)[0, 0])
    assert float(rows[0] @ rows[1]) == pytest.approx(0.5 + 0.5 * similarity)


@pytest.mark.parametrize("text", ["lone \ud800", "nul \0", "\u202eright", "x" * 2048])
async def test_any_text_can_be_asked_for(connect: Connect, text: str) -> None:
    with raw_server(embedding_server) as server:
        assert (await connect(server).embed([text])).shape == (1, 2)
    json.dumps(server.requests[0].json).encode()


@pytest.mark.parametrize(
    "failure",
    [
        [json_answer({"error": KEY}, status=429)],
        [json_answer({"error": KEY}, status=500)],
        [json_answer({"error": KEY}, status=503)],
        [CLOSE],
        [RESET],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", CLOSE],
    ],
)
async def test_failure_that_may_pass_is_tried_again(connect: Connect, failure: list[Step]) -> None:
    script = in_turn(failure, [json_answer({"data": [entry(0, [1, 0])]})])
    with raw_server(script) as server:
        rows = await connect(server).embed(["a"])
    assert rows.tolist() == [[1, 0]]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([json_answer({}, status=429)], "the embeddings endpoint answered 429"),
        ([json_answer({}, status=500)], "the embeddings endpoint answered 500"),
        ([RESET], "the embeddings endpoint cannot be reached"),
    ],
)
async def test_failure_that_stays_is_told_after_the_tries(
    connect: Connect, steps: list[Step], message: str
) -> None:
    with raw_server(steps) as server, pytest.raises(EmbeddingError) as caught:
        await connect(server, retries=2).embed(["a"])
    assert str(caught.value) == message
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_refusal_is_not_tried_again(connect: Connect, status: int) -> None:
    steps = [json_answer({"error": KEY}, status=status)]
    with raw_server(steps) as server, pytest.raises(EmbeddingError) as caught:
        await connect(server).embed(["a"])
    assert str(caught.value) == f"the embeddings endpoint answered {status}"
    assert len(server.requests) == 1


async def test_redirect_is_not_followed(connect: Connect) -> None:
    with raw_server(embedding_server) as elsewhere:
        location = f"location: {elsewhere.base_url}/embeddings\r\n"
        moved = [json_answer({}, status=307, headers=location)]
        with raw_server(moved) as server, pytest.raises(EmbeddingError, match="answered 307"):
            await connect(server).embed(["a"])
    assert elsewhere.requests == []


UNUSABLE: dict[str, Any] = {
    "no JSON": b"<html>",
    "empty": b"",
    "a list": [],
    "null": None,
    "no data": {"object": "list"},
    "data is no list": {"data": {"0": entry(0, [1, 0])}},
    "entry is no object": {"data": [[1, 0]]},
    "no embedding": {"data": [{"index": 0}]},
    "embedding in base64": {"data": [entry(0, "AACAPwAAAAA=")]},
    "embedding of text": {"data": [entry(0, ["one", "two"])]},
    "embedding of null": {"data": [entry(0, [None, 1])]},
    "embedding is a number": {"data": [entry(0, 1.0)]},
    "embedding of lists": {"data": [entry(0, [[1, 0]])]},
    "embedding of nothing": {"data": [entry(0, [])]},
    "too few": {"data": []},
    "too many": {"data": [entry(0, [1, 0]), entry(1, [1, 0])]},
    "index is text and number": {"data": [entry(0, [1]), {"index": "1", "embedding": [1]}]},
    "not a number": b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}',
    "infinite": b'{"data": [{"index": 0, "embedding": [Infinity, 1]}]}',
    "beyond floats": b'{"data": [{"index": 0, "embedding": [1e999, 1]}]}',
    "a huge whole number": b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b", 1]}]}",
    "squares beyond float32": {"data": [entry(0, [1e30, 1])]},
    "all zeros": {"data": [entry(0, [0, 0.0])]},
    "zeros in float32": {"data": [entry(0, [1e-60, 0])]},
    "index far away": {"data": [entry(10**9, [1, 0])]},
    "negative index": {"data": [entry(-1, [1, 0])]},
    "index is true or false": {"data": [entry(False, [1, 0])]},
    "index is a list": {"data": [{"index": [0], "embedding": [1, 0]}]},
    "too long": {"data": [entry(0, [1.0] * 8193)]},
    "deep": b'{"data": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
async def test_answer_that_is_none_is_an_error(connect: Connect, body: Any) -> None:
    said = answer(body) if isinstance(body, bytes) else json_answer(body)
    with raw_server([said]) as server, pytest.raises(EmbeddingError) as caught:
        await connect(server).embed(["a"])
    assert str(caught.value).startswith("the embeddings endpoint's answer ")
    assert len(server.requests) == 1


@pytest.mark.parametrize("places", [(0, 0), (1, 2), (0, None), (-1, 0), (0, 1.0)])
async def test_vectors_that_are_not_numbered_are_an_error(
    connect: Connect, places: tuple[Any, Any]
) -> None:
    said = json_answer({"data": [entry(place, [1, 0]) for place in places]})
    with (
        raw_server([said]) as server,
        pytest.raises(EmbeddingError, match="does not number its vectors from 0 to 1"),
    ):
        await connect(server).embed(["a", "b"])


async def test_vector_that_is_too_long_is_an_error_with_its_length(connect: Connect) -> None:
    said = json_answer({"data": [entry(0, [1.0] * 300_000)]})
    with raw_server([said]) as server, pytest.raises(EmbeddingError) as caught:
        await connect(server).embed(["a"])
    assert str(caught.value) == (
        "the embeddings endpoint's answer has a vector of 300000 numbers; at most 8192 are allowed"
    )


@pytest.mark.parametrize(
    ("step", "of_text"),
    [
        (json_answer({}, status=400), True),
        (json_answer({}, status=413), True),
        (json_answer({}, status=401), False),
        (json_answer({"data": [entry(0, [0, 0])]}), True),
        (answer(b"<html>"), False),
    ],
)
async def test_failure_that_one_text_may_cause_is_told_apart(
    connect: Connect, step: bytes, of_text: bool
) -> None:
    with raw_server([step]) as server, pytest.raises(EmbeddingError) as caught:
        await connect(server).embed(["a"])
    assert caught.value.of_text is of_text


async def test_vectors_of_unlike_length_are_an_error(connect: Connect) -> None:
    steps = [json_answer({"data": [entry(0, [1, 0]), entry(1, [1])]})]
    with raw_server(steps) as server, pytest.raises(EmbeddingError):
        await connect(server).embed(["a", "b"])


async def test_vectors_of_unlike_length_in_two_parts_are_an_error(connect: Connect) -> None:
    def script(request: Received) -> Sequence[Step]:
        count = len(request.json["input"])
        return [json_answer({"data": [entry(i, [1.0] * count) for i in range(count)]})]

    with raw_server(script) as server, pytest.raises(EmbeddingError):
        await connect(server).embed(["a"] * (BATCH + 1))


async def test_answer_without_index_is_taken_in_its_order(connect: Connect) -> None:
    with raw_server(
        [json_answer({"data": [{"embedding": [1, 0]}, {"embedding": [0, 1]}]})]
    ) as server:
        assert (await connect(server).embed(["a", "b"])).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("declared", [True, False])
async def test_answer_is_read_no_further_than_it_may_be(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr(remote, "MAX_BODY", 1000)
    length = b"content-length: 200000\r\n" if declared else b"connection: close\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + length + b"\r\n"
    steps: list[Step] = [head, b" " * 100_000, HANG]
    with raw_server(steps) as server, pytest.raises(EmbeddingError, match="too large"):
        await connect(server).embed(["a"])


async def test_endpoint_that_says_nothing_is_left_after_its_time(connect: Connect) -> None:
    with raw_server([HANG]) as server:
        with pytest.raises(EmbeddingError, match=r"took longer than 0\.05 s"):
            await connect(server, timeout_s=0.05, retries=0).embed(["a"])
        assert await server.until(lambda s: s.aborted == 1)


async def test_endpoint_that_nobody_serves_is_an_error_without_its_address(
    connect: Connect,
) -> None:
    with raw_server([]) as server:
        url = f"{server.base_url}/embeddings"
    with pytest.raises(EmbeddingError) as caught:
        await connect(url).embed(["a"])
    assert str(caught.value) == "the embeddings endpoint cannot be reached"


@pytest.mark.parametrize("url", ["http://[::1", "http:///v1", "nonsense://h/v1", "http://h:99999/"])
async def test_address_that_is_none_is_an_error(connect: Connect, url: str) -> None:
    with pytest.raises(EmbeddingError):
        await connect(url, retries=0).embed(["a"])


async def test_connection_is_closed_when_the_request_is_cancelled(connect: Connect) -> None:
    with raw_server([HANG]) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(connect(server).embed, ["a"])
            assert await server.until(lambda s: len(s.requests) == 1)
            group.cancel_scope.cancel()
        assert await server.until(lambda s: s.aborted == 1)


async def test_identity_changes_when_the_vectors_do(connect: Connect) -> None:
    url = "http://user.example/v1/embeddings"
    identities = {
        connect(url).identity,
        connect("http://other.example/v1/embeddings").identity,
        connect(url, dimensions=3).identity,
        connect(url, floor=0.4).identity,
    }
    assert len(identities) == 4
    assert not any("example" in identity or KEY in identity for identity in identities)
    assert KEY not in repr(EmbeddingEndpoint(url, "m", {"authorization": KEY}))
