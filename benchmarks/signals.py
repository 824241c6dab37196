"""What routing costs: facts, signals, rule trees and the choice, without any model.

`python -m benchmarks.signals [--rounds 2000]`

20 rules of every kind that needs no model, 10 decisions that use them all, one request at a time on
one core. The ideal is issue 3's: 0.2 ms at the median for a prompt of 200 characters. The other two
have no ideal of their own; what bounds them is the excerpt that each kind reads (`docs/signals.md`),
except for literal keywords and the token estimate, which pass once over everything.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

import anyio

from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.router import Router

_IDEAL_MS = 0.2
_HEADERS = {"x-authz-user-id": "ann", "x-authz-user-groups": "staff,premium"}
_PROMPT = (
    "Compare PostgreSQL and MySQL for an analytics workload of about two terabytes: first list the"
    " trade-offs, then recommend one, and say at least three reasons. Which would you choose, and"
    " why so?"
)

CONFIG = """\
version: v0.3
providers:
  models: [{name: m, backend_refs: [{endpoint: "127.0.0.1:1"}]}]
routing:
  signals:
    keywords:
      - {name: weighs, keywords: [compare, trade-offs, pros and cons, versus]}
      - {name: code, keywords: [function, class, stack trace, sql, api, refactor]}
      - {name: ticket, method: regex, keywords: ["[A-Z]{2,5}-[0-9]+", "bug #[0-9]+"]}
      - name: sensitive
        method: fuzzy
        fuzzy_threshold: 82
        keywords: [password, social security, credit card]
      - {name: learning, method: bm25, keywords: [machine learning, neural network, gradient]}
      - {name: urgent, method: ngram, keywords: [urgent, immediate, emergency]}
    context:
      - {name: short, max_tokens: 1K}
      - {name: long, min_tokens: 8K}
    structure:
      - name: questions
        feature: {type: count, source: {type: regex, pattern: "[?？]"}}
        predicate: {gte: 3}
      - {name: list, feature: {type: exists, source: {type: regex, pattern: '(?m)^\\s*\\d+\\.\\s+'}}}
      - name: limits
        feature:
          type: density
          source: {type: keyword_set, keywords: [at most, at least, within, under]}
        predicate: {gt: 0.05}
      - name: phases
        feature: {type: sequence, source: {type: sequence, sequences: [[first, then], [先, 再]]}}
    conversation:
      - {name: turns, feature: {type: count, source: {type: message, role: user}}, predicate: {gte: 3}}
      - {name: tools, feature: {type: exists, source: {type: tool_definition}}}
    events:
      - {name: incident, event_types: [payment_failed], severities: [critical, high], temporal: true}
    metadata:
      - {name: deep, key: tier, predicate: {equals: deep}}
    role_bindings:
      - {name: paying, role: premium, subjects: [{kind: Group, name: premium}]}
    language:
      - {name: en}
    modality:
      - {name: DIFFUSION}
    auxiliary:
      - {name: chores}
  decisions:
"""

_CONDITIONS = (
    ("auxiliary chores",),
    ("modality DIFFUSION", "language en"),
    ("event incident", "keyword urgent"),
    ("authz premium", "keyword weighs"),
    ("keyword sensitive", "metadata deep"),
    ("keyword code", "keyword ticket"),
    ("structure questions", "structure list", "structure phases"),
    ("structure limits", "keyword learning"),
    ("conversation turns", "conversation tools"),
    ("context short", "context long"),
)


def config_text() -> str:
    """The configuration: 20 rules, 10 decisions."""
    lines = []
    for priority, leaves in enumerate(_CONDITIONS, start=1):
        each = ", ".join("{{type: {}, name: {}}}".format(*leaf.split()) for leaf in leaves)
        lines.append(
            f"    - {{name: d{priority}, priority: {priority}, modelRefs: [{{model: m}}],"
            f" rules: {{operator: OR, conditions: [{each}]}}}}"
        )
    return CONFIG + "\n".join(lines) + "\n"


def requests() -> Mapping[str, ChatRequest]:
    """The requests that are routed."""
    turns = [
        {"role": "assistant" if i % 2 else "user", "content": f"{_PROMPT} ({i})"}
        for i in range(199)
    ]
    return {
        "200-character prompt": _request([{"role": "user", "content": _PROMPT[:200]}]),
        "32 KB prompt": _request([{"role": "user", "content": (_PROMPT + " ") * 170}]),
        "200-turn conversation": _request([*turns, {"role": "user", "content": _PROMPT}]),
    }


def _request(messages: list[dict[str, Any]]) -> ChatRequest:
    return ChatRequest.from_body({"model": "auto", "messages": messages})


async def measure(rounds: int) -> None:
    """Runs and prints."""
    config = parse_config(config_text())
    router = Router(config)
    rules = sum(len(config.routing.signals.rules_of(kind)) for kind in config.routing.signals.names)
    print(
        f"{rules} rules, {len(config.routing.decisions)} decisions, {rounds} rounds; milliseconds"
    )
    print(f"{'':24}{'ideal p50':>12}{'p50':>10}{'p99':>10}")
    for name, request in requests().items():
        times = []
        for _ in range(rounds):
            begun = time.perf_counter_ns()
            await router.route(request, _HEADERS)
            times.append((time.perf_counter_ns() - begun) / 1e6)
        times.sort()
        ideal = f"{_IDEAL_MS:.2f}" if name.startswith("200-character") else "-"
        p99 = times[min(len(times) - 1, round(len(times) * 0.99))]
        print(f"{name:24}{ideal:>12}{statistics.median(times):>10.3f}{p99:>10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    anyio.run(measure, parser.parse_args().rounds)
