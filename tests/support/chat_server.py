"""Scripts for `raw_server`: a server that plays every model, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from support.raw_server import (
    Received,
    Script,
    Step,
    answer,
    completion,
    json_answer,
    piece,
    streamed,
)
from support.scripts import REPLY

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chat_server(
    said: Mapping[str, str | Sequence[Step]] | None = None, *, judge: str = REPLY
) -> Script:
    """Gives what each model says, whole or streamed as the request wants.

    Args:
        said: text by upstream model id, or the steps of the response; an id that is not there
            says `says <id>`.
        judge: what any model says when it is asked for JSON.
    """
    texts = said or {}

    def script(request: Received) -> Sequence[Step]:
        if request.method == "GET":
            return [json_answer({"object": "list", "data": [{"id": "gpt-4o"}, {"id": "gpt-5"}]})]
        body = request.json
        text = judge if "response_format" in body else texts.get(body["model"])
        if text is None:
            text = f"says {body['model']}"
        if not isinstance(text, str):
            return text
        if not body.get("stream"):
            return [json_answer(completion(text))]
        return streamed(piece(text), piece(finish="stop"), piece_of_usage())

    return script


def piece_of_usage() -> bytes:
    """The last event of a stream that was asked for its usage."""
    return piece("", usage=USAGE, choices=[])


def refusal(status: int) -> list[Step]:
    """A response with an error status."""
    return [json_answer({"error": {"message": "no", "type": "x"}}, status=status)]


def page() -> list[Step]:
    """What a web server says that is no model server."""
    return [answer(b"<html>hello</html>", kind="text/html")]
