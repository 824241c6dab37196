from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import anyio
import pytest

from consilience.chat.request import ChatRequest
from consilience.signals.base import (
    PureSignal,
    RequestFacts,
    Signal,
    SignalKey,
    SignalResult,
    SignalRule,
    WaitingSignal,
)
from consilience.signals.evaluation import INLINE_BYTES, SignalSet
from consilience.signals.keyword import KeywordRule

pytestmark = pytest.mark.anyio


class Slow(WaitingSignal[SignalRule]):
    """Never ends by itself."""

    kind: ClassVar[str] = "slow"
    config_key: ClassVar[str] = "slows"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    async def evaluate(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        await anyio.sleep_forever()
        raise AssertionError


class Broken(WaitingSignal[SignalRule]):
    kind: ClassVar[str] = "broken"
    config_key: ClassVar[str] = "brokens"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    async def evaluate(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        raise RuntimeError(facts.text)


class PureBroken(PureSignal[SignalRule]):
    kind: ClassVar[str] = "pure_broken"
    config_key: ClassVar[str] = "pure_brokens"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        raise RuntimeError(facts.text)


class Forgetful(PureSignal[SignalRule]):
    kind: ClassVar[str] = "forgetful"
    config_key: ClassVar[str] = "forgetfuls"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        return {}


class Blocking(PureSignal[SignalRule]):
    """Holds its thread until it is released."""

    kind: ClassVar[str] = "blocking"
    config_key: ClassVar[str] = "blockings"
    Rule: ClassVar[type[SignalRule]] = SignalRule
    released = threading.Event()

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        self.released.wait()
        return {}


class Met(WaitingSignal[SignalRule]):
    """Matches when both of its instances were running at the same time."""

    kind: ClassVar[str] = "met"
    config_key: ClassVar[str] = "mets"
    Rule: ClassVar[type[SignalRule]] = SignalRule

    def __init__(self, rules: Sequence[SignalRule]) -> None:
        super().__init__(rules)
        self.here, self.there = anyio.Event(), anyio.Event()

    async def evaluate(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        self.here.set()
        await self.there.wait()
        return {rule.name: SignalResult(True) for rule in self.rules}


class PairRule(SignalRule):
    def emits(self) -> Sequence[str]:
        return (f"{self.name}:hard", f"{self.name}:easy")


class Pair(PureSignal[PairRule]):
    """Emits two names for each rule."""

    kind: ClassVar[str] = "pair"
    config_key: ClassVar[str] = "pairs"
    Rule: ClassVar[type[SignalRule]] = PairRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        return {name: SignalResult(True) for rule in self.rules for name in rule.emits()}


def facts(text: str = "compare this") -> RequestFacts:
    return RequestFacts(
        ChatRequest({"model": "m", "messages": [{"role": "user", "content": text}]})
    )


def signal(kind: type[Signal[Any]], name: str = "rule") -> Signal[Any]:
    return kind([SignalRule(name=name)])


RULES = {
    "keyword": [
        KeywordRule(name="a", keywords=("compare",)),
        KeywordRule(name="b", keywords=("x",)),
    ]
}


async def test_only_rules_in_use_are_evaluated_when_some_are_named() -> None:
    signals = SignalSet.build(RULES, {SignalKey("keyword", "b")})
    assert {k: r.matched for k, r in (await signals.evaluate(facts())).items()} == {
        ("keyword", "b"): False
    }


async def test_only_names_in_use_are_answered_for_when_a_rule_emits_more() -> None:
    key = SignalKey("pair", "depth:hard")
    signals = SignalSet.build({"pair": [PairRule(name="depth")]}, {key}, kinds=[Pair])
    assert await signals.evaluate(facts()) == {key: SignalResult(True)}


async def test_every_rule_is_evaluated_when_none_is_named() -> None:
    results = await SignalSet.build(RULES).evaluate(facts())
    assert {key.name: r.matched for key, r in results.items()} == {"a": True, "b": False}


async def test_result_is_an_error_when_no_such_rule_is_configured() -> None:
    key = SignalKey("keyword", "nobody")
    result = (await SignalSet.build(RULES, {key}).evaluate(facts()))[key]
    assert result == SignalResult(False, error="no keyword signal named 'nobody' is configured")


@pytest.mark.parametrize("kind", [Broken, PureBroken])
async def test_failure_stays_with_its_own_rules_when_a_kind_raises(
    kind: type[Signal[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    signals = SignalSet([signal(kind), *SignalSet.build(RULES).signals])
    with caplog.at_level(logging.WARNING):
        results = await signals.evaluate(facts())
    assert results[SignalKey(kind.kind, "rule")] == SignalResult(
        False, error="failed: RuntimeError"
    )
    assert results[SignalKey("keyword", "a")].matched
    assert [record.message for record in caplog.records] == ["signal_failed"]


async def test_failure_stays_with_its_own_rules_when_a_kind_is_late() -> None:
    signals = SignalSet([signal(Slow), *SignalSet.build(RULES).signals], limit_s=0.01)
    results = await signals.evaluate(facts())
    assert results[SignalKey("slow", "rule")].error == "not evaluated within 10 ms"
    assert results[SignalKey("keyword", "a")].matched


async def test_rule_is_an_error_when_its_kind_says_nothing_of_it() -> None:
    results = await SignalSet([signal(Forgetful)]).evaluate(facts())
    assert results[SignalKey("forgetful", "rule")].error == "gave no result"


async def test_kinds_run_side_by_side_when_they_wait() -> None:
    one, two = Met([SignalRule(name="one")]), Met([SignalRule(name="two")])
    one.there, two.there = two.here, one.here
    results = await SignalSet([one, two], limit_s=5).evaluate(facts())
    assert {key.name: r.matched for key, r in results.items()} == {"one": True, "two": True}


async def test_results_are_the_same_when_the_text_is_long() -> None:
    text = "compare " + "filler " * INLINE_BYTES
    results = await SignalSet.build(RULES, limit_s=30).evaluate(facts(text))
    assert {key.name: r.matched for key, r in results.items()} == {"a": True, "b": False}


async def test_pure_kind_is_late_when_the_text_is_long_and_it_does_not_end() -> None:
    signals = SignalSet([signal(Blocking)], limit_s=0.01)
    try:
        results = await signals.evaluate(facts("x" * (INLINE_BYTES + 1)))
    finally:
        Blocking.released.set()
    assert results[SignalKey("blocking", "rule")].error == "not evaluated within 10 ms"


@pytest.mark.parametrize("text", ["compare this", "compare " + "x" * INLINE_BYTES])
async def test_time_is_told_for_every_kind_that_was_asked(text: str) -> None:
    kinds = [signal(Slow), signal(Broken), signal(Forgetful), *SignalSet.build(RULES).signals]
    seconds: dict[str, float] = {}

    await SignalSet(kinds, limit_s=0.05).evaluate(facts(text), seconds)

    assert set(seconds) == {"slow", "broken", "forgetful", "keyword"}
    assert all(value >= 0 for value in seconds.values())
