"""Models that begin to answer and then wait until they are let go: requests that stay in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from .raw_server import (
    DONE,
    LAST,
    SSE_HEAD,
    Received,
    Step,
    chunked,
    completion,
    json_answer,
    piece,
)
from .scripts import REPLY

_LOOK_S = 0.02


class HeldModels:
    """A script for `raw_server`. Each answer ends with `said` after `release`, not before."""

    said = "let go"

    def __init__(self) -> None:
        self._released = threading.Event()

    def release(self) -> None:
        """Lets every answer go on, those that are still to come included."""
        self._released.set()

    def __call__(self, request: Received) -> Iterable[Step]:
        body = request.json
        streamed = bool(body.get("stream"))
        if streamed:
            yield SSE_HEAD + chunked(piece("held, "))
        while not self._released.is_set():
            yield _LOOK_S
        if streamed:
            yield chunked(piece(self.said)) + chunked(piece(finish="stop"))
            yield chunked(DONE) + LAST
        else:
            yield json_answer(completion(REPLY if "response_format" in body else self.said))
