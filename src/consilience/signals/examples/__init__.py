"""Labelled texts that classifiers learn from, written for this project: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from ...chat.codec import decode
from ..learning import Example

FAMILIES = ("domain", "task", "fact_check", "user_feedback", "jailbreak", "complexity")
"""What there are examples of: `<family>.jsonl`."""
_FRAMED = frozenset({"domain"})
"""Families for which it must not matter how an answer is asked for."""
_WORK = frozenset(
    {
        *("solve", "write_code", "fix_code", "design", "plan", "create", "message", "rework"),
        *("chat", "feedback", "advise"),
    }
)
"""Kinds of work for which no facts are looked up."""
_ORDINARY: Mapping[str, tuple[str, int, frozenset[str] | None]] = {
    "jailbreak": ("benign", 3, None),
    "fact_check": ("no_fact_check_needed", 3, _WORK),
}
"""Families to which ordinary prompts (`task`) are added: the label that they have there, every
which one is added, of which labels of their own (None: of all)."""
_RARE = frozenset({"jailbreak"})
"""Families in which what is rare among the examples is taken to be rare."""


@cache
def examples_of(family: str) -> Sequence[Example]:
    """Gives a family's examples in file order.

    Those of subjects come a second time with phrases around them that say how to answer
    (`phrases.jsonl`), each phrase once under every label: what is under all labels says nothing, so
    that "with sources" is no sign of law. Attacks, and wishes for facts, stand among more ordinary
    prompts than their files have, as they do in life.
    """
    own = [Example(entry["text"], entry["label"]) for entry in _entries(family)]
    if family in _ORDINARY:
        label, every, labels = _ORDINARY[family]
        fitting = [e for e in _entries("task") if labels is None or e["label"] in labels]
        ordinary = (Example(e["text"], label) for e in fitting[::every])
        own = list({example.text: example for example in (*ordinary, *own)}.values())
    if family not in _FRAMED:
        return tuple(own)
    framed = dict(_framed(own))
    plain = (replace(example, alone=i not in framed) for i, example in enumerate(own))
    return (*plain, *framed.values())


def counts_share(family: str) -> bool:
    """Whether a label is likelier that more of the family's examples have."""
    return family in _RARE


@cache
def source_of(family: str) -> bytes:
    """Gives the bytes that `examples_of` is made from."""
    beside = _read("phrases") if family in _FRAMED else b""
    return _read(family) + beside + (_read("task") if family in _ORDINARY else b"")


def _framed(examples: Sequence[Example]) -> Iterator[tuple[int, Example]]:
    """Gives phrases around some of the examples, each with the place of the example it is made of."""
    by_label: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        by_label.setdefault(example.label, []).append(i)
    phrases = _entries("phrases")
    for label, places in by_label.items():
        for i, phrase in enumerate(phrases):
            # a fixed stride through the texts, so that every language meets every phrase
            place = places[i * len(places) // len(phrases)]
            text, before = examples[place].text, phrase["place"] == "before"
            parts = (phrase["text"], text) if before else (text, phrase["text"])
            yield place, Example(" ".join(parts), label, alone=False)


def _entries(family: str) -> Sequence[dict[str, Any]]:
    return [decode(line) for line in _read(family).split(b"\n") if line.strip()]


def _read(family: str) -> bytes:
    return files(__name__).joinpath(f"{family}.jsonl").read_bytes()
