"""A model whose replies come from a script: for this project's tests and for its users'.

```python
upstream = ScriptedUpstream({"small": "Paris.", "judge": lambda request: Reply("{}", delay_s=0.1)})
async with Gateway(config, upstream=upstream) as gateway:
    reply = await gateway.complete({"model": "vllm-sr/fusion", "messages": [...]})
assert [call.model for call in upstream.calls] == ["small", "judge", "judge"]
```
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from ..chat.chunks import as_chunks
from ..chat.codec import Body
from ..chat.completion import Completion, Usage
from ..chat.request import ChatRequest
from ..errors import UpstreamConnectionError

_USAGE = Usage(10, 5, 15)


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer."""

    text: str | None = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish_reason: str | None = None
    """Default: `tool_calls` when there are any, else `stop`."""
    reasoning: str = ""
    refusal: str = ""
    usage: Usage | None = _USAGE
    """None: the upstream does not say."""
    delay_s: float = 0.0
    """Seconds before the first byte; `math.inf` never answers."""
    pieces: int = 0
    """How many chunks a streamed text comes in; 0: one a word."""
    gap_s: float = 0.0
    """Seconds between chunks."""
    breaks_after: int | None = None
    """The stream's connection breaks after this many chunks."""
    fields: Mapping[str, Any] | None = None
    """More top-level fields of the body."""


class ScriptedUpstream:
    """Serves any number of models from a mapping, or from one function of the request."""

    def __init__(
        self,
        script: Mapping[str, Any] | Callable[[ChatRequest], Any] | Reply | str = (
            "A scripted answer."
        ),
    ) -> None:
        """
        Args:
            script: what every model says; or a mapping from model to what it says. Each is a text,
                a `Reply`, an exception to raise, or a function of the request that gives one.
        """
        self._script = script
        self.calls: list[ChatRequest] = []
        """Every request that came in, in order."""
        self.cancelled = 0
        """How many calls were cancelled before they ended."""
        self.in_flight = 0

    async def complete(self, request: ChatRequest) -> Completion:
        """Gives the scripted answer whole."""
        reply = self._reply(request)
        self.in_flight += 1
        try:
            await _wait(reply.delay_s)
        except BaseException:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        return self._completion(request, reply)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Body, None]:
        """Gives the scripted answer in chunks."""
        reply = self._reply(request)
        self.in_flight += 1
        ended = False
        try:
            await _wait(reply.delay_s)
            for sent, chunk in enumerate(self._chunks(request, reply)):
                if reply.breaks_after is not None and sent >= reply.breaks_after:
                    ended = True
                    raise UpstreamConnectionError("the connection broke", model=request.model)
                yield chunk
                if reply.gap_s:
                    await _wait(reply.gap_s)
            ended = True
        finally:
            self.in_flight -= 1
            self.cancelled += not ended

    def _reply(self, request: ChatRequest) -> Reply:
        self.calls.append(request)
        script = self._script
        if isinstance(script, Mapping):
            if request.model not in script:
                raise UpstreamConnectionError("nothing scripted", model=request.model)
            script = script[request.model]
        given = script(request) if callable(script) else script
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, Reply) else Reply(str(given))

    def _completion(self, request: ChatRequest, reply: Reply) -> Completion:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.tool_calls:
            message |= {"content": reply.text or None, "tool_calls": list(reply.tool_calls)}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.refusal:
            message |= {"content": None, "refusal": reply.refusal}
        reason = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
        body: dict[str, Any] = {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": f"scripted/{request.model}",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            **(reply.fields or {}),
        }
        if reply.usage:
            body["usage"] = reply.usage.as_body()
        return Completion(body, request.model, reply.usage)

    def _chunks(self, request: ChatRequest, reply: Reply) -> Sequence[Body]:
        spoken, *rest = as_chunks(self._completion(request, reply))
        text = reply.text or ""
        if reply.tool_calls or reply.refusal or not text:
            return [spoken, *rest]
        delta = {k: v for k, v in spoken["choices"][0]["delta"].items() if k != "content"}
        first = {"choices": [{"index": 0, "delta": {**delta, "content": ""}}]}
        pieces = [
            {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            for piece in _cut(text, reply.pieces)
        ]
        return [first, *pieces, *rest]


def _cut(text: str, pieces: int) -> Sequence[str]:
    if not pieces:
        words = text.split(" ")
        return [w if i == 0 else f" {w}" for i, w in enumerate(words)]
    size = max(1, math.ceil(len(text) / pieces))
    return [text[i : i + size] for i in range(0, len(text), size)]


async def _wait(seconds: float) -> None:
    if math.isinf(seconds):
        await anyio.sleep_forever()
    await anyio.sleep(seconds)
