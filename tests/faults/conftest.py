"""One stand for all cases: they follow each other, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .stand import Stand, fault_stand


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """The real gateway over a server that plays faults."""
    with fault_stand() as running:
        yield running
