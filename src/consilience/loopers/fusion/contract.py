"""Typed output contracts: the last edit of the final answer (`output_contract_spec`). Pure.

What does not meet its contract is left as it is: a contract never makes an answer worse.
Source: the reference, sections 1.3 and 5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...chat.codec import JsonValue, decode, encode
from ...chat.completion import Completion
from .analysis import json_candidates
from .panel import PanelResponse

TERMINAL_ACTION = "terminal_action_v1"
MOST_CHARS = 1 << 18
"""A longer text is not searched for JSON."""
_STOCK = {
    "analysis": "The next action follows from the state of the task.",
    "plan": "Run the commands, then look at what they print.",
}


def finisher(
    spec: Mapping[str, Any] | None, responses: Sequence[PanelResponse]
) -> Callable[[Completion], Completion] | None:
    """Gives the edit that a spec asks for; None when it asks for none."""
    kind = (spec or {}).get("type")
    if spec is None or kind not in ("choice", "structured_json"):
        return None
    edit = _choose if kind == "choice" else _structure

    def finish(completion: Completion) -> Completion:
        return edit(completion, spec, responses)

    return finish


def _choose(
    completion: Completion, spec: Mapping[str, Any], responses: Sequence[PanelResponse]
) -> Completion:
    if completion.tool_calls:
        return completion
    choices = {str(v).strip() for v in (spec.get("choice_set") or {}).get("values") or ()}
    for text in _sources(completion, spec, ()):
        if text.strip() in choices:
            return completion.with_text(_rendered(text.strip(), spec.get("render") or {}))
    return completion


def _rendered(choice: str, render: Mapping[str, Any]) -> str:
    if render.get("mode") != "template":
        return choice
    template = str(render.get("template", "{{choice}}"))
    return template.replace("{{choice}}", "{choice}").replace("{choice}", choice).strip()


def _structure(
    completion: Completion, spec: Mapping[str, Any], responses: Sequence[PanelResponse]
) -> Completion:
    loose = (spec.get("extract") or {}).get("mode") == "json_object"
    for text in _sources(completion, spec, responses):
        for value in _values(text, loose=loose):
            action = _terminal_action(value)
            if action is None:
                continue
            try:
                return completion.with_text(encode(action).decode())
            except ValueError:  # nested deeper than what we can write
                continue
    return completion


def _sources(
    completion: Completion, spec: Mapping[str, Any], responses: Sequence[PanelResponse]
) -> Iterator[str]:
    for source in (spec.get("extract") or {}).get("sources") or ("content",):
        if source == "content":
            yield completion.text
        elif source == "reasoning_content":
            yield completion.reasoning
        else:
            for response in responses:
                yield from (response.text, response.reasoning)


def _values(text: str, *, loose: bool) -> Iterator[JsonValue]:
    if loose:
        if len(text) <= MOST_CHARS:
            yield from json_candidates(text, close=False)
        return
    try:
        yield decode(text.strip().encode())
    except (ValueError, RecursionError):
        return


def _terminal_action(value: JsonValue) -> dict[str, Any] | None:
    """Normalises a `terminal_action_v1` object; None when the value is not one."""
    if not isinstance(value, dict) or not ("commands" in value or "task_complete" in value):
        return None
    commands = value.get("commands", [])
    if not isinstance(commands, list) or not all(
        isinstance(c, dict) and isinstance(c.get("keystrokes"), str) for c in commands
    ):
        return None
    action: dict[str, Any] = {
        key: value[key] if isinstance(value.get(key), str) else stock
        for key, stock in _STOCK.items()
    }
    action["commands"] = [{**c, "duration": _duration(c.get("duration"))} for c in commands]
    action["task_complete"] = value.get("task_complete", False)
    known = set(action)
    return action | {k: value[k] for k in sorted(value) if k not in known}


def _duration(value: object) -> int | float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and value >= 1 else 1  # type: ignore[operator,return-value]  # checked
