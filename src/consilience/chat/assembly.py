"""A whole answer out of the chunks that a client was sent, for who wants to keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .codec import Body
from .completion import Completion

MOST_CHARACTERS = 1 << 20
"""The longest answer that is put together."""

_OF_THE_ANSWER = frozenset(("id", "object", "created", "model", "choices", "usage", "fusion"))
_OF_THE_CHOICE = frozenset(("index", "delta", "logprobs", "finish_reason"))
_SAID_ONCE = frozenset(("role", "id", "type"))


class _Text(list[str]):
    """A text in pieces."""


class _Calls(dict[int, Any]):
    """Tool calls by their index."""


@dataclass(slots=True)
class Assembly:
    """Puts chunks together as they pass. Gives up on what cannot be, and on what is too long."""

    model: str = ""
    possible: bool = True
    """Whether it has not given up."""
    _extra: dict[str, Any] = field(default_factory=dict)
    _choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    _characters: int = 0

    def add(self, chunk: Body) -> None:
        """Takes the next chunk: strict, as `ChunkRelay` gives them."""
        if not self.possible:
            return
        self.model = chunk["model"]
        self._extra |= {k: v for k, v in chunk.items() if k not in _OF_THE_ANSWER}
        for piece in chunk["choices"]:
            choice = self._choices.setdefault(piece["index"], {"message": {}})
            choice |= {k: v for k, v in piece.items() if k not in _OF_THE_CHOICE}
            choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
            self._merge(choice["message"], piece["delta"])
            if isinstance(piece.get("logprobs"), Mapping):
                self._merge(choice.setdefault("logprobs", {}), piece["logprobs"])

    def completion(self) -> Completion | None:
        """Gives the answer; None when it could not be put together, or has not ended."""
        choices = [self._finished(index) for index in sorted(self._choices)]
        whole = choices and all(choice["finish_reason"] for choice in choices)
        if not (self.possible and whole):
            return None
        return Completion({**self._extra, "choices": choices}, self.model)

    def _finished(self, index: int) -> dict[str, Any]:
        choice = self._choices[index]
        written: dict[str, Any] = _written({**choice, "index": index})
        message = written["message"]
        if message.get("tool_calls") and not message.get("content"):
            message["content"] = None
        return written

    def _merge(self, whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
        for name, value in piece.items():
            if value is None:
                continue
            self._count(value)
            if name == "tool_calls":
                self._merge_calls(whole.setdefault(name, _Calls()), value)
            elif name == "function_call":
                self._merge(whole.setdefault(name, {}), value)
            elif isinstance(value, str) and name not in _SAID_ONCE:
                whole.setdefault(name, _Text()).append(value)
            elif isinstance(value, list):
                whole.setdefault(name, []).extend(value)
            elif isinstance(value, Mapping):  # pieces of audio and the like
                self.possible = False
            else:
                whole[name] = value

    def _merge_calls(self, calls: dict[int, Any], pieces: Any) -> None:
        for piece in pieces:
            call = calls.setdefault(piece["index"], {})
            own = {k: v for k, v in piece.items() if k not in ("index", "function")}
            self._merge(call, own)
            if isinstance(piece.get("function"), Mapping):
                self._merge(call.setdefault("function", {}), piece["function"])

    def _count(self, value: Any) -> None:
        self._characters += len(value) if isinstance(value, str) else 1
        if self._characters > MOST_CHARACTERS:
            self.possible = False
            self._choices.clear()


def _written(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Calls):
        return [_written(value[index]) for index in sorted(value)]
    if isinstance(value, dict):
        return {name: _written(inner) for name, inner in value.items()}
    return value
