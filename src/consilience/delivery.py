"""Delivering an outcome: the final call, whole or streamed, with its fallbacks.

Fallbacks are tried in the looper's order for as long as nothing has been passed on. Once a token is
out, a failure ends the stream; another model's text is never spliced in.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from .chat.chunks import ChunkRelay, Stamp, as_chunks, finished_choices
from .chat.codec import Body
from .chat.completion import Completion, Usage, said
from .chat.request import ChatRequest
from .errors import (
    ConsilienceError,
    UnusableAnswerError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from .loopers.base import Outcome, StageRecord, ms_since
from .reply import Begin, Chunk, Event
from .upstream.pool import PricedUpstream

Emit = Callable[[Event], Awaitable[None]]
Final = ChatRequest | Completion

FALLBACK_SHARE = 0.7
"""The part of the time left that a model may take to answer, or to begin to, while another one can
still be asked. One that hangs must not take the others' time."""
IN_HAND_SHARE = 0.95
"""The same while an answer is in hand, which takes no time."""

_OWN = frozenset(("fusion", "error", "id", "object", "created", "model", "choices", "usage"))
_BESIDE_TEXT = ("tool_calls", "function_call", "refusal", "audio")
_SUBSTANCE = ("content", *_BESIDE_TEXT)
_WITHHELD = "content_filter"
"""Like a refusal, this is the answer: another model's must not go around a provider's filter."""


