"""What the gateway's own code costs a fused answer, without any network: milliseconds of one core.

`python -m benchmarks.own_code [--rounds 500] [--panel 3]`

The ASGI application is called in this process with models that answer at once, so what is left is
parsing, routing, panel, judge, prompts, trace, relay and encoding. The rest of the latency that
`benchmarks.latency` shows is the HTTP server's, the HTTP client's and the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import MutableMapping
from typing import Any

import uvloop

from consilience import ScriptedUpstream, create_app, parse_config

from .stand import BODY, Setup, config_text

WARM_UP = 50
_KEYS = ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")
_JUDGED = json.dumps({key: [] for key in _KEYS})


async def measure(rounds: int, panel: int) -> None:
    """Runs and prints."""
    config = parse_config(config_text("http://127.0.0.1:1", Setup(panel=panel)))
    app = create_app(config, upstream=ScriptedUpstream(_JUDGED))
    raw = json.dumps(BODY).encode()
    costs = [await _one(app, raw) for _ in range(rounds + WARM_UP)][WARM_UP:]
    p99 = sorted(costs)[round(len(costs) * 0.99) - 1]
    print(
        f"panel of {panel}, {rounds} rounds: p50 {statistics.median(costs):.2f} ms, p99 {p99:.2f}"
    )


async def _one(app: Any, raw: bytes) -> float:
    done = asyncio.Event()
    messages = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        pass

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "state": {},
    }
    begun = time.perf_counter()
    await app(scope, receive, send)
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--panel", type=int, default=3)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.rounds, arguments.panel))
