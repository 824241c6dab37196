"""What every benchmark stands on: the model server, the gateway, and a client, as processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp


@dataclass(frozen=True, slots=True)
class Delays:
    """How long each of the upstream's answers takes, in milliseconds."""

    panel: int = 50
    judge: int = 40
    synthesis: int = 30
    """To the first token."""
    chunks: int = 20
    gap: int = 5
    """Between chunks."""

    @property
    def seat(self) -> str:
        return f"d{self.panel}"

    @property
    def referee(self) -> str:
        return f"d{self.judge}"

    @property
    def writer(self) -> str:
        return f"d{self.synthesis}-c{self.chunks}-g{self.gap}"

    @property
    def first_token(self) -> int:
        """The ideal: slowest panel member, then judge, then synthesis."""
        return self.panel + self.judge + self.synthesis

    @property
    def total(self) -> int:
        return self.first_token + (self.chunks - 1) * self.gap


USUAL = Delays()
BODY = {
    "model": "vllm-sr/fusion",
    "messages": [{"role": "user", "content": "A question of ordinary length. " * 8}],
    "stream": True,
}


@dataclass(frozen=True, slots=True)
class Stand:
    """Addresses and process ids."""

    upstream: str
    gateway: str
    gateway_pid: int


UNLIMITED = "max_in_flight: 5000"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a stand is made of."""

    panel: int = 3
    """Seats."""
    delays: Delays = USUAL
    models: tuple[str, ...] = ()
    """Served beside those of the panel."""
    limits: str = UNLIMITED
    """Keys of `global.gateway` in flow style."""
    timeout_s: int = 120
    """Of a whole request."""
    key: str = ""
    """That clients must give; none when empty."""
    prices: str = ""
    """Of every model, in flow style; unknown when empty."""
    shared: tuple[str, ...] = ()
    """More lines of `global`."""
    upstream: tuple[str, ...] = ("benchmarks.upstream",)
    """The module of the model server, and its arguments."""
    gateway: tuple[str, ...] = ("consilience",)
    """The module of the gateway, and its first arguments."""


def config_text(upstream: str, setup: Setup) -> str:
    """A Fusion decision with a panel of equal models, a judge and a writer of fixed delays."""
    delays = setup.delays
    priced = f"\n      pricing: {{{setup.prices}}}" if setup.prices else ""
    names = (delays.seat, delays.referee, delays.writer, *setup.models)
    models = "\n".join(
        f"    - name: {name}\n      backend_refs: [{{name: m, base_url: '{upstream}/v1'}}]{priced}"
        for name in dict.fromkeys(names)
    )
    shared = "".join(f"\n  {line}" for line in setup.shared)
    keys = f", api_keys: [{setup.key}]" if setup.key else ""
    seats = ", ".join([delays.seat] * setup.panel)
    return f"""\
version: v0.3
listeners: [{{name: bench, address: 127.0.0.1, port: 0, timeout: {setup.timeout_s}s{keys}}}]
providers:
  models:
{models}
routing:
  decisions:
    - name: panel
      priority: 1
      algorithm:
        type: fusion
        fusion:
          model: {delays.referee}
          synthesis_model: {delays.writer}
          analysis_models: [{seats}]
global:
  integrations: {{looper: {{fusion: {{model_names: [vllm-sr/fusion]}}}}}}
  gateway: {{{setup.limits}}}{shared}
"""


@contextmanager
def stand(*, panel: int = 3, delays: Delays = USUAL, limits: str = UNLIMITED) -> Iterator[Stand]:
    """Starts both servers and stops them again."""
    with stand_of(Setup(panel=panel, delays=delays, limits=limits)) as at:
        yield at


@contextmanager
def stand_of(setup: Setup) -> Iterator[Stand]:
    """`stand`, of more than the usual."""
    with _process([sys.executable, "-m", *setup.upstream]) as mock:
        port_line = mock.stdout.readline() if mock.stdout else ""
        upstream = f"http://127.0.0.1:{port_line.strip()}"
        port = _free_port()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bench.yaml"
            file.write_text(config_text(upstream, setup))
            command = [sys.executable, "-m", *setup.gateway, "serve", "-c", str(file)]
            command += ["--port", str(port), "--log-level", "warning"]
            with _process(command) as gateway:
                _await_port(port)
                yield Stand(upstream, f"http://127.0.0.1:{port}", gateway.pid)


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603  # our own commands
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await_port(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the gateway did not start")


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without limits of its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def timed(session: aiohttp.ClientSession, base: str, body: object) -> float:
    """Sends a streamed request and reads its answer; gives its milliseconds."""
    begun = time.perf_counter_ns()
    async with session.post(f"{base}/v1/chat/completions", json=body) as response:
        text = await response.text()
        if response.status != 200 or not text.endswith("data: [DONE]\n\n"):
            raise RuntimeError(f"status {response.status}: {text[-200:]}")
    return (time.perf_counter_ns() - begun) / 1e6


def open_files(pid: int) -> int:
    """File descriptors a process has open, sockets included."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
