from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from consilience.signals.asking import HelperError
from consilience.signals.base import RequestFacts, SignalKey, SignalResult
from consilience.signals.classifier import Classifier, ClassifierRule
from consilience.signals.evaluation import SignalSet
from consilience.signals.models import SignalModels
from support.conversation import facts
from support.meanings import Embedding, found, matched, static_embedding

pytestmark = pytest.mark.anyio

LOCAL = ClassifierRule(
    name="mood",
    type="local",
    labels=("glad", "sad"),
    prototypes={"glad": ("so happy",), "sad": ("so unhappy and blue",)},
)
BY_HELPER = ClassifierRule(
    name="tone", type="llm", labels=("formal", "casual"), model="helper", instructions="Tone?"
)


def answers(**by_model: Any) -> Any:
    """A helper for each name: its answer, or what it raises."""

    async def ask(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        answer = by_model[model]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    return ask


FORMAL = '{"label": "formal", "rationale": "x"}'


async def test_most_probable_label_matches_and_all_add_up_to_one() -> None:
    results = await found(Classifier, [LOCAL], facts("happy"))
    assert matched(results) == ["mood:glad"]
    assert sum(result.value or 0 for result in results.values()) == pytest.approx(1)
    assert (results["mood:glad"].value or 0) > 0.9


@pytest.mark.parametrize("text", ["", " \n", "…", "\u200b\0"])
async def test_no_label_matches_when_there_is_nothing_to_compare(text: str) -> None:
    assert matched(await found(Classifier, [LOCAL], facts(text))) == []


async def test_one_label_matches_when_the_text_is_like_none() -> None:
    results = await found(Classifier, [LOCAL], facts("quite different"))
    assert len(matched(results)) == 1
    assert {result.value for result in results.values()} == {0.5}


async def test_rule_without_prototypes_is_an_error() -> None:
    bare = ClassifierRule(name="bare", type="local", labels=("a", "b"))
    results = await found(Classifier, [bare], facts("hello"))
    assert {result.error for result in results.values()} == {"the rule has no prototypes"}


async def test_helper_names_the_label() -> None:
    seen: list[Any] = []

    async def ask(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        seen.append((model, messages))
        return FORMAL

    results = await found(Classifier, [BY_HELPER], facts("Dear Sir or Madam"), ask=ask)
    assert matched(results) == ["tone:formal"]
    assert [result.value for result in results.values()] == [1, 0]
    ((model, (system, user)),) = seen
    assert model == "helper"
    assert system["content"].startswith("Tone?\n\nLabels:\n- formal\n- casual\n")
    assert "Dear Sir or Madam" in user["content"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("formal", "the helper's answer is not the JSON object that was asked for"),
        ('{"label": "angry"}', "the helper's answer names no label that was offered"),
        (
            HelperError("the helper gave no answer within 5 s"),
            "the helper gave no answer within 5 s",
        ),
        (RuntimeError("http://10.0.0.1 said sk-secret"), "failed: RuntimeError"),
    ],
)
async def test_failure_of_a_helper_is_the_error_of_its_own_rule(
    answer: Any, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = BY_HELPER.model_copy(update={"name": "other", "model": "second"})
    with caplog.at_level(logging.WARNING):
        results = await found(
            Classifier,
            [LOCAL, BY_HELPER, other],
            facts("so happy"),
            ask=answers(helper=answer, second=FORMAL),
        )
    assert [name for name, result in results.items() if result.matched] == [
        *("mood:glad", "other:formal"),
    ]
    assert results["tone:formal"] == results["tone:casual"] == SignalResult(False, error=error)
    assert [record.message for record in caplog.records] == ["helper_failed"]


class Late(Embedding):
    """Gives a request's vectors once something has happened."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = anyio.Event()
        self.embed = type(self.embed)("words", 30.0, self._late, self.embed.prototypes)

    async def _late(self, texts: Sequence[str]) -> Any:
        await self.go_on.wait()
        return self.rows(texts)


@pytest.mark.parametrize("first", ["helper", "vectors"])
async def test_reason_of_a_failure_stays_whatever_is_ready_first(first: str) -> None:
    embedding = Late()

    async def ask(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        if first == "helper":
            embedding.go_on.set()
        else:
            await anyio.wait_all_tasks_blocked()
        return "nonsense"

    if first == "vectors":
        embedding.go_on.set()
    results = await found(
        Classifier, [LOCAL, BY_HELPER], facts("so happy"), embedding=embedding, ask=ask
    )
    assert results["mood:glad"].matched
    assert results["tone:formal"].error == (
        "the helper's answer is not the JSON object that was asked for"
    )


async def test_helper_is_asked_when_there_is_no_embedding_model() -> None:
    signals = SignalSet.build({"classifier": [LOCAL, BY_HELPER]})
    await signals.prepare(SignalModels(ask=answers(helper=FORMAL)))
    results = await signals.evaluate(facts("hello"))
    assert results[SignalKey("classifier", "tone:formal")].matched
    assert results[SignalKey("classifier", "mood:glad")].error == "there is no embedding model"


async def test_rules_ask_side_by_side() -> None:
    here = {"helper": anyio.Event(), "second": anyio.Event()}

    async def ask(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        here[model].set()
        for event in here.values():
            await event.wait()
        return FORMAL

    other = BY_HELPER.model_copy(update={"name": "other", "model": "second"})
    with anyio.fail_after(5):
        results = await found(Classifier, [BY_HELPER, other], facts("hello"), ask=ask)
    assert matched(results) == ["tone:formal", "other:formal"]


async def test_nobody_is_asked_when_there_is_no_text() -> None:
    results = await found(Classifier, [BY_HELPER], facts("  "), ask=answers())
    assert matched(results) == []


async def test_nobody_is_asked_in_a_dry_run() -> None:
    signals = SignalSet.build({"classifier": [LOCAL, BY_HELPER]})
    await signals.prepare(SignalModels(Embedding().embed, answers()))
    dry = RequestFacts(facts("so happy").request, dry_run=True)
    results = await signals.evaluate(dry)
    assert results[SignalKey("classifier", "mood:glad")].matched
    assert results[SignalKey("classifier", "tone:formal")].error == (
        "helper models are not asked in a dry run"
    )


async def test_only_the_rules_in_use_ask() -> None:
    key = SignalKey("classifier", "mood:glad")
    signals = SignalSet.build({"classifier": [LOCAL, BY_HELPER]}, {key})
    await signals.prepare(SignalModels(Embedding().embed, answers()))
    assert not signals.needs_helper
    assert list(await signals.evaluate(facts("so happy"))) == [key]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"type": "llm"}, "needs a `model` to ask"),
        ({"prototypes": {"c": ["x"]}}, "'c', which is not among the labels"),
        ({"labels": ["a"]}, "at least 2"),
        ({"labels": ["a", "a"]}, "two of the labels are the same"),
        ({"labels": [str(i) for i in range(51)]}, "at most 50"),
    ],
)
def test_rule_is_refused_when_it_makes_no_sense(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        ClassifierRule.model_validate(
            {"name": "a", "type": "local", "labels": ["a", "b"], **fields}
        )


def test_warning_names_labels_that_nothing_is_like() -> None:
    rule = ClassifierRule(name="a", type="local", labels=("b", "c"), prototypes={"b": ("x",)})
    assert "no `prototypes` of 'c'" in rule.warnings()[0]
    assert LOCAL.warnings() == BY_HELPER.warnings() == ()


async def test_a_text_that_is_hardly_like_any_label_is_hardly_told_apart() -> None:
    moods = ClassifierRule(
        name="mood",
        type="local",
        labels=("calm", "angry"),
        prototypes={
            "calm": ("thanks, no hurry at all", "that is fine with me"),
            "angry": ("this is outrageous, fix it now", "I am furious with you"),
        },
    )

    async def values(text: str) -> list[float]:
        results = await found(Classifier, [moods], facts(text), embedding=static_embedding())
        return [result.value or 0.0 for result in results.values()]

    assert max(await values("I am really furious, fix it now")) > 0.9
    for text in ("What is the population of Peru?", "Summarize the plot of Hamlet"):
        assert max(await values(text)) < 0.8
