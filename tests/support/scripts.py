"""What scripted models say in a Fusion with panel `a`, `b` and judge and writer `j`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from consilience.chat.request import ChatRequest

ANALYSIS = {
    "consensus": ["Both greet."],
    "contradictions": [],
    "partial_coverage": [],
    "unique_insights": [{"model": "A", "insight": "B is polite."}],
    "blind_spots": [],
}
REPLY = json.dumps(ANALYSIS)


def is_judge_call(request: ChatRequest) -> bool:
    """Whether this is the call that compares, not the one that writes."""
    return "response_format" in request.body


def fusion_script(
    *, a: Any = "one", b: Any = "two", judge: Any = REPLY, final: Any = "The answer."
) -> Mapping[str, Any]:
    """A script for `ScriptedUpstream`. An exception is raised, a function is called."""

    def j(request: ChatRequest) -> Any:
        said = judge if is_judge_call(request) else final
        return said(request) if callable(said) else said

    return {"a": a, "b": b, "j": j}
