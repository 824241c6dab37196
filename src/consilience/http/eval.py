"""`POST /api/v1/eval`: where a request would go, without sending it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import anyio
from starlette.types import Receive, Scope, Send

from ..chat.request import ChatRequest, decode_body
from ..deadline import late, request_seconds
from ..errors import InvalidRequestError
from ..explain import Explanation, explain
from ..gateway import Gateway
from .body import headers_of, read_json_body
from .disconnect import unless_disconnected
from .drain import Drain
from .errors import send_json

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_PLAIN = ("text", "query")
"""Fields that may stand for a conversation of one user turn."""
_NOT_SENT = (*_PLAIN, "options")


class EvalEndpoint:
    """The dry run as an ASGI application."""

    def __init__(self, gateway: Callable[[], Gateway], drain: Drain) -> None:
        """
        Args:
            gateway: gives the gateway to use; asked once a request.
            drain: ends what is in flight when the process must end.
        """
        self._gateway = gateway
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._gateway()
        with gateway.in_use():
            await self._answer(gateway, scope, receive, send)

    async def _answer(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        settings = gateway.config.global_.gateway
        body = decode_body(await read_json_body(headers, receive, settings))
        request, traced = evaluated_request(body, gateway), _wants_trace(scope, body)
        gateway.guard.check_models(request)
        seconds = request_seconds(headers, gateway.timeout_s)

        async def explained() -> Explanation:
            try:
                with anyio.fail_after(seconds):  # signals may wait for what they ask
                    return await explain(gateway.router, gateway.config, request, headers)
            except TimeoutError as exc:
                raise late(seconds) from exc

        async def respond() -> None:
            explanation = await self._drain.unless_over(explained)
            # a name that leads nowhere is the client's own text
            known = request.model if explanation.route is not None else None
            scope["state"]["log"] = {"model": known, "dry_run": explanation.status}
            await send_json(send, explanation.as_body(trace=traced))

        await unless_disconnected(receive, respond)


def evaluated_request(body: object, gateway: Gateway) -> ChatRequest:
    """Gives the chat request that a body stands for.

    A chat-completions body stands for itself; `text` (or `query`) in place of `messages` for one
    user turn. Without a `model` the first auto alias is meant.

    Raises:
        InvalidRequestError: with `param` naming what is wrong.
    """
    if not isinstance(body, Mapping):
        return ChatRequest.from_body(body)  # refused there in the usual words
    fields: dict[str, Any] = {k: v for k, v in body.items() if k not in _NOT_SENT}
    if fields.get("messages") is None:
        fields["messages"] = _one_turn(body)
    aliases = gateway.config.global_.router.auto_names
    if fields.get("model") is None and aliases:
        fields["model"] = aliases[0]
    return gateway.parse(fields)


def _one_turn(body: Mapping[str, Any]) -> list[dict[str, str]]:
    name = next((name for name in _PLAIN if body.get(name) is not None), None)
    if name is None:
        raise InvalidRequestError("send 'messages', or 'text' in their place", param="messages")
    text = body[name]
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError(f"{name!r} must be a text that is not blank", param=name)
    return [{"role": "user", "content": text}]


def _wants_trace(scope: Scope, body: object) -> bool:
    """Whether the address or the body asks for the rule trees.

    Raises:
        InvalidRequestError: the address asks for something that is neither yes nor no.
    """
    query = scope.get("query_string", b"").decode("latin-1")
    asked = parse_qs(query, keep_blank_values=True).get("trace", ["false"])[-1]
    by_address = _FLAGS.get(asked.strip().lower())
    if by_address is None:
        raise InvalidRequestError("'trace' in the address must be true or false", param="trace")
    options = body.get("options") if isinstance(body, Mapping) else None
    return by_address or (isinstance(options, Mapping) and options.get("trace") is True)
