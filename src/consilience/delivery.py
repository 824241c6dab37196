"""Delivering an outcome: the final call, whole or streamed, with its fallbacks.

Fallbacks are tried in the looper's order for as long as nobody has answered. Once a word of an answer
is out, a failure ends the stream; another model's text is never spliced in. A synthesis of which no
more than reasoning was passed on has not answered: who takes over goes on in the same stream.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from .chat.chunks import ChunkRelay, Stamp, as_chunks, finished_choices
from .chat.codec import Body
from .chat.completion import WITHHELD, Completion, Usage, says
from .chat.hearing import Hearing
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
from .upstream.calls import Calls
from .upstream.retry import LONGEST_WAIT_S

Emit = Callable[[Event], Awaitable[None]]
Final = ChatRequest | Completion

FALLBACK_SHARE = 0.7
"""The part of the time left that a model may take to answer, or to begin to, while another one can
still be asked. One that hangs must not take the others' time."""
IN_HAND_SHARE = 0.95
"""The same while an answer is in hand, which takes no time."""

FALLBACK_WAIT_S = 2.0
"""The longest `Retry-After` that is waited for while another model can be asked instead."""

_OWN = frozenset(("fusion", "error", "id", "object", "created", "model", "choices", "usage"))


@dataclass(slots=True)
class Delivery:
    """One outcome on its way to the client."""

    outcome: Outcome
    calls: Calls
    id: str
    created: int
    headers: Callable[[str, Sequence[StageRecord], Usage | None], Mapping[str, str]]
    """Gives the response headers for: who answers, the calls made to deliver, usage if known."""
    records: list[StageRecord] = field(default_factory=list)
    """Calls made to deliver, in order."""
    committed: bool = False
    """Whether an answer is under way, so that nobody can take over any more."""
    _stamp: Stamp | None = None
    """What the chunks that were passed on share; None while there were none."""
    _roles: set[int] = field(default_factory=set)
    """The choices of which a chunk was passed on before the answer began."""
    _patience: anyio.CancelScope | None = None
    """Ends the wait for the first word of the answer."""
    _made: int = 0
    """The request's upstream calls before the model that is being asked."""
    _longest_wait_s: float = LONGEST_WAIT_S
    """Of that model's `Retry-After`."""

    @property
    def usage(self) -> Usage | None:
        """The sum over every call of the request; None when no upstream said anything."""
        known = [r.usage for r in (*self.outcome.records, *self.records) if r.usage is not None]
        return sum(known, Usage()) if known else None

    @property
    def undisturbed(self) -> bool:
        """Whether everything went as configured up to here."""
        extension = self.outcome.extension
        degraded = extension.degraded(self.records or None) if extension else ()
        return not degraded and all(record.status == "ok" for record in self.records)

    @property
    def _attempts(self) -> int:
        return max(1, self.calls.allowance.made - self._made)

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
            self._turn_to(finals[position + 1 :])
            completion: Completion | None = None
            try:
                with _in_time(final, finals[position + 1 :]):
                    completion = await self.calls.complete(
                        final, longest_wait_s=self._longest_wait_s
                    )
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
            self._turn_to(finals[position + 1 :])
            writing = self._writing(final)
            relay = writing.relay
            try:
                with _in_time(final, finals[position + 1 :]) as self._patience:
                    await self._relay(writing, emit)
            except ConsilienceError as exc:
                self.committed = self.committed or writing.hearing.may_say
                self._note_failure(exc, final.model, writing.begun, relay.usage)
                last = exc if self.committed else self._telling(last, exc)
                if self.committed or position == len(finals) - 1:
                    raise self._final_failure(last) from exc
                await _end_thoughts(writing, emit)
                continue
            if isinstance(final, ChatRequest):
                self._note(final.model, writing.begun, writing.ttft_ms, relay.usage)
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

    def _writing(self, final: Final) -> _Writing:
        # clients need one model throughout a stream; who took over stands in the trace
        stamp = self._stamp or Stamp(self.id, self.created, final.model)
        return _Writing(final, ChunkRelay(stamp, roles=set(self._roles)), anyio.current_time())

    async def _relay(self, writing: _Writing, emit: Emit) -> None:
        """Relays one candidate's chunks."""
        relay = writing.relay
        async with aclosing(self._chunks(writing.final)) as chunks:
            async for chunk in chunks:
                out = relay.relay(chunk)
                if out is not None:
                    await self._send(out, writing, emit)
        closing = relay.closing()
        if closing is not None:
            await self._send(closing, writing, emit)
        if self.committed:
            return
        if self.outcome.stage == "synthesis":
            raise UnusableAnswerError("the answer is empty", model=writing.final.model)
        await self._send(relay.stamp.chunk(choices=[]), writing, emit)

    async def _send(self, chunk: dict[str, Any], writing: _Writing, emit: Emit) -> None:
        if self.committed:
            await emit(Chunk(chunk))
            return
        # who is out of time passes nothing on, or half of it would be lost on its way
        await anyio.lowlevel.checkpoint_if_cancelled()
        heard = self._heard(chunk, writing.hearing)
        if heard is not None:
            with self._client_s_time():
                await self._pass_on(heard, writing, emit)

    async def _pass_on(self, chunk: dict[str, Any], writing: _Writing, emit: Emit) -> None:
        if writing.ttft_ms is None:
            writing.ttft_ms = ms_since(writing.begun)
            so_far = self._records_so_far(writing.final)
            if self._stamp is None:
                self._stamp = writing.relay.stamp
                await emit(Begin(self.headers(writing.final.model, so_far, None)))
            self._traced(chunk, so_far)
        await emit(Chunk(chunk))

    def _heard(self, chunk: dict[str, Any], hearing: Hearing) -> dict[str, Any] | None:
        """Gives what may be passed on of a chunk, and notes whether the answer begins with it."""
        heard: dict[str, Any] | None = chunk
        if self.outcome.stage == "synthesis":
            heard = hearing.hear(chunk)
            self.committed = hearing.says
            self._roles.update(c["index"] for c in (heard or {}).get("choices", ()))
        else:
            self.committed = True
        return heard

    @contextmanager
    def _client_s_time(self) -> Iterator[None]:
        """Stops the model's time while its client takes a piece; for good once it answers."""
        scope, begun = self._patience, anyio.current_time()
        if scope is None:
            yield
            return
        until, scope.deadline = scope.deadline, math.inf
        yield
        if not self.committed:
            scope.deadline = until + (anyio.current_time() - begun)

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

    def _check(self, completion: Completion) -> None:
        """An empty synthesis is a failure; a plain model's empty answer is its answer."""
        if self.outcome.stage != "synthesis":
            return
        for choice in completion.body["choices"]:
            if says(choice["message"]) or choice.get("finish_reason") == WITHHELD:
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

    def _turn_to(self, others: Sequence[Final]) -> None:
        """Begins with the next model, which has `others` behind it."""
        self._made = self.calls.allowance.made
        replaced = bool(others) and isinstance(others[0], ChatRequest)
        self._longest_wait_s = FALLBACK_WAIT_S if replaced else LONGEST_WAIT_S

    def _chunks(self, final: Final) -> AsyncGenerator[Body, None]:
        if isinstance(final, Completion):
            return _given(final)
        return self.calls.stream(final, longest_wait_s=self._longest_wait_s)

    def _note(self, model: str, begun: float, ttft_ms: int | None, usage: Usage | None) -> None:
        self.records.append(
            StageRecord(
                stage=self.outcome.stage,
                model=model,
                status="ok",
                latency_ms=ms_since(begun),
                ttft_ms=ttft_ms,
                usage=usage,
                cost_usd=self.calls.cost(model, usage),
                attempts=self._attempts,
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
                cost_usd=self.calls.cost(model, usage),
                reason=reason,
                attempts=self._attempts,
            )
        )


@dataclass(slots=True)
class _Writing:
    """One candidate's part in a stream."""

    final: Final
    relay: ChunkRelay
    begun: float
    """By the event loop's clock."""
    hearing: Hearing = field(default_factory=Hearing)
    ttft_ms: int | None = None
    """Milliseconds to the first chunk that was passed on; None while there was none."""


async def _end_thoughts(writing: _Writing, emit: Emit) -> None:
    """Closes the tags in which a model had reasoned: what the next one says is outside of them."""
    choices = [
        {"index": index, "delta": {"content": f"</{tag}>\n\n"}, "finish_reason": None}
        for index, tag in writing.hearing.open_tags.items()
    ]
    if choices:
        await emit(Chunk(writing.relay.stamp.chunk(choices=choices)))


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
