"""Labelled texts that classifiers learn from, written for this project: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ...chat.codec import decode
from ..learning import Example

FAMILIES = ("domain", "task", "fact_check", "user_feedback", "jailbreak", "complexity")
"""What there are examples of: `<family>.jsonl`."""
_FRAMED = frozenset({"domain"})
"""Families for which it must not matter how an answer is asked for."""


class _Borrowed(NamedTuple):
    """Examples of another family that say something in this one, too."""

    family: str
    labels: frozenset[str] | None
    """Which; None: all."""
    every: int
    """Takes each so-and-so-manieth."""
    label: str
    """What they are here."""
    counted: bool = True
    """Whether they show how sure to be. Not where there are more of them than life would have beside
    what is rare."""


_WORK = frozenset(
    {
        *("write_code", "fix_code", "design", "plan", "create", "message", "rework", "chat"),
        *("feedback", "advise"),
    }
)
"""Kinds of work for which no facts are looked up."""
_FEEDBACK = frozenset({"satisfied", "need_clarification", "wrong_answer", "want_different"})
_TURNS = frozenset({"none", "satisfied", "need_clarification", "want_different"})
"""Of `turns`, which has what people say between two requests, by what it says of an answer; that is
none of what other families look for."""
_BORROWED: Mapping[str, Sequence[_Borrowed]] = {
    "domain": (
        _Borrowed("user_feedback", _FEEDBACK, 4, "other"),
        _Borrowed("turns", _TURNS, 6, "other"),
    ),
    "user_feedback": (
        _Borrowed("turns", frozenset({"none", "topic"}), 1, "none"),
        *(
            _Borrowed("turns", frozenset({label}), 1, label)
            for label in ("satisfied", "need_clarification", "want_different")
        ),
    ),
    "complexity": (_Borrowed("turns", None, 4, "easy"),),
    "jailbreak": (
        _Borrowed("task", None, 3, "benign"),
        _Borrowed("turns", None, 1, "benign", counted=False),
    ),
    "fact_check": (
        _Borrowed("turns", _TURNS, 3, "no_fact_check_needed"),
        _Borrowed("user_feedback", _FEEDBACK - {"wrong_answer"}, 4, "no_fact_check_needed"),
        _Borrowed("task", _WORK, 3, "no_fact_check_needed"),
        _Borrowed("task", frozenset({"solve"}), 1, "no_fact_check_needed"),
    ),
}
_RARE = frozenset({"jailbreak"})
"""Families in which what is rare among the examples is taken to be rare."""


@cache
def examples_of(family: str) -> Sequence[Example]:
    """Gives a family's examples in file order.

    Those of subjects come a second time with phrases around them that say how to answer
    (`phrases.jsonl`), each phrase once under every label: what is under all labels says nothing, so
    that "with sources" is no sign of law. Some families borrow examples of others: attacks, and wishes
    for facts, stand among ordinary prompts, as they do in life.
    """
    own = [Example(entry["text"], entry["label"]) for entry in _entries(family)]
    borrowed = [example for each in _BORROWED.get(family, ()) for example in _taken(each)]
    own = list({example.text: example for example in (*borrowed, *own)}.values())
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
    others = {each.family: None for each in _BORROWED.get(family, ())}
    names = (family, *others, *(("phrases",) if family in _FRAMED else ()))
    return b"".join(map(_read, names))


def _taken(borrowed: _Borrowed) -> Sequence[Example]:
    labels = borrowed.labels
    fitting = [e for e in _entries(borrowed.family) if labels is None or e["label"] in labels]
    taken = fitting[:: borrowed.every]
    return [Example(e["text"], borrowed.label, alone=borrowed.counted) for e in taken]


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
