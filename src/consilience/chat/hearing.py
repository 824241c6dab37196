"""Telling, while an answer streams, when it begins to say something: by the rule of `says`.

Until then it may still turn out to be empty. Whatever comes is passed on all the same, so that
nobody waits; only the end is kept back, because after it nothing more may follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .completion import BESIDE_TEXT, THINKING_TAGS, WITHHELD
from .request import text_of

_OPENINGS = tuple(f"<{tag}>" for tag in THINKING_TAGS)


@dataclass(slots=True)
class Hearing:
    """What a reader has of one streamed answer."""

    says: bool = False
    """Whether any choice says something, or was withheld by the provider."""
    _texts: dict[int, _Text] = field(default_factory=dict)
    _ends: list[Mapping[str, Any]] = field(default_factory=list)

    def hear(self, chunk: Mapping[str, Any]) -> dict[str, Any] | None:
        """Takes the next strict chunk and gives what may be passed on; None: nothing yet.

        With the first chunk that says something come the ends that were kept back.
        """
        choices: list[Mapping[str, Any]] = chunk["choices"]
        for choice in choices:
            self._listen(choice)
        if self.says:
            passed, self._ends = [*choices, *self._ends], []
        else:
            passed = [c for c in map(self._without_end, choices) if c is not None]
        return {**chunk, "choices": passed} if passed else None

    @property
    def may_say(self) -> bool:
        """Whether something was passed on that is no reasoning unless it goes on as a tag."""
        return self.says or any(text.undecided for text in self._texts.values())

    @property
    def open_tags(self) -> Mapping[int, str]:
        """The tags in which the choices that still reason in their text do so."""
        return {index: text.tag for index, text in self._texts.items() if text.tag}

    def _listen(self, choice: Mapping[str, Any]) -> None:
        delta = choice["delta"]
        text = self._texts.setdefault(choice["index"], _Text())
        text.add(text_of(delta))
        self.says = (
            self.says
            or text.says
            or any(delta.get(name) for name in BESIDE_TEXT)
            or choice["finish_reason"] == WITHHELD
            or bool(choice["finish_reason"] and text.undecided)
        )

    def _without_end(self, choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Gives a choice without its end, which is kept; None when it is nothing else."""
        if not choice["finish_reason"]:
            return choice
        if not any(value for name, value in choice["delta"].items() if name != "role"):
            self._ends.append(choice)
            return None
        end = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        self._ends.append(end)
        return {**choice, "finish_reason": None}


@dataclass(slots=True)
class _Text:
    """One choice's text, of which only as much is kept as may be a tag."""

    says: bool = False
    tag: str = ""
    """The tag in which it reasons now."""
    _reasoned: bool = False
    _kept: str = ""

    @property
    def undecided(self) -> bool:
        """Whether it has begun with what may become a tag, and is a text if it ends here."""
        return bool(self._kept) and not self.tag

    def add(self, piece: str) -> None:
        if self.says or not piece:
            return
        text = self._kept + piece
        self._kept = ""
        if not (self.tag or self._reasoned):
            text = self._opened(text.lstrip())
        if self.tag:
            text = self._closed(text)
        self.says = bool(text.strip())

    def _opened(self, text: str) -> str:
        opening = next((o for o in _OPENINGS if text.startswith(o)), "")
        if opening:
            self.tag = opening[1:-1]
        elif any(o.startswith(text) for o in _OPENINGS):
            self._kept = text
            return ""
        return text[len(opening) :]

    def _closed(self, text: str) -> str:
        closing = f"</{self.tag}>"
        _, closed, after = text.partition(closing)
        if not closed:
            self._kept = text[1 - len(closing) :]
            return ""
        self.tag, self._reasoned = "", True
        return after
