"""The table of faults: what is played, and what must come of it.

Times of the stand: connection 0.5 s, first event 1 s, silence 0.75 s, one call 1.5 s; an answer may
have 1 MiB, an event 64 KiB; two retries after a hundredth of a second.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.raw_server import (
    CLOSE,
    CLOSE_DELIMITED_HEAD,
    DONE,
    HANG,
    LAST,
    RESET,
    SSE_HEAD,
    Step,
    answer,
    chunked,
    completion,
    event,
    json_answer,
    piece,
    streamed,
)

from .fault import NOT_STREAMED, NOT_WHOLE, STAGES, Case, Fault, Stage

Told = dict[str, Any]
"""Fields of a `Fault`."""
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
HALF = JSON_HEAD + b"content-length: 500\r\n\r\n{"
CHUNKED_JSON = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
WORD = piece("par")
FINE = [ROLE, piece("fine"), piece(finish="stop")]
UNREACHABLE = "upstream_unreachable"
PROTOCOL = "upstream_protocol_error"
TIMEOUT: Told = {"status": 504, "code": "upstream_timeout", "reason": "timeout"}
REJECTED = "upstream_rejected_request"
RATE_LIMITED: Told = {"reason": "rate_limited", "status": 429, "code": "upstream_rate_limited"}
ONLY_JUDGED = "only the judge's answer is read as an analysis"
_NO_OTHER: Mapping[Stage, str] = dict.fromkeys(("single", "panel", "synthesis"), ONLY_JUDGED)


def _sent(*events: bytes) -> list[Step]:
    """The beginning of a stream."""
    return [SSE_HEAD, *[chunked(e) for e in events]]


def _drip(head: bytes) -> list[Step]:
    drop: list[Step] = [b"x", 0.02]
    return [head, *drop * 200]


def _connection() -> Iterator[Fault]:
    """F1 to F7."""
    nothing: list[Step] = []
    for number, name, model, calls, reason in (
        ("F01", "refused", "refused", 3, "connection"),
        ("F02", "black hole", "blackhole", 3, "connection"),
        ("F03", "unknown host", "nohost", 3, "connection"),
        ("F04", "untrusted certificate", "untrusted", 1, "tls"),
        ("F04", "no TLS there", "plain", 3, "connection"),
    ):
        yield Fault(
            number, name, nothing, nothing, reason, code=UNREACHABLE, calls=calls, model=model
        )
    broken: Told = {"reason": "connection", "code": UNREACHABLE}
    for name, step in (("reset", RESET), ("closed", CLOSE)):
        yield Fault("F05", f"{name} before the head once", [step], [step], None, calls=2, times=1)
        yield Fault("F05", f"{name} before the head", [step], [step], calls=3, **broken)
        yield Fault(
            "F06", f"{name} in the body", [HALF, 0.02, step], NOT_STREAMED, calls=3, **broken
        )
        yield Fault(
            "F06",
            f"{name} in the body once",
            [HALF, 0.02, step],
            NOT_STREAMED,
            None,
            calls=2,
            times=1,
        )
        yield Fault(
            "F07",
            f"{name} after a word",
            NOT_WHOLE,
            [*_sent(WORD), 0.05, step],
            committed=True,
            **broken,
        )


def _truncation() -> Iterator[Fault]:
    """F8: never a success."""
    cut: Told = {"reason": "truncated", "code": PROTOCOL}
    broken: Told = {"reason": "connection", "code": UNREACHABLE}
    garbage: Told = {"reason": "protocol", "code": PROTOCOL}
    whole = json.dumps(completion("cut")).encode()
    closing = JSON_HEAD + b"connection: close\r\n\r\n"
    yield Fault(
        "F08",
        "chunked body cut",
        [CHUNKED_JSON, chunked(whole[:50]), CLOSE],
        NOT_STREAMED,
        calls=3,
        **broken,
    )
    yield Fault(
        "F08", "closed body cut", [closing, whole[:50], CLOSE], NOT_STREAMED, calls=2, **garbage
    )
    for name, end, told, calls in (
        ("EOF in a chunk", [CLOSE], broken, 3),
        ("clean end", [LAST], cut, 2),
    ):
        yield Fault(
            "F08", f"{name} before a word", NOT_WHOLE, [*_sent(ROLE), *end], calls=calls, **told
        )
        yield Fault(
            "F08", f"{name} after a word", NOT_WHOLE, [*_sent(WORD), *end], committed=True, **told
        )
    yield Fault(
        "F08",
        "closed stream cut",
        NOT_WHOLE,
        [CLOSE_DELIMITED_HEAD, WORD, CLOSE],
        committed=True,
        **cut,
    )
    yield Fault("F08", "once", NOT_WHOLE, [*_sent(ROLE), LAST], None, calls=2, times=1)
    yield Fault("F08", "empty stream", NOT_WHOLE, [SSE_HEAD, LAST], calls=2, **cut)


def _slowness() -> Iterator[Fault]:
    """F9 to F11."""
    head = b"HTTP/1.1 200 OK\r\nx: "
    yield Fault("F09", "head drips", _drip(head), _drip(head), **TIMEOUT)
    yield Fault("F09", "body drips", _drip(HALF), NOT_STREAMED, **TIMEOUT)
    yield Fault("F09", "event drips", NOT_WHOLE, _drip(CLOSE_DELIMITED_HEAD + b"data: "), **TIMEOUT)
    yield Fault("F09", "silence", [HANG], [HANG], **TIMEOUT)
    blank: list[Step] = [chunked(b"\n"), 0.02]
    ping: list[Step] = [chunked(b": ping\n\n"), 0.02]
    yield Fault("F10", "blank lines only", [CHUNKED_JSON, *blank * 200], NOT_STREAMED, **TIMEOUT)
    yield Fault("F10", "pings only", NOT_WHOLE, [SSE_HEAD, *ping * 200], **TIMEOUT)
    yield Fault(
        "F10",
        "pings after a word",
        NOT_WHOLE,
        [*_sent(WORD), *ping * 200],
        committed=True,
        **TIMEOUT,
    )
    large: Told = {"reason": "too_large", "code": PROTOCOL}
    many: list[Step] = [chunked(piece("x" * 30_000))] * 200
    slow: list[Step] = [chunked(WORD), 0.02]
    yield Fault(
        "F11",
        "endless text",
        [CHUNKED_JSON, *[chunked(b" " * 30_000)] * 200],
        NOT_STREAMED,
        **large,
    )
    yield Fault("F11", "endless tokens", NOT_WHOLE, [SSE_HEAD, *many], committed=True, **large)
    yield Fault(
        "F11", "endless slow tokens", NOT_WHOLE, [SSE_HEAD, *slow * 200], committed=True, **TIMEOUT
    )


def _statuses() -> Iterator[Fault]:
    """F12 to F15."""
    for name, line, calls, told in (
        ("short wait", "retry-after: 0.05", 3, "1"),
        ("long wait", "retry-after: 120", 1, "120"),
        ("far date", "retry-after: Fri, 31 Dec 2100 23:59:59 GMT", 1, "86400"),
        ("past date", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT", 3, "1"),
        ("garbage", "retry-after: soon", 3, None),
    ):
        steps: list[Step] = [json_answer({}, status=429, headers=f"{line}\r\n")]
        yield Fault(
            "F12", name, steps, steps, calls=calls, headers={"retry-after": told}, **RATE_LIMITED
        )
        if calls > 1:
            yield Fault("F12", f"{name} once", steps, steps, None, calls=2, times=1)
    for status in (500, 502, 503, 504, 529):
        steps = [json_answer({"error": {"message": "no"}}, status=status)]
        failed: Told = TIMEOUT if status == 504 else {"reason": "server_error"}
        stop = {"x-should-retry": "false"}
        yield Fault("F13", str(status), steps, steps, calls=3, headers=stop, **failed)
        yield Fault("F13", f"{status} once", steps, steps, None, calls=2, times=1)
    for name, status, error, judge_calls in (
        ("bad request", 400, {"message": "no"}, 3),
        ("context length", 400, {"message": "too long", "code": "context_length_exceeded"}, 3),
        ("content policy", 400, {"message": "no", "code": "content_filter"}, 3),
        ("not found", 404, {"message": "no such model"}, 1),
        ("too large", 413, {"message": "too large"}, 1),
        ("unprocessable", 422, {"message": "no"}, 3),
    ):
        steps = [json_answer({"error": error}, status=status)]
        yield Fault(
            "F14",
            name,
            steps,
            steps,
            "rejected",
            status,
            REJECTED,
            # the judge is asked without its schema, which such a status may be about
            judge_calls=judge_calls,
            headers={"x-should-retry": None},
        )
    for status in (401, 402, 403):
        steps = [json_answer({"error": {"message": "bad key"}}, status=status)]
        yield Fault("F15", str(status), steps, steps, "credentials", code="upstream_credentials")


def _answers() -> Iterator[Fault]:
    """F16 to F20."""
    garbage: Told = {"reason": "protocol", "code": PROTOCOL, "calls": 2}
    for name, body in (
        ("invalid JSON", b'{"choices": ['),
        ("invalid UTF-8", b'{"choices": "\xff\xfe"}'),
        ("empty body", b""),
        ("an array", b"[]"),
        ("no choices", b"{}"),
        ("no message", b'{"choices": [{"index": 0}]}'),
    ):
        yield Fault("F16", name, [answer(body)], NOT_STREAMED, **garbage)
    for name, data in (
        ("event of invalid JSON", b"data: {\n\n"),
        ("event of invalid UTF-8", b'data: {"choices": [\xff\xfe]}\n\n'),
        ("event of an array", b"data: []\n\n"),
    ):
        yield Fault("F16", name, NOT_WHOLE, [*_sent(data), LAST], **garbage)
        yield Fault(
            "F16",
            f"{name} after a word",
            NOT_WHOLE,
            [*_sent(WORD, data), LAST],
            "protocol",
            code=PROTOCOL,
            committed=True,
        )
    error = {"error": {"message": "overloaded", "code": 503}}
    under_200: Told = {"reason": "error_body", "code": "upstream_error"}
    yield Fault(
        "F16", "error object", [json_answer(error)], [json_answer(error)], calls=2, **under_200
    )
    yield Fault("F16", "error event", NOT_WHOLE, [*_sent(event(error)), LAST], calls=2, **under_200)
    yield Fault(
        "F16",
        "error event after a word",
        NOT_WHOLE,
        [*_sent(WORD, event(error)), LAST],
        committed=True,
        **under_200,
    )
    yield Fault("F16", "only the mark", NOT_WHOLE, streamed(), **garbage)
    null = completion(None)
    yield Fault(
        "F16",
        "null content",
        [json_answer(null)],
        streamed(ROLE, piece(finish="stop")),
        "empty",
        code="unusable_answer",
        alone=False,
        judge="analysis_unparsed",
    )
    for name, kind, body, reason in (
        ("a page", "text/html", b"<html>busy</html>", "content_type"),
        ("plain text", "text/plain", b"busy", "protocol"),
    ):
        steps: list[Step] = [answer(body, kind=kind)]
        yield Fault("F17", name, steps, steps, reason, code=PROTOCOL, calls=2)
    yield Fault(
        "F17",
        "a stream unasked",
        streamed(*FINE),
        NOT_STREAMED,
        "content_type",
        code=PROTOCOL,
        calls=2,
    )
    yield Fault("F17", "no stream though asked", NOT_WHOLE, [json_answer(completion("fine"))], None)
    yield from _sizes()
    yield from _odd_streams()
    for status in (302, 307, 308):
        steps = [json_answer({}, status=status, headers="location: http://127.0.0.1:9/v1\r\n")]
        yield Fault("F20", str(status), steps, steps, "redirect", code=PROTOCOL)


def _sizes() -> Iterator[Fault]:
    """F18."""
    large: Told = {"reason": "too_large", "code": PROTOCOL}
    stated = JSON_HEAD + b"content-length: 1073741824\r\n\r\n"
    yield Fault("F18", "1 GiB stated", [stated, HANG], NOT_STREAMED, **large)
    yield Fault(
        "F18", "no end", [CHUNKED_JSON, *[chunked(b"x" * 60_000)] * 40], NOT_STREAMED, **large
    )
    bomb = gzip.compress(b" " * (64 << 20))
    packed = "content-encoding: gzip\r\n"
    yield Fault("F18", "gzip bomb", [answer(bomb, headers=packed)], NOT_STREAMED, **large)
    twice = [answer(gzip.compress(b"{}"), headers="content-encoding: gzip, gzip\r\n")]
    yield Fault("F18", "nested encodings", twice, NOT_STREAMED, "protocol", code=PROTOCOL, calls=2)
    yield Fault("F18", "event too large", NOT_WHOLE, streamed(piece("x" * 100_000)), **large)
    yield Fault(
        "F18",
        "event too large after a word",
        NOT_WHOLE,
        [*_sent(WORD), 0.05, *_sent(piece("x" * 100_000))[1:]],
        committed=True,
        **large,
    )


def _odd_streams() -> Iterator[Fault]:
    """F19: strange, and no fault."""
    whole = b"".join(FINE) + DONE
    forms: Mapping[str, Sequence[Step]] = {
        "CRLF": streamed(*[e.replace(b"\n", b"\r\n") for e in FINE]),
        "byte by byte": [SSE_HEAD, *[chunked(bytes([b])) for b in whole], LAST],
        "byte order mark": [SSE_HEAD, chunked(b"\xef\xbb\xbf" + whole), LAST],
        "many lines": streamed(*[e.replace(b', "', b',\ndata: "') for e in FINE]),
        "named events": streamed(b": ping\n\n", *[b"event: x\nid: 1\n" + e for e in FINE]),
        "usage last": streamed(*FINE, event({"choices": [], "usage": {"prompt_tokens": 1}})),
        "broken after the mark": [SSE_HEAD, chunked(whole), RESET],
        "no mark": streamed(*FINE, done=False),
    }
    for name, steps in forms.items():
        yield Fault("F19", name, NOT_WHOLE, steps, None)


def _judgements() -> Iterator[Fault]:
    """F21."""
    found: Mapping[str, Any] = {"consensus": ["x"], "blind_spots": []}
    said = {
        "prose": ("They agree.", "analysis_unparsed"),
        "half a JSON": ('{"consensus": ["x', ""),
        "fenced": (f"```json\n{json.dumps(found)}\n```", ""),
        "wrong keys": ('{"verdict": "A"}', "analysis_unparsed"),
        "a large JSON": (json.dumps({"consensus": ["word " * 10_000] * 15}), ""),
        "nothing but brackets": ("[" * 100_000, "analysis_unparsed"),
    }
    for name, (text, reason) in said.items():
        yield Fault(
            "F21",
            name,
            [json_answer(completion(text))],
            NOT_STREAMED,
            None,
            judge=reason,
            stages=_NO_OTHER,
        )


FAULTS: tuple[Fault, ...] = (
    *_connection(),
    *_truncation(),
    *_slowness(),
    *_statuses(),
    *_answers(),
    *_judgements(),
)

ELSEWHERE: Mapping[str, str] = {
    "F22": "a client that leaves: test_clients.py",
    "F23": "clients that read slowly: test_slow_clients.py",
    "F24": "clients that send slowly: test_slow_clients.py",
    "F25": "the end of the process: test_process.py",
    "F26": "a full disk: test_stores.py",
    "F27": "a locked, read-only or lost file: test_stores.py",
    "F30": "reloading: test_reloading.py",
    "F31": "a clock that jumps: test_random.py",
    "F32": "a worker is killed, files run out, the loop is blocked: test_process.py",
    "F33": "who reads metrics is slow, or gone: test_metrics_sink.py",
    "F34": "what a signal asks fails: test_signal_backends.py",
    "F35": "everything at random: test_random.py",
}
"""Faults that are not in this table, and the tests that play them."""

NO_SUCH_STORE: Mapping[str, str] = {
    "F28": "no such store: the gateway needs no Redis",
    "F29": "no such store: the gateway needs no Postgres",
}
"""Faults that cannot happen here; they count as neither survived nor failed."""

CASES: tuple[Case, ...] = tuple(
    Case(fault, stage, stream)
    for fault in FAULTS
    for stage in STAGES
    for stream in (False, True)
    if not isinstance(fault.steps(stage, stream=stream), str)
)
