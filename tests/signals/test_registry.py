from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from consilience.config import parse_config
from consilience.signals import SIGNALS
from consilience.signals.base import Signal

PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def test_kinds_and_keys_are_distinct_when_everything_is_counted() -> None:
    kinds = [signal.kind for signal in SIGNALS]
    keys = [signal.config_key for signal in SIGNALS]
    assert len(set(kinds)) == len(kinds)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.kind)
def test_kind_and_its_section_are_in_the_pages(signal: type[Signal[Any]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"| [`{signal.kind}`](#{signal.kind}), `{signal.config_key}` |" in text
    assert f"\n## {signal.kind}\n" in text


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.kind)
def test_example_declares_rules_of_the_kind(signal: type[Signal[Any]]) -> None:
    (example,) = re.findall(
        r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    config = parse_config(example, environ={"KEY": "a-key"})
    assert config.routing.signals.rules_of(signal.kind)
