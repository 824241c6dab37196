"""Models over HTTP whose answers a test scripts: what stands behind the gateway here."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Body = Mapping[str, Any]

HOLD_S = 20.0
"""How long a held stream waits to be released before it breaks instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a model answers one call."""

    pieces: Sequence[str] = ()
    """The text; streamed one chunk a piece."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """`{id, name, arguments}`, `arguments` being JSON text."""
    usage: Mapping[str, Any] | None = None
    status: int = 200
    """Anything else: an error body that clients must never see."""
    breaks_after: int | None = None
    """The connection breaks after this many pieces; of a whole answer, half of it gets out."""
    held_after: int | None = None
    """The stream stops after this many pieces until `ModelServer.release`."""
    silent: bool = False
    """Nothing comes at all until `ModelServer.release`, and then the connection breaks."""

    @property
    def message(self) -> dict[str, Any]:
        """The assistant message of a whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.pieces) or None}
        if self.tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in self.tool_calls]
        return message

    @property
    def finish_reason(self) -> str:
        """`tool_calls` when there are any."""
        return "tool_calls" if self.tool_calls else "stop"


Script = Mapping[str, Callable[[Body], Answer]]
"""Model name -> its answer to a request body."""

ERROR_BODY = {"error": {"message": "internal detail of the provider", "type": "server_error"}}


class ModelServer:
    """Serves every model on one loopback port; records what it was asked."""

    def __init__(self, script: Script) -> None:
        """
        Args:
            script: what the models answer when a test says nothing else.
        """
        self._default = script
        self.script = dict(script)
        """What the models answer now."""
        self.calls: list[Body] = []
        """Every request body that came in, in order of arrival."""
        self._released = threading.Event()
        owner = self

        class Handler(_Handler):
            models = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._server.server_address[1]
        return port

    @property
    def release_url(self) -> str:
        """Where a client in another process can call `release`, with POST."""
        return f"http://127.0.0.1:{self.port}/release"

    @property
    def called(self) -> list[str]:
        """The models that were asked, sorted, once for each call."""
        return sorted(call["model"] for call in self.calls)

    def answer(self, **answers: Answer) -> None:
        """Scripts models for the rest of the test, whatever they are asked."""
        self.script |= {model: _always(answer) for model, answer in answers.items()}

    def release(self) -> None:
        """Lets held streams go on: the client calls this once it has read a first piece."""
        self._released.set()

    def wait_for_release(self) -> bool:
        """Waits until a client has read something; False when none did."""
        return self._released.wait(HOLD_S)

    def reset(self) -> None:
        """Forgets calls and what a test scripted."""
        self.script = dict(self._default)
        self.calls.clear()
        self._released.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a gateway that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    models: ModelServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keeps the test's output clean."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.path == "/release":
            self.models.release()
            self._send(200, b"{}")
            return
        body = json.loads(raw)
        self.models.calls.append(body)
        answer = self.models.script[body["model"]](body)
        if answer.silent:
            self.models.wait_for_release()
            self._break()
        elif answer.status != 200:
            self._send(answer.status, json.dumps(ERROR_BODY).encode())
        elif body.get("stream"):
            self._stream(body["model"], answer)
        else:
            self._whole(body["model"], answer)

    def _whole(self, model: str, answer: Answer) -> None:
        choice = {"index": 0, "message": answer.message, "finish_reason": answer.finish_reason}
        body = _envelope(model, "chat.completion", [choice])
        if answer.usage:
            body["usage"] = answer.usage
        data = json.dumps(body).encode()
        if answer.breaks_after is None:
            self._send(200, data)
            return
        self._head(200, "application/json", ("content-length", str(len(data))))
        self.wfile.write(data[: len(data) // 2])
        self._break()

    def _stream(self, model: str, answer: Answer) -> None:
        self._head(200, "text/event-stream", ("transfer-encoding", "chunked"))
        for sent, chunk in enumerate(_chunks(model, answer), start=-1):
            if sent == answer.breaks_after:
                self._break()
                return
            if sent == answer.held_after and not self.models.wait_for_release():
                self._break()
                return
            self._frame(f"data: {json.dumps(chunk)}\n\n".encode())
        self._frame(b"data: [DONE]\n\n")
        self._frame(b"")

    def _frame(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _send(self, status: int, data: bytes) -> None:
        self._head(status, "application/json", ("content-length", str(len(data))))
        self.wfile.write(data)

    def _head(self, status: int, content_type: str, length: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header(*length)
        self.end_headers()

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _chunks(model: str, answer: Answer) -> Iterator[dict[str, Any]]:
    """The role, one chunk a piece, the tool calls in halves, the end, the usage."""

    def chunk(delta: Body, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _envelope(model, "chat.completion.chunk", [choice])

    yield chunk({"role": "assistant", "content": ""})
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(answer.tool_calls):
        text, half = call["arguments"], len(call["arguments"]) // 2
        opening = _tool_call({**call, "arguments": text[:half]})
        yield chunk({"tool_calls": [{"index": index, **opening}]})
        rest = {"index": index, "function": {"arguments": text[half:]}}
        yield chunk({"tool_calls": [rest]})
    yield chunk({}, answer.finish_reason)
    if answer.usage:
        yield {**_envelope(model, "chat.completion.chunk", []), "usage": answer.usage}


def _envelope(model: str, kind: str, choices: Sequence[Body]) -> dict[str, Any]:
    return {
        "id": "upstream-1",
        "object": kind,
        "created": 1_700_000_000,
        "model": model,
        "choices": list(choices),
    }


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function}


def _always(answer: Answer) -> Callable[[Body], Answer]:
    return lambda _body: answer
