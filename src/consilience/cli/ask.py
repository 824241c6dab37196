"""`consilience ask`: one question, the panel watched live, the answer alone on standard output."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio

from ..chat.codec import encode
from ..errors import ConsilienceError, NoMatchingDecisionError
from ..loopers.base import Progress
from ..reply import Begin, Chunk, Event, Routed
from .console import err, out, plain, report
from .exit_codes import INTERRUPTED, OK, USAGE
from .sources import open_source
from .watch import Watch, print_trace

_NO_LOG = logging.NullHandler()
"""Failed calls are told by the watch and the error; their log lines would be seen as well."""


def ask(
    *,
    prompt: str,
    config: Path | None,
    url: str | None,
    model: str,
    system: str | None,
    trace: bool,
    quiet: bool,
    as_json: bool,
    max_tokens: int | None,
) -> int:
    """Asks and prints; gives the exit code."""
    try:
        text = _question(prompt)
    except UnicodeError:
        err.print("error: the question is not text in UTF-8")
        return USAGE
    if not text.strip():
        err.print("error: the question is empty")
        return USAGE
    if config is not None and url is not None:
        err.print("error: give --config or --url, not both")
        return USAGE
    body = _request(text, model, system, max_tokens)
    live = err.is_terminal and not err.is_dumb_terminal
    logging.getLogger("consilience").addHandler(_NO_LOG)
    watch = Watch(live=live, shown=not (quiet or as_json))
    try:
        return anyio.run(_ask, body, config, url, trace, as_json, watch)
    except KeyboardInterrupt:
        watch.stop(broken=True)
        err.print("\ninterrupted; every upstream call was cancelled")
        return INTERRUPTED
    except ConsilienceError as exc:
        watch.stop(broken=True)
        code = report(exc)
        if isinstance(exc, NoMatchingDecisionError):
            err.print("hint: --model auto lets any route answer; `consilience explain` shows why")
        return code


def _question(prompt: str) -> str:
    """Gives the prompt; raises UnicodeError when it is no text."""
    if prompt == "-":
        return sys.stdin.buffer.read().decode()
    prompt.encode()  # bytes of the command line that are no text came in as lone surrogates
    return prompt


def _request(text: str, model: str, system: str | None, max_tokens: int | None) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {
        "model": model,
        "messages": [*messages, {"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "plugins": [{"id": "fusion", "stream_progress": True}],
    }
    if max_tokens is not None:
        body["max_completion_tokens"] = max_tokens
    return body


async def _ask(
    body: dict[str, Any],
    config: Path | None,
    url: str | None,
    trace: bool,
    as_json: bool,
    watch: Watch,
) -> int:
    async with open_source(config, url) as source:
        if not source.is_fusion(body["model"]):
            del body["plugins"]
        if as_json:
            out.print(encode(await source.complete(_whole(body))).decode())
            return OK
        async with aclosing(source.stream(body)) as events:
            await _print(events, watch, trace=trace)
    return OK


async def _print(events: AsyncIterator[Event], watch: Watch, *, trace: bool) -> None:
    final: dict[str, Any] = {}
    begun = False
    try:
        async for event in events:
            match event:
                case Progress():
                    watch.progress(event)
                case Chunk():
                    news = event.body.get("fusion")
                    if news and not final:
                        watch.stop()
                        if trace:
                            print_trace(news)
                    final = dict(event.body) if news or not event.body["choices"] else final
                    if event.text:
                        watch.stop()
                        begun = True
                        _write(plain(event.text))
                case Begin() | Routed():
                    pass
    except (ConsilienceError, anyio.get_cancelled_exc_class()):
        if begun:  # what is said of the failure does not go on the answer's last line
            _write("\n")
        raise
    watch.stop()
    _write("\n")
    watch.summary(final)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in body.items() if k not in ("stream", "stream_options", "plugins")}
