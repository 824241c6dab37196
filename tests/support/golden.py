"""Whole texts compared with files in `tests/golden`; `UPDATE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

_GOLDEN = Path(__file__).parents[1] / "golden"
_VARYING = (
    (re.compile(r"chatcmpl-[0-9a-f]{24}"), "chatcmpl-ID"),
    (re.compile(r'"(created|latency_ms|ttft_ms)": ?\d+'), r'"\1":0'),
)


def assert_golden(name: str, text: str) -> None:
    """Compares a text, ids and times levelled, with the file of this name."""
    for pattern, level in _VARYING:
        text = pattern.sub(level, text)
    path = _GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
