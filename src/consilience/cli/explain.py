"""`consilience explain`: where a prompt would go, why, and about what it would cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio

from ..chat.codec import encode
from ..chat.request import ChatRequest, decode_body
from ..config.root import Config
from ..decisions.mappings import MappingTrace
from ..decisions.partitions import PartitionTrace
from ..decisions.scores import Contribution, name_of
from ..decisions.trace import RuleTrace
from ..errors import ConsilienceError, InvalidRequestError
from ..explain import ANSWER_TOKENS, Explanation
from ..explain import explain as explained
from ..router import Consideration, DecisionTrace
from ..signal_models import prepared_router
from ..signals.base import SignalKey, SignalResult
from .console import err, out, plain, report
from .exit_codes import OK, USAGE, exit_code
from .setup import find_config

_MOST_NAMES = 12
_LONGEST = 100
"""Characters of the prompt that are shown."""


def explain(
    *,
    prompt: str | None,
    messages: Path | None,
    config: Path | None,
    model: str | None,
    as_json: bool,
) -> int:
    """Explains and prints; gives 0, or the code that `ask` would end with if refused."""
    if (prompt is None) == (messages is None):
        err.print("error: give a prompt or --messages, one of them")
        return USAGE
    try:
        body = _body(prompt, messages)
        explanation = anyio.run(_explained, body, config, model)
    except ConsilienceError as exc:
        return report(exc)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text in UTF-8"
        err.print(plain(f"error: {messages or 'the prompt'}: {reason}"))
        return USAGE
    if as_json:
        out.print(encode(explanation.as_body(trace=True)).decode())
    else:
        out.print(plain(drawn(explanation)))
    return exit_code(explanation.refusal) if explanation.refusal else OK


def _body(prompt: str | None, messages: Path | None) -> dict[str, Any]:
    """The request to explain, perhaps without a model; raises OSError, UnicodeError."""
    if messages is not None:
        try:
            given = decode_body(messages.read_bytes())
        except InvalidRequestError as exc:
            raise InvalidRequestError(f"{messages}: {exc.message}") from exc
        if isinstance(given, list):
            return {"messages": given}
        if isinstance(given, dict):
            return given
        raise InvalidRequestError(f"{messages}: neither a list of messages nor a request body")
    text = sys.stdin.buffer.read().decode() if prompt == "-" else prompt or ""
    text.encode()  # bytes of the command line that are no text came in as lone surrogates
    return {"messages": [{"role": "user", "content": text}]}


async def _explained(body: dict[str, Any], path: Path | None, model: str | None) -> Explanation:
    config = (await find_config(path)).config
    named = model or body.get("model") or _first_alias(config)
    if named is None:
        raise InvalidRequestError(_unnamed(config))
    request = ChatRequest.from_body({**body, "model": named})
    async with prepared_router(config) as router:
        return await explained(router, config, request, {})


def _first_alias(config: Config) -> str | None:
    return next(iter(config.global_.router.auto_names), None)


def _unnamed(config: Config) -> str:
    names = [*sorted(config.slugs), *config.model_names, *config.lora_names]
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    return f"no auto alias is configured, so say which with --model: {shown}"


def drawn(explanation: Explanation) -> str:
    """Draws an explanation for a terminal; marks are `[x]` yes, `[ ]` no, `[?]` unknown."""
    lines = [*_head(explanation)]
    if explanation.considered is not None:
        lines += ["", *_signals(explanation.considered)]
        lines += _projections(explanation.considered)
        lines += ["", *_decisions(explanation.considered)]
    if explanation.effects:
        lines += ["", *_plugins(explanation)]
    if explanation.calls:
        lines += ["", *_calls(explanation)]
    lines += [
        f"warning: {text}" for text in (explanation.route.warnings if explanation.route else ())
    ]
    return "\n".join(lines)


def _head(explanation: Explanation) -> Iterator[str]:
    text = " ".join(explanation.request.user_text.split())
    yield f"prompt     {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"
    yield f"asked of   {explanation.request.model}"
    route = explanation.route
    if route is None:
        yield f"refused    {explanation.reason}"
        return
    decision = f"decision {route.decision}, " if route.decision else ""
    model = explanation.selected_model
    who = f"{route.algorithm}: {model} answers" if model else "answered without a model"
    yield f"route      {decision}{who}"
    yield f"why        {explanation.reason}"


def _signals(considered: Consideration) -> Iterator[str]:
    yield "signals"
    families: dict[str, list[tuple[SignalKey, SignalResult]]] = {}
    for key, result in sorted(considered.signals.items()):
        families.setdefault(key.kind, []).append((key, result))
    if not families:
        yield "  none is asked for"
    for kind, results in families.items():
        seconds = considered.seconds.get(kind)
        yield f"  {kind}" + ("" if seconds is None else f"  {seconds * 1000:.3f} ms")
        width = max(len(key.name) for key, _ in results)
        for key, result in results:
            mark = "?" if result.error else "x" if result.matched else " "
            yield f"    [{mark}] {key.name:{width}}{_figures(result)}".rstrip()


def _figures(result: SignalResult) -> str:
    if result.error is not None:
        return f"  {result.error}"
    confidence = f"  confidence {result.confidence:.2f}" if result.matched else ""
    value = f"  value {result.value:g}" if result.value is not None else ""
    return confidence + value


def _projections(considered: Consideration) -> Iterator[str]:
    """Partitions, scores with what each input added, mappings; nothing when there are none."""
    traces = considered.projections
    if traces:
        yield from ("", "projections")
    for trace in traces:
        if isinstance(trace, PartitionTrace):
            yield f"  partition {trace.name}, {trace.semantics}: {trace.winner or 'no member matches'}"
            yield from _rows(trace.members)
        elif isinstance(trace, MappingTrace):
            yield f"  mapping {trace.name} of {trace.source}"
            yield from _rows(trace.outputs)
        else:
            value = trace.result.value
            yield f"  score {trace.name}" + (
                f"  {trace.result.error}" if value is None else f" = {value:g}"
            )
            yield from map(_contribution, trace.inputs)


def _rows(results: Sequence[tuple[str, SignalResult]]) -> Iterator[str]:
    width = max(len(name) for name, _ in results)
    for name, result in results:
        mark = "?" if result.error else "x" if result.matched else " "
        yield f"    [{mark}] {name:{width}}{_figures(result._replace(value=None))}".rstrip()


def _contribution(each: Contribution) -> str:
    source = "" if each.input.source == "binary" else f" ({each.input.source})"
    error = f"  failed, so a miss: {each.error}" if each.error else ""
    label = f"{each.input.type} {name_of(each.input)}{source}"
    return f"    {each.weighted:+8.3f} = {each.input.weight:g} x {each.value:g}  {label}{error}"


def _decisions(considered: Consideration) -> Iterator[str]:
    yield f"decisions of {considered.recipe}, by {considered.strategy}"
    if not considered.decisions:
        yield "  there is none"
    for decision in considered.decisions:
        yield f"  {decision.name}  {_standing(considered, decision)}"
        yield from _tree(decision.trace, "    ")


def _standing(considered: Consideration, decision: DecisionTrace) -> str:
    tier = f", tier {decision.tier}" if decision.tier else ""
    rank = f"priority {decision.priority}{tier}"
    if considered.chosen is decision:
        return f"chosen: {rank}, confidence {decision.confidence:.2f}"
    verdict = "lost" if decision.matched else "did not match"
    return f"{verdict}: {considered.why_not(decision)}"


def _tree(node: RuleTrace, indent: str) -> Iterator[str]:
    mark = "?" if node.unknown else "x" if node.matched else " "
    if node.kind == "fallback":
        text = "no rules: always matches"
    elif node.kind == "condition":
        value = f" = {node.value:g}" if node.value is not None else ""
        text = f"{node.type} {node.name}{value}" + (f": {node.error}" if node.error else "")
    else:
        text = str(node.operator)
    yield f"{indent}[{mark}] {text}"
    for child in node.children:
        yield from _tree(child, indent + "  ")


def _plugins(explanation: Explanation) -> Iterator[str]:
    yield "plugins, in their order"
    width = max(len(kind) for kind, _ in explanation.effects)
    for kind, effect in explanation.effects:
        yield f"  {kind:{width}}  {effect}"


def _calls(explanation: Explanation) -> Iterator[str]:
    yield "calls that would be made"
    rows = [
        (
            estimated.call.stage,
            f"{estimated.call.model}{f' x{estimated.call.count}' if estimated.call.count > 1 else ''}",
            f"{estimated.usage.prompt_tokens:,} in, {estimated.usage.completion_tokens:,} out",
            _dollars(estimated.cost_usd),
        )
        for estimated in explanation.calls
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        yield f"  {'  '.join((*cells, row[3]))}"
    usage, count = explanation.usage, sum(e.call.count for e in explanation.calls)
    yield (
        f"estimate   {count} call{'s' if count != 1 else ''},"
        f" {usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out,"
        f" {_dollars(explanation.cost_usd)}"
        f" (answers taken as {ANSWER_TOKENS} tokens or their limit)"
    )
    if explanation.unpriced:
        yield f"           no price is known of {', '.join(explanation.unpriced)}"


def _dollars(amount: Decimal | None) -> str:
    return "price unknown" if amount is None else f"${amount:.6f}"
