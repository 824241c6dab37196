"""What tests of signals share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consilience.signals import learned
from consilience.signals.learning import Example

FEW: dict[str, Sequence[Example]] = {
    "complexity": (Example("prove", "hard"), Example("hi", "easy")),
}


@pytest.fixture
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has classifiers learn from two texts, whatever the model; what others learned is left alone."""
    monkeypatch.setattr(learned, "examples_of", FEW.__getitem__)
    monkeypatch.setattr(learned, "source_of", lambda _family: b"few")
    monkeypatch.setattr(learned, "_ready", {})
