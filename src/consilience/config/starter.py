"""A first configuration, written from what was found: commented YAML, ready to be kept and edited.

Zero-config `serve` runs on the same text that `init` writes, so nothing works only without a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, zip_longest

from ..upstream.discovery import Found, FoundModel

PANEL_SIZE = 3
LOCAL_ANSWER_TOKENS = 160
LOCAL_JUDGE_TOKENS = 400
PERSONAS = (
    "Answer directly: the main point first, then the reason for it.",
    "Be sceptical: say what is uncertain or often misunderstood before you answer.",
    "Explain it to a newcomer, with one concrete example.",
)
_TEMPERATURES = (0.3, 0.7, 1.0)

_HEAD = """\
# Consilience: ask several models, have a judge compare them, answer once.
# Written from what was found on this machine; edit it freely, then: consilience check FILE
version: v0.3

listeners:
  - name: http
    address: 127.0.0.1
    port: 8899
    timeout: 300s
"""

_SIGNALS = """\
  # Signals look at the request. This one matches when the last message has one of these words.
  signals:
    keywords:
      - name: wants_deliberation
        operator: OR
        keywords:
          - "compare"
          - "pros and cons"
          - "trade-offs"
          - "should I"
          - "what are the risks"
          - "second opinion"
"""

_DECISIONS = """\
  # Decisions choose what happens. The highest priority that matches wins.
  #   model "auto":          both decisions compete, so everyday questions go to one model
  #   model "vllm-sr/fusion": only Fusion decisions count, so the panel is always asked
  #   model "<a name above>": that model alone, without any decision
  decisions:
    - name: everyday
      description: One model answers unless the request asks for deliberation.
      priority: 100
      rules:
        operator: NOT
        conditions:
          - type: keyword
            name: wants_deliberation
      modelRefs:
        - model: {route}
    - name: fusion
      description: The panel answers, the judge compares, one answer comes back.
      priority: 10
      modelRefs:
{refs}
      algorithm:
        type: fusion
        fusion:
          # Reads all answers without knowing who wrote which, and writes the final one.
          model: {judge}
{fallbacks}          # The panel. A seat is a model name, or an object with its own temperature, seed,
          # system_prompt, max_completion_tokens or timeout_seconds.
          analysis_models:
{seats}
{limits}          # skip: go on without the seats that failed; fail: refuse the request.
          on_error: skip
"""


def starter_config(found: Found) -> str:
    """Writes a configuration for what was found; it loads without a problem.

    The panel has three seats: models of different makers as far as there are, else several of one,
    else one model three times with another temperature, seed and persona. The judge is the first
    of them, the default route the cheapest known. Keys stand there as names of environment
    variables.

    Raises:
        ValueError: nothing was found.
    """
    if not found.models:
        raise ValueError("a configuration needs at least one model")
    panel = panel_of(found)
    routing = (_cards(found), _SIGNALS, _decisions(found, panel))
    return "\n".join(
        (_HEAD, _providers(found), "routing:\n" + "\n".join(part for part in routing if part))
    )


def panel_of(found: Found) -> tuple[FoundModel, ...]:
    """Picks up to three different models: one of each maker first, strong ones before cheap ones.

    Sources take turns, so that no single vendor's outage empties the panel.
    """
    turns = zip_longest(*(source.models for source in found.sources))
    by_turn = [model for model in chain.from_iterable(turns) if model is not None]
    by_turn.sort(key=lambda model: model.light)  # stable: turns stay in order
    picked: list[FoundModel] = []
    for model in by_turn:
        if model.family not in {other.family for other in picked}:
            picked.append(model)
    picked += [model for model in by_turn if model not in picked]
    return tuple(picked[:PANEL_SIZE])


def route_of(found: Found) -> FoundModel:
    """Picks the model for requests that need no panel: a cheap one, else the last of the panel."""
    light = [model for model in found.models if model.light]
    return light[0] if light else panel_of(found)[-1]


def _providers(found: Found) -> str:
    lines = [
        "providers:",
        "  defaults:",
        "    # Answers requests to an auto alias that no decision matches.",
        f"    default_model: {_quoted(route_of(found).name)}",
        "  models:",
    ]
    for source in found.sources:
        for model in source.models:
            lines.append(f"    - name: {_quoted(model.name)}")
            if model.upstream_id != model.name:
                lines.append(f"      provider_model_id: {_quoted(model.upstream_id)}")
            lines.append("      backend_refs:")
            if source.kind == "local":
                lines.append("        # This process serves it itself, with llama.cpp.")
                lines.append("        - provider: local")
                continue
            lines.append(f"        - base_url: {_quoted(source.base_url)}")
            lines.append(f"          provider: {_quoted(source.name)}")
            if source.api_key_env:
                lines.append(f"          api_key_env: {_quoted(source.api_key_env)}")
    if any(source.kind == "vendor" for source in found.sources):
        lines += [
            "      # With prices, answers and traces say what they cost (US dollars):",
            "      # pricing: {prompt_per_1m: 1.25, completion_per_1m: 10}",
        ]
    return "\n".join(lines) + "\n"


def _cards(found: Found) -> str:
    known = [model for model in found.models if model.context_tokens]
    if not known:
        return ""
    lines = [
        "  # What is known about the models. The judge's window bounds how much it is given to read.",
        "  modelCards:",
    ]
    for model in known:
        lines.append(f"    - name: {_quoted(model.name)}")
        lines.append(f"      context_window_size: {model.context_tokens}")
    return "\n".join(lines) + "\n"


def _decisions(found: Found, panel: Sequence[FoundModel]) -> str:
    local = all(source.kind == "local" for source in found.sources)
    judge = panel[0]
    others = [model for model in panel if model is not judge]
    refs = "\n".join(f"        - model: {_quoted(model.name)}" for model in panel)
    fallbacks = ""
    if others:
        fallbacks = (
            "          # Asked in its place when it fails.\n"
            f"          fallback_models: [{', '.join(_quoted(model.name) for model in others)}]\n"
        )
    return _DECISIONS.format(
        route=_quoted(route_of(found).name),
        refs=refs,
        judge=_quoted(judge.name),
        fallbacks=fallbacks,
        seats=_seats(panel),
        limits=_limits(len(panel), local=local),
    )


def _seats(panel: Sequence[FoundModel]) -> str:
    if len(panel) > 1:
        return "\n".join(f"            - model: {_quoted(model.name)}" for model in panel)
    model = _quoted(panel[0].name)
    lines: list[str] = []
    for i, (temperature, persona) in enumerate(zip(_TEMPERATURES, PERSONAS, strict=True)):
        lines += [
            f"            - model: {model}",
            f"              temperature: {temperature}",
            f"              seed: {i + 1}",
            f"              system_prompt: {_quoted(persona)}",
        ]
    return "\n".join(lines)


def _limits(models: int, *, local: bool) -> str:
    lines: list[str] = []
    if local:
        lines += [
            "# A small model does not always come to an end by itself.",
            f"max_completion_tokens: {LOCAL_ANSWER_TOKENS}",
            f"judge_max_completion_tokens: {LOCAL_JUDGE_TOKENS}",
        ]
    elif models == PANEL_SIZE:
        lines += [
            "# Two good answers are enough; the third may be up to eight seconds later.",
            "min_successful_responses: 2",
            "quorum_grace_seconds: 8",
        ]
    return "".join(f"          {line}\n" for line in lines)


def _quoted(text: str) -> str:
    """A YAML string; `$` is doubled, since the loader expands variables."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
