"""A blocking HTTP client that shows everything and can hang up at any moment."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error object, checked to be of OpenAI's shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def events(self) -> list[Any]:
        """The JSON of every `data:` event; the end mark as the string `[DONE]`."""
        return [parsed(line) for line in self.body.split(b"\n") if line.startswith(b"data: ")]


def parsed(line: bytes) -> Any:
    data = line.removeprefix(b"data: ")
    return "[DONE]" if data.strip() == b"[DONE]" else json.loads(data)


def send(
    base_url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Makes one request over a connection of its own."""
    with _connected(base_url) as connection:
        connection.request(method, path, body, dict(headers or {}))
        return _whole(connection.getresponse())


def get(base_url: str, path: str, headers: Mapping[str, str] | None = None) -> Response:
    return send(base_url, "GET", path, headers=headers)


def post(
    base_url: str, body: object, headers: Mapping[str, str] | None = None, *, path: str = CHAT
) -> Response:
    """Posts JSON; `body` may be bytes already."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(
        base_url, "POST", path, data, {"content-type": "application/json", **(headers or {})}
    )


def ask(
    base_url: str, model: str, headers: Mapping[str, str] | None = None, **fields: Any
) -> Response:
    """Posts a small chat request."""
    return post(base_url, {"model": model, "messages": HELLO, **fields}, headers)


@dataclass(slots=True)
class OpenResponse:
    """A response that is read line by line, or left."""

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse

    def lines(self) -> Iterator[tuple[float, bytes]]:
        """Gives each line that is not blank, with the time at which it came."""
        while line := self._response.readline():
            if line.strip():
                yield time.monotonic(), line.rstrip(b"\n")

    def data(self) -> Iterator[Any]:
        """Gives the JSON of each event as it comes."""
        return (parsed(line) for _, line in self.lines() if line.startswith(b"data: "))


@contextmanager
def opened(base_url: str, model: str, **fields: Any) -> Iterator[OpenResponse]:
    """Asks for a stream and gives its response once the head is there; leaving hangs up."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": True, **fields})
    with _connected(base_url) as connection:
        connection.request("POST", CHAT, body, {"content-type": "application/json"})
        response = connection.getresponse()
        try:
            yield OpenResponse(response.status, _headers(response), response)
        finally:
            response.close()


@contextmanager
def pending(base_url: str, model: str, **fields: Any) -> Iterator[None]:
    """Sends a request and waits for nothing; leaving hangs up."""
    body = json.dumps({"model": model, "messages": HELLO, **fields})
    with _connected(base_url) as connection:
        connection.request("POST", CHAT, body, {"content-type": "application/json"})
        yield


def eventually(condition: Any, seconds: float = 10.0) -> bool:
    """Waits until something is so; gives whether it came to be."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def _connected(base_url: str) -> Iterator[http.client.HTTPConnection]:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def _whole(response: http.client.HTTPResponse) -> Response:
    return Response(response.status, _headers(response), response.read())


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