@dataclass(slots=True)
class Delivery:
    """One outcome on its way to the client."""

    outcome: Outcome
    pool: PricedUpstream
    id: str
    created: int
    headers: Callable[[str, Sequence[StageRecord], Usage | None], Mapping[str, str]]
    """Gives the response headers for: who answers, the calls made to deliver, usage if known."""
    records: list[StageRecord] = field(default_factory=list)
    """Calls made to deliver, in order."""
    committed: bool = False
    """Whether anything was passed on."""
    _patience: anyio.CancelScope | None = None
    """Ends the wait for the first token of the stream."""

    @property
    def usage(self) -> Usage | None:
        """The sum over every call of the request; None when no upstream said anything."""
        known = [r.usage for r in (*self.outcome.records, *self.records) if r.usage is not None]
        return sum(known, Usage()) if known else None

    async def whole(self) -> Completion:
        """Gets the final answer whole.

        Raises:
            ConsilienceError: the last failure that says something of the models.
        """
        last: ConsilienceError | None = None
        finals = self._finals()
        for position, final in enumerate(finals):
            if isinstance(final, Completion):
                return self._finished(final)
            begun = anyio.current_time()
            completion: Completion | None = None
            try:
                with _in_time(final, finals[position + 1 :]):
                    completion = await self.pool.complete(final)
                self._check(completion)
            except ConsilienceError as exc:
                usage = completion.usage if completion else None
                self._note_failure(exc, final.model, begun, usage)
                last = self._telling(last, exc)
                continue
            self._note(final.model, begun, None, completion.usage)
            return self._finished(completion)
        raise self._final_failure(last or UnusableAnswerError("there was nothing to deliver"))

    async def stream(self, emit: Emit, *, include_usage: bool) -> None:
        """Passes the final answer on as it comes: `Begin`, chunks, and the usage chunk if asked.

        An outcome with a last edit (an output contract) is awaited whole and then sent.

        Raises:
            ConsilienceError: `committed` says whether anything had been passed on.
        """
        last: ConsilienceError | None = None
        finals = self._finals() if self.outcome.finish is None else [await self.whole()]
        for position, final in enumerate(finals):
            begun = anyio.current_time()
            relay = ChunkRelay(Stamp(self.id, self.created, final.model))
            try:
                with _in_time(final, finals[position + 1 :]) as self._patience:
                    ttft_ms = await self._relay(final, relay, emit)
            except ConsilienceError as exc:
                self._note_failure(exc, final.model, begun, relay.usage)
                last = exc if self.committed else self._telling(last, exc)
                if self.committed or position == len(finals) - 1:
                    raise self._final_failure(last) from exc
                continue
            if isinstance(final, ChatRequest):
                self._note(final.model, begun, ttft_ms, relay.usage)
            if include_usage:
                await emit(Chunk(self._usage_chunk(relay.stamp)))
            return

    def body(self, completion: Completion) -> dict[str, Any]:
        """The client's `chat.completion` for the final answer."""
        kept = {k: v for k, v in completion.body.items() if k not in _OWN and v is not None}
        body: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": completion.model,
            "choices": finished_choices(completion.body),
            **kept,
        }
        if self.usage is not None:
            body["usage"] = self.usage.as_body()
        return self._traced(body)

    def _telling(self, before: ConsilienceError | None, exc: ConsilienceError) -> ConsilienceError:
        """Of two failures, gives the one to tell the client if all else fails, too.

        Raises:
            ConsilienceError: `exc`, a model's refusal of the client's own request, which no other
                model mends. A refusal by one that only stands in says nothing of the request.
        """
        refused = isinstance(exc, UpstreamStatusError) and exc.reason == "rejected"
        if self.outcome.stage == "synthesis" or not refused:
            return exc
        if before is None:
            raise exc
        return before

    def _final_failure(self, exc: ConsilienceError) -> ConsilienceError:
        """What the client is told: after a deliberation, no status that speaks of its request.

        A 429 or a 400 of the writing model's would have the panel paid for again, or be mistaken
        for a fault of the client's.
        """
        deliberated = self.outcome.stage == "synthesis"
        if not (deliberated and isinstance(exc, UpstreamStatusError) and exc.status < 500):
            return exc
        return UpstreamError(
            exc.message, model=exc.model, status_code=exc.status_code, reason=exc.reason
        )

    def _finals(self) -> Sequence[Final]:
        return (self.outcome.final, *self.outcome.fallbacks)

    def _finished(self, completion: Completion) -> Completion:
        return self.outcome.finish(completion) if self.outcome.finish else completion

    async def _relay(self, final: Final, relay: ChunkRelay, emit: Emit) -> int | None:
        """Relays one candidate's chunks; gives the milliseconds to its first token."""
        begun = anyio.current_time()
        ttft_ms: int | None = None
        async with aclosing(self._chunks(final)) as chunks:
            async for chunk in chunks:
                out = relay.relay(chunk)
                if out is None or (not self.committed and self._is_empty_end(out)):
                    continue
                if ttft_ms is None:
                    ttft_ms = ms_since(begun)
                await self._send(out, final, emit)
        if not self.committed and self.outcome.stage == "synthesis":
            raise UnusableAnswerError("the answer is empty", model=final.model)
        closing = relay.closing()
        if closing is not None or not self.committed:
            await self._send(closing or relay.stamp.chunk(choices=[]), final, emit)
        return ttft_ms

    async def _send(self, chunk: dict[str, Any], final: Final, emit: Emit) -> None:
        if not self.committed:
            self.committed = True
            if self._patience is not None:  # from now on nobody can take over
                self._patience.deadline = math.inf
            so_far = self._records_so_far(final)
            await emit(Begin(self.headers(final.model, so_far, None)))
            self._traced(chunk, so_far)
        await emit(Chunk(chunk))

    def _records_so_far(self, final: Final) -> Sequence[StageRecord]:
        """The calls made, with the one that is streaming when others had failed before it.

        Without it the trace would say that no model writes the answer.
        """
        if not self.records or isinstance(final, Completion):
            return self.records
        writing = StageRecord(
            stage=self.outcome.stage, model=final.model, status="ok", latency_ms=0
        )
        return (*self.records, writing)

    def _is_empty_end(self, chunk: Mapping[str, Any]) -> bool:
        """Whether a synthesis ends here without having said anything: then it has failed."""
        return self.outcome.stage == "synthesis" and all(
            c["finish_reason"]
            and c["finish_reason"] != _WITHHELD
            and not any(c["delta"].get(name) for name in _SUBSTANCE)
            for c in chunk["choices"]
        )

    def _check(self, completion: Completion) -> None:
        """An empty synthesis is a failure; a plain model's empty answer is its answer."""
        if self.outcome.stage != "synthesis":
            return
        for choice in completion.body["choices"]:
            message = choice["message"]
            if said(message) or any(message.get(name) for name in _BESIDE_TEXT):
                return
            if choice.get("finish_reason") == _WITHHELD:
                return
        raise UnusableAnswerError("the answer is empty", model=completion.model)

    def _usage_chunk(self, stamp: Stamp) -> dict[str, Any]:
        chunk = stamp.chunk(choices=[])
        if self.usage is not None:
            chunk["usage"] = self.usage.as_body()
        return self._traced(chunk)

    def _traced(
        self, body: dict[str, Any], records: Sequence[StageRecord] | None = None
    ) -> dict[str, Any]:
        """Puts the trace, as far as it has come, into a body or chunk."""
        extension = self.outcome.extension
        made = self.records if records is None else records
        trace = extension.render(made or None) if extension else None
        if trace is not None:
            body["fusion"] = trace
        return body

    def _chunks(self, final: Final) -> AsyncGenerator[Body, None]:
        return _given(final) if isinstance(final, Completion) else self.pool.stream(final)

    def _note(self, model: str, begun: float, ttft_ms: int | None, usage: Usage | None) -> None:
        self.records.append(
            StageRecord(
                stage=self.outcome.stage,
                model=model,
                status="ok",
                latency_ms=ms_since(begun),
                ttft_ms=ttft_ms,
                usage=usage,
                cost_usd=self.pool.cost(model, usage),
            )
        )

    def _note_failure(
        self, exc: ConsilienceError, model: str, begun: float, usage: Usage | None
    ) -> None:
        reason = exc.reason if isinstance(exc, UpstreamError) else exc.code
        self.records.append(
            StageRecord(
                stage=self.outcome.stage,
                model=model,
                status="timeout" if reason == "timeout" else "failed",
                latency_ms=ms_since(begun),
                usage=usage,
                cost_usd=self.pool.cost(model, usage),
                reason=reason,
            )
        )


@contextmanager
def _in_time(final: Final, others: Sequence[Final]) -> Iterator[anyio.CancelScope]:
    """Bounds one model's time by its share, so that those behind it have theirs."""
    seconds = math.inf
    if others:
        share = IN_HAND_SHARE if isinstance(others[0], Completion) else FALLBACK_SHARE
        seconds = share * (anyio.current_effective_deadline() - anyio.current_time())
    try:
        with anyio.fail_after(seconds) as scope:
            yield scope
    except TimeoutError as exc:
        raise UpstreamTimeoutError("did not answer in time", model=final.model) from exc


async def _given(completion: Completion) -> AsyncGenerator[Body, None]:
    for chunk in as_chunks(completion):
        yield chunk
