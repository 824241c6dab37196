from __future__ import annotations

import pytest
from pydantic import ValidationError

from consilience.signals.fact_check import (
    NEEDED,
    NOT_NEEDED,
    FactCheck,
    FactCheckRule,
    FactCheckSettings,
)
from support.conversation import facts
from support.meanings import found, matched, static_embedding

pytestmark = pytest.mark.anyio

RULES = [FactCheckRule(name=NEEDED), FactCheckRule(name=NOT_NEEDED)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("In which year did the Berlin Wall fall, and how many people lived there?", NEEDED),
        ("Is it true that the Great Wall can be seen from space? Give sources.", NEEDED),
        ("Write a poem about rain", NOT_NEEDED),
        ("", NOT_NEEDED),
    ],
)
async def test_request_is_one_of_the_two(text: str, name: str) -> None:
    results = await found(FactCheck, RULES, facts(text), embedding=static_embedding())
    assert matched(results) == [name]
    assert sum(result.value or 0 for result in results.values()) == pytest.approx(1)


@pytest.mark.parametrize(("threshold", "name"), [(0.0, NEEDED), (1.0, NOT_NEEDED)])
async def test_threshold_is_that_of_the_settings(threshold: float, name: str) -> None:
    settings = FactCheckSettings(threshold=threshold)
    results = await found(
        FactCheck, RULES, facts("How tall is it?"), settings=settings, embedding=static_embedding()
    )
    assert matched(results) == [name]


def test_rule_is_refused_when_its_name_is_no_answer() -> None:
    with pytest.raises(ValidationError, match="is not one of needs_fact_check"):
        FactCheckRule(name="facts")
