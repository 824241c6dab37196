"""Clients as they are: patient, slow, gone in the middle; and what each of their requests came to."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

import aiohttp

from .paying import Keys
from .stand import Delays

PATIENCE_S = 30
"""After this long without an end, a request counts as lost."""


class Outcome(Enum):
    """What a request came to."""

    ANSWERED = "answered whole"
    REFUSED = "refused with a status and a reason"
    UNPAID = "refused for want of money"
    BROKEN = "streamed, ended by an error event"
    LEFT = "left by the client"
    LOST = "lost: cut short, malformed, or without an end"


class End(NamedTuple):
    """What a request came to, and of one that was lost, what was seen."""

    outcome: Outcome
    seen: str = ""


GOOD_ENDS = (Outcome.ANSWERED, Outcome.REFUSED, Outcome.UNPAID, Outcome.BROKEN)
POOR_SHARE = 0.05
"""Of the requests, with the key whose money comes to an end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one client sends, and how it behaves."""

    model: str
    stream: bool
    leaves_after_s: float | None = None
    """Hangs up then, wherever the request stands; None: stays."""
    half_sent: bool = False
    """Hangs up in the middle of its own request."""
    pause_s: float = 0
    """Between one read and the next."""
    key: str = ""
    poor: bool = False
    """Whether its key may have no money left."""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    @property
    def body(self) -> dict[str, Any]:
        text = "A question of ordinary length. " * 8
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "stream": self.stream,
        }


def draw_plan(draw: random.Random, delays: Delays, long: str, keys: Keys) -> Plan:
    """Draws a client: three in ten want a Fusion, one in six leaves, one in twenty is slow."""
    poor = draw.random() < POOR_SHARE
    key = keys.poor if poor else draw.choice(keys.ample)
    return replace(_drawn(draw, delays, long), key=key, poor=poor)


def _drawn(draw: random.Random, delays: Delays, long: str) -> Plan:
    fused, stream = draw.random() < 0.3, draw.random() < 0.5
    model = "vllm-sr/fusion" if fused else delays.writer
    fate = draw.random()
    if fate < 0.02:
        return Plan(model, stream, half_sent=True)
    if fate < 0.17:
        total = delays.total if fused else delays.total - delays.panel - delays.judge
        return Plan(model, stream, leaves_after_s=draw.uniform(0, total * 1.1) / 1000)
    if fate < 0.22:
        return Plan(long, stream=True, pause_s=draw.uniform(0.01, 0.05))
    return Plan(model, stream)


async def play(session: aiohttp.ClientSession, base: str, plan: Plan) -> End:
    """Sends a request as planned and tells what came of it."""
    if plan.half_sent:
        await _send_half(base, plan.key)
        return End(Outcome.LEFT)
    try:
        async with asyncio.timeout(plan.leaves_after_s or PATIENCE_S):
            return await _sent(session, base, plan)
    except TimeoutError:
        if plan.leaves_after_s:
            return End(Outcome.LEFT)
        return End(Outcome.LOST, f"no end after {PATIENCE_S} s: {plan}")
    except (aiohttp.ClientError, OSError, ValueError, KeyError) as exc:
        return End(Outcome.LOST, f"{exc!r}: {plan}")


async def _sent(session: aiohttp.ClientSession, base: str, plan: Plan) -> End:
    url, headers = f"{base}/v1/chat/completions", plan.headers
    async with session.post(url, json=plan.body, headers=headers) as response:
        data = b""
        async for piece in response.content.iter_chunked(4096 if plan.pause_s else 1 << 16):
            data += piece
            await asyncio.sleep(plan.pause_s)
    outcome = judged(response.status, response.content_type, data)
    if outcome is Outcome.LOST or (outcome is Outcome.UNPAID and not plan.poor):
        outcome = Outcome.LOST
        return End(outcome, f"status {response.status}, {data[-200:]!r}: {plan}")
    return End(outcome)


def judged(status: int, kind: str, data: bytes) -> Outcome:
    """Tells what an answer is. A stream that just stops is lost, however good its beginning."""
    if kind == "text/event-stream":
        events = [e for e in data.split(b"\n\n") if e.startswith(b"data: ")]
        if data.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"stop"' in data:
            return Outcome.ANSWERED
        broken = bool(events) and events[-1].startswith(b'data: {"error"')
        return Outcome.BROKEN if broken else Outcome.LOST
    body = json.loads(data)
    if status == 200:
        return Outcome.ANSWERED if body["choices"][0]["message"]["content"] else Outcome.LOST
    if status == 402:
        return Outcome.UNPAID
    return Outcome.REFUSED if body["error"]["code"] and status != 500 else Outcome.LOST


async def _send_half(base: str, key: str) -> None:
    """Begins a request and resets the connection."""
    host, _, port = base.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer " + key.encode() + b"\r\n"
        b'content-length: 5000\r\n\r\n{"model": "vllm-sr/fusion", "messages": ['
    )
    await writer.drain()
    writer.transport.abort()


def small_buffers(address: Any) -> socket.socket:
    """Makes a socket that holds little, so that a slow reader is felt at the other end."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    return made
