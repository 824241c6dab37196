from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import ValidationError

from consilience.signals.base import SignalKey, SignalResult
from consilience.signals.evaluation import SignalSet
from consilience.signals.kb import Kb, KbRule, KnowledgeBases, Target
from support.conversation import facts
from support.meanings import found, matched

pytestmark = pytest.mark.anyio

BASE: dict[str, Any] = {
    "name": "shop",
    "labels": {
        "refund": {"exemplars": ["money back", "refund order"], "description": "Money."},
        "parcel": ["where parcel", "track parcel"],
        "greeting": ["hello there"],
    },
    "threshold": 0.6,
    "label_thresholds": {"greeting": 0.9},
    "groups": {"order": ["refund", "parcel"], "chat": ["greeting"], "none": []},
    "metrics": [{"name": "order_vs_chat", "positive_group": "order", "negative_group": "chat"}],
}


def bases(*more: dict[str, Any], **changed: Any) -> KnowledgeBases:
    return KnowledgeBases.model_validate([{**BASE, **changed}, *more])


def rule(
    kind: Literal["label", "group"],
    value: str,
    match: Literal["best", "threshold"] = "threshold",
    kb: str = "shop",
) -> KbRule:
    return KbRule(
        name=f"{value}_{match}", kb=kb, target=Target(kind=kind, value=value), match=match
    )


async def says(text: str, *rules: KbRule, **changed: Any) -> dict[str, SignalResult]:
    return dict(await found(Kb, rules, facts(text), settings=bases(**changed)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("track parcel", ["parcel_threshold", "order_threshold"]),
        ("money back", ["refund_threshold", "order_threshold"]),
        ("hello there", ["greeting_threshold"]),
        ("hello you", []),
        ("something else", []),
        ("", []),
    ],
)
async def test_target_matches_when_it_reaches_its_threshold(text: str, names: list[str]) -> None:
    rules = [rule("label", label) for label in ("refund", "parcel", "greeting")]
    results = await says(text, *rules, rule("group", "order"), metrics=[])
    assert matched(results) == names


async def test_label_that_made_a_group_match_is_told() -> None:
    results = await says("track parcel", rule("group", "order"))
    assert results["order_threshold"].detail == {"label": "parcel"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("money back", ["refund_threshold", "refund_best"]),
        ("money back hello there again there", ["refund_threshold"]),
    ],
)
async def test_best_matches_when_no_other_label_of_the_base_is_nearer(
    text: str, names: list[str]
) -> None:
    results = await says(
        text, rule("label", "refund"), rule("label", "refund", "best"), threshold=0.3, metrics=[]
    )
    assert matched(results) == names


async def test_metric_is_the_margin_between_two_groups() -> None:
    results = await says("hello there", rule("group", "order"))
    metric = results["shop.order_vs_chat"]
    assert metric.value == pytest.approx(-1)
    assert not metric.matched
    assert metric.confidence == pytest.approx(1)
    assert (await says("track parcel", rule("group", "order")))["shop.order_vs_chat"].matched


async def test_metric_is_computed_when_only_a_projection_asks_for_it() -> None:
    key = SignalKey("kb", "shop.order_vs_chat")
    signals = SignalSet.build({"kb": [rule("group", "order")]}, {key}, settings={"kb": bases()})
    assert signals.needs_embedding
    assert list((await signals.evaluate(facts(""))).values()) == [SignalResult(False, 0, value=0)]


async def test_empty_group_matches_nothing() -> None:
    assert matched(await says("hello there", rule("group", "none"), metrics=[])) == []


async def test_bases_are_told_apart_when_their_labels_have_one_name() -> None:
    other = {"name": "bank", "labels": {"refund": ["interest rate"]}, "threshold": 0.6}
    rules = [rule("label", "refund"), rule("label", "refund", "best", kb="bank")]
    settings = bases(other, metrics=[])
    results = await found(Kb, rules, facts("interest rate"), settings=settings)
    assert matched(results) == ["refund_best"]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (rule("label", "refund", kb="shp"), "no knowledge base 'shp'"),
        (rule("label", "refunds"), "no label 'refunds'; did you mean 'refund'"),
        (rule("group", "zzz"), "no group 'zzz'; there is: order, chat, none"),
    ],
)
def test_rule_is_refused_when_it_names_what_is_not_there(asked: KbRule, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Kb([asked], bases())


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (
            {"metrics": [{"name": "m", "positive_group": "a", "negative_group": "b"}]},
            "no group 'a'",
        ),
        ({"labels": {"a": []}}, "at least 1 item"),
        ({"labels": {"a": {"exemplars": [""]}}}, "at least 1 character"),
        ({"labels": {"a": "text"}}, "Label"),
        ({"labels": {str(i): ["x"] for i in range(1001)}}, "at most 1000"),
    ],
)
def test_base_is_refused_when_it_makes_no_sense(changed: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        bases(**changed)


def test_base_is_found_by_name() -> None:
    assert bases().named("shop") is not None
    assert bases().named("other") is None
