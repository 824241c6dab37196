"""What `serve` says before it begins: who will answer, where, and a request to try."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..chat.request import ChatRequest
from ..config.root import Config
from ..errors import ConsilienceError
from ..loopers.base import Binding
from ..loopers.fusion.looper import Fusion
from ..loopers.fusion.options import FusionOptions
from ..router import Router
from .console import err, plain, warn
from .setup import FoundConfig

QUESTION = "Why is the sky blue?"


class Sample(NamedTuple):
    """A request to try, and the panel that answers it."""

    body: Mapping[str, Any] | None
    """None when no request that could be suggested has a route."""
    fusion: Fusion | None
    """None when one model answers."""


async def introduce(found: FoundConfig, bound: tuple[str, int]) -> None:
    """Prints panel, judge, address and a curl line.

    Args:
        found: the configuration that is served.
        bound: address and port that are listened on.
    """
    config = found.config
    host = "127.0.0.1" if bound[0] in ("0.0.0.0", "::") else bound[0]  # noqa: S104  # shown only
    url = f"http://{f'[{host}]' if ':' in host else host}:{bound[1]}"
    sample = await sample_of(config)
    warn(config, found.text)
    lines = [f"config  {config.source}", *(f"        {note}" for note in found.notes)]
    if sample.fusion is not None:
        lines += [
            f"panel   {', '.join(seat.model for seat in sample.fusion.seats)}",
            f"judge   {sample.fusion.judge_model}",
            f"writer  {sample.fusion.synthesis_model}",
        ]
    else:
        lines.append(f"models  {', '.join(config.model_names)}")
    lines.append(f"url     {url}/v1\n")
    err.print(plain("\n".join(lines)))
    if sample.body is not None:
        keyed = any(listener.api_keys for listener in config.listeners)
        err.print(f"{curl(url, sample.body, keyed=keyed)}\n")


def curl(url: str, body: Mapping[str, Any], *, keyed: bool) -> str:
    """Writes the command that sends a request."""
    key = " \\\n  -H 'authorization: Bearer YOUR_KEY'" if keyed else ""
    return (
        f"curl {url}/v1/chat/completions -H 'content-type: application/json'{key} \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )


async def sample_of(config: Config) -> Sample:
    """Finds a request that this configuration answers, by Fusion if it can.

    A Fusion decision with rules that the sample question does not meet is asked for its panel by
    the request's own plugin.
    """
    router = Router(config)
    fusion = _first_fusion(config)
    for body in _bodies(config, router, fusion):
        try:
            route = await router.route(ChatRequest.from_body(body), {})
        except ConsilienceError:
            continue
        if fusion is None or "plugins" in body or not isinstance(route.looper, Fusion):
            return Sample(body, fusion)
        return Sample(body, route.looper)
    return Sample(None, fusion)


def _bodies(config: Config, router: Router, fusion: Fusion | None) -> Iterator[dict[str, Any]]:
    messages = [{"role": "user", "content": QUESTION}]
    slug = config.global_.integrations.looper.fusion.model_names[0]
    yield {"model": slug, "messages": messages}
    if fusion is not None:
        panel = [seat.model for seat in fusion.seats]
        plugin = {"id": "fusion", "model": fusion.judge_model, "analysis_models": panel}
        yield {"model": slug, "messages": messages, "plugins": [plugin]}
    for entry in router.models(everything=True):
        yield {"model": entry.id, "messages": messages}


def _first_fusion(config: Config) -> Fusion | None:
    """The Fusion decision of highest priority, bound."""
    decisions = [
        d for d in config.routing.decisions if d.algorithm and d.algorithm.type == "fusion"
    ]
    if not decisions:
        return None
    chosen = max(decisions, key=lambda d: d.priority)
    options = chosen.algorithm.options if chosen.algorithm else None
    models = [ref.target for ref in chosen.model_refs]
    if not isinstance(options, FusionOptions):
        options = FusionOptions()
    return Fusion(options, Binding(chosen.name, models))
