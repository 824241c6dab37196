from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from consilience.signals.base import SignalResult
from consilience.signals.event import Event, EventRule
from support.conversation import facts

PAYMENT = {
    "event_types": ["payment_failed", "transaction_declined"],
    "severities": ["critical", "high"],
    "action_codes": ["TXN_DECLINE"],
    "temporal": True,
}


def result(text: str, **fields: Any) -> SignalResult:
    return Event([EventRule.model_validate({"name": "r", **fields})]).find(facts(text))["r"]


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("payment_failed for order 7", 0.625),
        ("CRITICAL: Payment_Failed", 0.75),
        ("critical payment_failed, code txn_decline", 0.875),
        ("urgent, critical payment_failed, code TXN_DECLINE", 1.0),
    ],
)
def test_confidence_grows_when_more_criteria_are_met(text: str, confidence: float) -> None:
    found = result(text, **PAYMENT)
    assert (found.matched, found.confidence) == (True, confidence)


@pytest.mark.parametrize("text", ["payment_failed_twice", "highly critically", "", "know"])
def test_rule_does_not_match_when_no_word_stands_alone(text: str) -> None:
    assert not result(text, **PAYMENT).matched


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("I need it ASAP!", True),
        ("do it now", True),
        ("a time-sensitive matter", True),
        ("time sensitive", True),
        ("in a critical window", True),
        ("immediately", False),
        ("nowhere", False),
        ("timesensitive", False),
        ("time  sensitive", False),
    ],
)
def test_urgency_is_found_when_its_words_stand_alone(text: str, matched: bool) -> None:
    assert result(text, temporal=True).matched is matched


def test_detail_names_the_criteria_when_they_are_met() -> None:
    assert result("high, now", **PAYMENT).detail == {"criteria": ["severities", "temporal"]}


def test_rule_warns_and_never_matches_when_it_has_no_criterion() -> None:
    (warning,) = EventRule(name="r").warnings()
    assert "never matches" in warning
    assert not result("urgent").matched
    assert EventRule(name="r", temporal=True).warnings() == ()


@pytest.mark.parametrize(
    "fields", [{"severities": [" "]}, {"action_codes": ["x" * 1900] * 30}, {"temporal": "yes"}]
)
def test_rule_is_refused_when_it_cannot_work(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EventRule.model_validate({"name": "r", **fields})
