"""What is asked and answered in every client's tests, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .model_server import Answer, Body, Script

FUSION = "vllm-sr/fusion"
PLAIN = "writer"
MODELS = (FUSION, PLAIN)
"""The two ways to get an answer: deliberated, and straight from a model."""

QUESTION = "Which city is the capital of France?"

PIECES = (
    "Paris ",
    "is the ",
    "capital ",
    "of France",
    " \u2014 f\u00fcr ",
    "\u65e5\u672c\u2028too.",
)
"""The writer's answer. U+2028 ends a line for careless readers of event streams."""
ANSWER = "".join(PIECES)

TOOL_NAME = "get_weather"
TOOL_ARGUMENTS = {"city": "Paris", "unit": "celsius"}
TOOL_RESULT = "18 degrees"
TOOL_ID = "call_weather_1"
TOOL_ANSWER = "It is 18 degrees in Paris."

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "Tells the weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}

STRUCTURED = {"city": "Paris", "country": "France"}
"""The writer's answer when it is asked for JSON."""

ANALYSIS = {
    "consensus": ["The capital is Paris."],
    "contradictions": [],
    "partial_coverage": [],
    "unique_insights": [{"model": "A", "insight": "It lies on the Seine."}],
    "blind_spots": ["No source is given."],
}

PANEL = {"alpha": "Paris.", "beta": "Paris, on the Seine."}

LOGS_NOTHING_OF = "internal detail"
"""Words of an upstream's error body: no client may read them."""


def usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """Usage as OpenAI writes it."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


USAGE = {
    "alpha": usage(11, 3, reasoning=2),
    "beta": usage(13, 5),
    "judge": usage(101, 17),
    "writer": usage(211, 23, cached=64, reasoning=4),
}

TOKENS = {FUSION: (336, 48, 384), PLAIN: (211, 23, 234)}
"""Prompt, completion and total tokens of one request: for Fusion, of its four calls."""
DETAILS = {FUSION: (64, 6), PLAIN: (64, 4)}
"""Cached prompt tokens and reasoning tokens of one request."""
CALLS = {FUSION: ["alpha", "beta", "judge", "writer"], PLAIN: ["writer"]}
"""Who is asked for one answer."""
ATTEMPTS = 3
"""Upstream calls that one call becomes which fails every time."""
FAILED_PANEL = ["alpha"] * ATTEMPTS + ["beta"] * ATTEMPTS
"""Who is asked when both seats fail."""

CONFIG = """
version: v0.3
providers:
  defaults: {{default_model: writer}}
  models:
    - name: alpha
      reliability: {{consecutive_5xx: 0}}
      backend_refs: [{{endpoint: "127.0.0.1:{port}"}}]
    - name: beta
      reliability: {{consecutive_5xx: 0}}
      backend_refs: [{{endpoint: "127.0.0.1:{port}"}}]
    - name: judge
      reliability: {{consecutive_5xx: 0}}
      backend_refs: [{{endpoint: "127.0.0.1:{port}"}}]
    - name: writer
      reliability: {{consecutive_5xx: 0}}
      backend_refs: [{{endpoint: "127.0.0.1:{port}"}}]
routing:
  decisions:
    - name: deliberate
      modelRefs: [{{model: alpha}}, {{model: beta}}]
      algorithm:
        type: fusion
        fusion: {{model: judge, synthesis_model: writer}}
global:
  gateway:
    stream_start_seconds: {stream_start_seconds}
    keepalive_seconds: 0.2
    retry_base_seconds: 0.001
"""


def write(body: Body) -> Answer:
    """The writer: calls the tool it is given, then answers with what the tool said."""
    if any(message["role"] == "tool" for message in body["messages"]):
        return Answer((TOOL_ANSWER[:6], TOOL_ANSWER[6:]), usage=USAGE["writer"])
    if body.get("tools"):
        call = {"id": TOOL_ID, "name": TOOL_NAME, "arguments": json.dumps(TOOL_ARGUMENTS)}
        return Answer(tool_calls=(call,), usage=USAGE["writer"])
    if body.get("response_format"):
        text = json.dumps(STRUCTURED)
        return Answer((text[:9], text[9:]), usage=USAGE["writer"])
    return Answer(PIECES, usage=USAGE["writer"])


def _says(model: str, text: str) -> Callable[[Body], Answer]:
    return lambda _body: Answer((text,), usage=USAGE[model])


SCRIPT: Script = {
    **{model: _says(model, text) for model, text in PANEL.items()},
    "judge": _says("judge", json.dumps(ANALYSIS)),
    "writer": write,
}

HELD = Answer(PIECES, usage=USAGE["writer"], held_after=2)
"""The writer waits for its reader: a client that reads only whole answers never gets this one."""
BROKEN = Answer(PIECES, usage=USAGE["writer"], breaks_after=2)
"""The writer's connection breaks in mid-answer."""
DOWN = Answer(status=500)
"""The provider has a bad day."""


def check_trace(trace: Mapping[str, Any]) -> None:
    """Checks that the whole Fusion trace came through to the client."""
    assert trace["analysis"]["consensus"] == ANALYSIS["consensus"]
    assert {r["model"]: r["content"] for r in trace["responses"]} == PANEL
    assert trace["decision"] == "deliberate"
    assert (trace["judge_model"], trace["synthesis_model"]) == ("judge", "writer")
    assert "degraded" not in trace


def check_final_trace(trace: Mapping[str, Any]) -> None:
    """Checks a trace that was drawn after the answer: every call stands in it with its usage."""
    check_trace(trace)
    asked = sorted(stage["model"] for stage in trace["stages"])
    assert asked == CALLS[FUSION]
    assert sum(stage["usage"]["total_tokens"] for stage in trace["stages"]) == TOKENS[FUSION][2]
