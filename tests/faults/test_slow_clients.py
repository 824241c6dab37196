"""F23 and F24: clients that read slowly, and clients that send slowly, or hardly at all."""

from __future__ import annotations

import re
import resource
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.chat_server import chat_server
from support.client import ask, eventually, get
from support.raw_client import chat_head, chat_request, connected, rest, statuses
from support.raw_server import (
    DONE,
    LAST,
    SSE_HEAD,
    Received,
    Step,
    chunked,
    completion,
    json_answer,
    piece,
    raw_server,
)
from support.serving import memory_kib, serving

CLIENTS = 100
EVENT_BYTES = 16_000
READ = 1024
MOST_OF_OURS = 4 * 2**20
"""Bytes of one stream that the two processes may hold, the kernel's buffers not counted."""
MOST_GROWTH_KIB = 256 * 1024
LORIS = 999
FUSION = "vllm-sr/fusion"


class LongWriters:
    """A script for `raw_server`: long streams, and how much of each could be written so far."""

    def __init__(self, size: int) -> None:
        """
        Args:
            size: bytes of text that each of them would write.
        """
        self._size = size
        self.written: list[int] = []
        self.enough = False
        """Whether answers end where they are."""

    def __call__(self, request: Received) -> Iterable[Step]:
        if request.json["model"] != "a":
            yield json_answer(completion("hi"))
            return
        stream = len(self.written)
        self.written.append(0)
        yield SSE_HEAD
        for number in range(self._size // EVENT_BYTES):
            if self.enough:
                break
            yield chunked(piece(f"<{number}>".ljust(EVENT_BYTES)))
            self.written[stream] += EVENT_BYTES
        yield chunked(piece(finish="stop"))
        yield chunked(DONE) + LAST


def _most_on_the_way() -> int:
    """Bytes of one stream that can be between model and client: the kernel's buffers, and ours."""
    limits = [Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split()[2] for way in "rw"]
    return sum(map(int, limits)) + MOST_OF_OURS


@contextmanager
def _streaming(url: str) -> Iterator[list[socket.socket]]:
    """Clients that have asked for a stream and read its first kilobyte."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(url, buffer=4096)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(chat_request("a", headers="connection: close\r\n", stream=True))
        for client in clients:
            assert client.recv(READ).startswith(b"HTTP/1.1 200")
        yield clients


def _stands_still(writers: LongWriters) -> bool:
    """Whether nobody can write any more, as far as one look after the other can tell."""
    before = sum(writers.written)
    return not eventually(lambda: sum(writers.written) != before, 0.5)


@pytest.mark.timeout(300)
def test_F23_slow_readers_hold_the_models_back_and_cost_no_memory(  # noqa: N802
    tmp_path: Path,
) -> None:
    most = _most_on_the_way()
    writers = LongWriters(2 * most)
    with (
        raw_server(writers, buffer=65536) as upstream,
        serving(tmp_path, upstream) as (process, url),
    ):
        assert ask(url, "b").status == 200
        before = memory_kib(process.process.pid)
        with _streaming(url) as clients:
            assert eventually(lambda: _stands_still(writers), 90)
            assert len(writers.written) == CLIENTS
            assert max(writers.written) < most
            for client in clients:
                read = 0
                while read < 4 * READ:  # a kilobyte at a time, as slow readers do
                    read += len(client.recv(READ))
            assert max(writers.written) < most
            assert memory_kib(process.process.pid) - before < MOST_GROWTH_KIB
            assert ask(url, "b").status == 200
            writers.enough = True
            said = rest(clients[0])  # who reads on gets all of it
            numbers = [int(number) for number in re.findall(rb"<(\d+)>", said)]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert numbers[0] < 2
            assert b"[DONE]" in said
        assert upstream.wait_for(lambda server: server.active == 0)


@contextmanager
def _files(count: int) -> Iterator[None]:
    """Lets this process have so many files more than usual, while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, count + 512)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{count} connections need more files than the {hard} this process may have")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _loris(url: str) -> Iterator[list[socket.socket]]:
    """Connections with half a head, with half a body, and with nothing."""
    begun = [b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"]
    begun += [chat_head("content-length: 500\r\n") + b'{"model":', b""]
    with _files(LORIS), ExitStack() as stack:
        clients = []
        for number in range(LORIS):
            client = stack.enter_context(connected(url))
            client.sendall(begun[number % len(begun)])
            clients.append(client)
        yield clients


def _answers(url: str) -> list[int]:
    """The statuses of healthy traffic of every kind."""
    return [
        ask(url, "a").status,
        ask(url, "a", stream=True).status,
        ask(url, FUSION).status,
        ask(url, FUSION, stream=True).status,
        get(url, "/health").status,
    ]


def test_F24_healthy_traffic_is_served_beside_a_thousand_slow_senders(  # noqa: N802
    tmp_path: Path,
) -> None:
    patient = "client_head_seconds: 300, client_body_seconds: 300, client_idle_seconds: 300"
    with (
        raw_server(chat_server()) as upstream,
        serving(tmp_path, upstream, patient) as (process, url),
    ):
        with _loris(url) as clients:
            for _ in range(3):
                assert _answers(url) == [200] * 5
            # the slow ones are still there, and have cost nobody an upstream call
            clients[1].sendall(b" " * 491)
            assert statuses(clients[1].recv(4096)) == [400]
        asked = len(upstream.requests)
        assert asked == 3 * (2 + 2 * 4)
        assert get(url, "/ready").status == 200
        assert not process.ended


def test_F24_slow_senders_are_sent_away(tmp_path: Path) -> None:  # noqa: N802
    short = "client_head_seconds: 3, client_body_seconds: 0.5, client_idle_seconds: 0.5"
    with (
        raw_server(chat_server()) as upstream,
        serving(tmp_path, upstream, short) as (_, url),
        _loris(url) as clients,
    ):
        ends = [rest(client) for client in clients]
        assert {tuple(statuses(end)) for end in ends[1::3]} == {(408,)}
        assert set(ends[0::3]) | set(ends[2::3]) == {b""}
        assert _answers(url) == [200] * 5
        assert len(upstream.requests) == 10
