"""What slow clients and hostile models may cost in memory, seen from outside the process."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.client import ask, eventually
from support.command import Running, started, written
from support.live import fusion_yaml
from support.raw_client import chat_request, connected
from support.raw_server import (
    LAST,
    SSE_HEAD,
    RawServer,
    answer,
    chunked,
    completion,
    json_answer,
    piece,
    raw_server,
)

MIB = 1 << 20
CLIENTS = 4
ESTABLISHED = "01"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory"
)


@contextmanager
def _serving(folder: Path, base_url: str, gateway: str = "") -> Iterator[tuple[Running, str]]:
    config = written(folder, fusion_yaml(base_url=base_url, gateway=gateway))
    with started("serve", "-c", config, "--port", 0, cwd=folder) as process:
        yield process, process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]


def _peak_mib(process: Running) -> float:
    text = Path(f"/proc/{process.process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) / 1024


@dataclass(slots=True)
class Flood:
    """A model that streams without end, as fast as it is read."""

    listening: socket.socket
    streams: int = 0
    sent: int = 0
    ended: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/v1"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._pour, args=[connection], daemon=True).start()

    def _pour(self, connection: socket.socket) -> None:
        chunk = chunked(piece("x" * 16_000))
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(SSE_HEAD)
            self.streams += 1
            while True:
                connection.sendall(chunk)
                self.sent += len(chunk)
        self.ended += 1


@contextmanager
def _flood() -> Iterator[Flood]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        flood = Flood(listening)
        thread = threading.Thread(target=flood.serve, daemon=True)
        thread.start()
        yield flood
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_client_that_does_not_read_stalls_the_model(tmp_path: Path) -> None:
    with _flood() as flood, _serving(tmp_path, flood.base_url) as (process, url):
        before = _peak_mib(process)
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                client = stack.enter_context(connected(url, buffer=4096))
                client.sendall(chat_request(stream=True))
            assert eventually(lambda: flood.streams == CLIENTS)
            assert eventually(lambda: _stands_still(flood))
            # what the kernel's buffers on both sides hold, and no more
            assert flood.sent < CLIENTS * 24 * MIB
            assert _peak_mib(process) - before < CLIENTS * 4
        assert eventually(lambda: flood.ended == CLIENTS, 1.0)


def _stands_still(flood: Flood) -> bool:
    """Whether the model could send nothing over twenty looks in a row."""
    before = flood.sent
    return not eventually(lambda: flood.sent != before, 0.3)


def test_an_answer_that_nobody_reads_costs_its_own_size(tmp_path: Path) -> None:
    size = 8 * MIB
    with raw_server([json_answer(completion("x" * size))]) as model:
        limits = "client_stall_seconds: 0.5"
        with _serving(tmp_path, model.base_url, limits) as (process, url):
            before = _peak_mib(process)
            with ExitStack() as stack:
                for _ in range(CLIENTS):
                    client = stack.enter_context(connected(url, buffer=4096))
                    client.sendall(chat_request())
                assert model.wait_for(lambda server: len(server.requests) == CLIENTS)
                assert eventually(lambda: ask(url, "zzz").status == 404)
                # an answer is held as bytes, parsed and as bytes again
                assert _peak_mib(process) - before < CLIENTS * 6 * size / MIB
                # those who took nothing are cut off, and their answers given up
                assert eventually(lambda: _clients(url) == 0)


def _clients(url: str) -> int:
    """Connections that the server at this address has open."""
    port = f":{urlsplit(url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("utf-8").splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == ESTABLISHED for row in rows)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("content", ["answer", "event", "error"])
def test_a_compressed_answer_is_refused_or_bounded(
    tmp_path: Path, content: str, stream: bool
) -> None:
    """It was asked for as it is. A bomb of 300 KiB would be 300 MiB."""
    with _bomb(content) as model, _serving(tmp_path, model.base_url) as (process, url):
        before = _peak_mib(process)
        reply = ask(url, "a", stream=stream)
        assert reply.status >= 500
        assert "x" * 100 not in reply.body.decode()
        assert _peak_mib(process) - before < 100


@contextmanager
def _bomb(content: str) -> Iterator[RawServer]:
    packed = gzip.compress(b"x" * (300 * MIB), 9)
    head = "content-encoding: gzip\r\n"
    steps = {
        "answer": [answer(packed, headers=head)],
        "event": [
            SSE_HEAD.replace(b"\r\n\r\n", b"\r\n" + head.encode() + b"\r\n"),
            chunked(packed),
            LAST,
        ],
        "error": [answer(packed, status=500, headers=head)],
    }[content]
    with raw_server(steps) as server:
        yield server
