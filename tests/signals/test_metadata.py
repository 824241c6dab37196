from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.chat.request import ChatRequest
from consilience.signals.base import RequestFacts
from consilience.signals.metadata import Metadata, MetadataRule


def matched(predicate: dict[str, Any], metadata: Any = None) -> bool:
    rule = MetadataRule.model_validate({"name": "r", "key": "tier", "predicate": predicate})
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": metadata}
    return Metadata([rule]).find(RequestFacts(ChatRequest(body)))["r"].matched


@pytest.mark.parametrize(
    ("predicate", "deep", "other", "absent"),
    [
        ({"equals": "deep"}, True, False, False),
        ({"in": ["deep", "deeper"]}, True, False, False),
        ({"exists": True}, True, True, False),
        ({"exists": False}, False, False, True),
    ],
)
def test_predicate_decides_when_the_key_is_there_or_not(
    predicate: dict[str, Any], deep: bool, other: bool, absent: bool
) -> None:
    values = ({"tier": "deep"}, {"tier": "Deep"}, {"other": "deep"})
    assert [matched(predicate, value) for value in values] == [deep, other, absent]


def test_key_is_absent_when_the_request_has_no_metadata() -> None:
    assert matched({"exists": False}, None)
    assert not matched({"equals": "deep"}, None)


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"equals": "a", "exists": True},
        {"equals": "a", "in": ["b"]},
        {"in": []},
        {"equals": 1},
        {"matches": "a"},
    ],
)
def test_predicate_is_refused_when_it_is_not_exactly_one(predicate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        matched(predicate)
