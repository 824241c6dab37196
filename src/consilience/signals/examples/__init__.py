"""Labelled texts that classifiers learn from, written for this project: one JSON object a line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from ...chat.codec import decode
from ..learning import Example


@cache
def examples_of(family: str) -> Sequence[Example]:
    """Gives a family's examples in file order.

    Args:
        family: `domain`, `fact_check`, `user_feedback`, `jailbreak` or `complexity`.
    """
    raw = files(__name__).joinpath(f"{family}.jsonl").read_bytes()
    entries = [decode(line) for line in raw.split(b"\n") if line.strip()]
    return tuple(Example(entry["text"], entry["label"]) for entry in entries)
