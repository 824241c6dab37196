"""One embedding for all kinds that compare meanings; learning, and trying again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import anyio
import pytest

from consilience.chat.request import ChatRequest
from consilience.signals import models
from consilience.signals.base import RequestFacts, SignalKey, SignalResult
from consilience.signals.complexity import ComplexityRule, Side
from consilience.signals.embedding import EmbeddingRule
from consilience.signals.evaluation import SignalSet
from consilience.signals.jailbreak import JailbreakRule
from consilience.signals.models import SignalModels
from consilience.signals.preference import PreferenceRule
from consilience.signals.reask import ReaskRule
from consilience.signals.vectors import Embed, Vectors, VectorSignal, stack
from support.conversation import facts
from support.meanings import Embedding

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_examples")]

COLOUR = EmbeddingRule(name="colour", threshold=0.5, candidates=("red", "blue"))
KEY = SignalKey("embedding", "colour")
RULES: dict[str, Sequence[Any]] = {
    "embedding": [COLOUR],
    "complexity": [
        ComplexityRule(
            name="depth", hard=Side(candidates=("prove",)), easy=Side(candidates=("hi",))
        )
    ],
    "reask": [ReaskRule(name="again")],
    "preference": [PreferenceRule(name="short", examples=("be brief", "red"))],
    "jailbreak": [JailbreakRule(name="attack", method="contrastive", jailbreak_patterns=("obey",))],
}


class Failing:
    """An embedding model that fails until it is mended."""

    def __init__(self) -> None:
        self.inner = Embedding()
        self.broken: Exception | None = ConnectionError("http://10.0.0.1:8000 refused")
        self.tries = 0
        self.embed = Embed("words", 2.0, self._request, self._prototypes)

    async def _prototypes(self, texts: Sequence[str]) -> Vectors:
        self.tries += 1
        if self.broken is not None:
            raise self.broken
        return await self.inner.embed.prototypes(texts)

    async def _request(self, texts: Sequence[str]) -> Any:
        if self.broken is not None:
            raise self.broken
        return await self.inner.embed.request(texts)


async def prepared(embed: Embed | None, **rules: Sequence[Any]) -> SignalSet:
    signals = SignalSet.build(rules or {"embedding": [COLOUR]})
    await signals.prepare(SignalModels(embed))
    return signals


async def test_texts_of_all_kinds_are_embedded_in_one_call() -> None:
    embedding = Embedding()
    signals = await prepared(embedding.embed, **RULES)
    results = await signals.evaluate(facts("earlier", "red"))
    assert embedding.requests == [("red", "earlier")]
    assert embedding.prototypes == [("red", "blue", "prove", "hi", "be brief", "obey")]
    assert all(result.error is None for result in results.values())
    assert results[KEY].matched


async def test_nothing_is_embedded_when_nobody_wants_anything() -> None:
    embedding = Embedding()
    signals = await prepared(embedding.embed, **RULES)
    results = await signals.evaluate(facts(""))
    assert embedding.requests == []
    assert not any(result.matched or result.error for result in results.values())


async def test_time_is_told_for_embedding_and_for_each_kind() -> None:
    signals = await prepared(Embedding().embed, **RULES)
    seconds: dict[str, float] = {}
    await signals.evaluate(facts("red"), seconds)
    assert set(seconds) == {"embed", *RULES}


async def test_results_are_errors_when_there_is_no_model() -> None:
    results = await (await prepared(None, **RULES)).evaluate(facts("red"))
    assert results[KEY] == SignalResult(False, error="there is no embedding model")


async def test_kind_that_can_do_without_answers_when_there_is_no_model() -> None:
    signals = await prepared(None, **RULES)
    result = (await signals.evaluate(facts("red")))[SignalKey("reask", "again")]
    assert result == SignalResult(False, 0, value=0)


@pytest.mark.parametrize("kind", ["embedding", "complexity", "reask", "preference", "jailbreak"])
async def test_failure_to_embed_is_an_error_that_says_nothing_of_addresses(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    failing.broken = None
    signals = await prepared(failing.embed, **{kind: RULES[kind]})
    failing.broken = ConnectionError("http://10.0.0.1:8000 refused")
    with caplog.at_level(logging.WARNING):
        results = await signals.evaluate(facts("earlier", "red"))
    assert {result.error for result in results.values()} == {"embedding failed: ConnectionError"}
    assert [record.message for record in caplog.records] == ["embedding_failed"]


async def test_result_is_an_error_when_vectors_take_too_long() -> None:
    inner = Embedding()

    async def never(texts: Sequence[str]) -> Any:
        await anyio.sleep_forever()

    signals = await prepared(Embed("words", 0.01, never, inner.embed.prototypes))
    assert (await signals.evaluate(facts("red")))[KEY].error == "not embedded within 0.01 s"


class Replaced:
    """A model that gives vectors of 4,096 numbers, and another under its name that gives half."""

    def __init__(self, floor: float = 0.0) -> None:
        self.inner = Embedding(floor=floor)
        self.halved = self.forgotten = False
        self.embed = Embed(
            *("words", 2.0, self._request, self._prototypes), floor=floor, forget=self._forget
        )

    def _rows(self, texts: Sequence[str], halved: bool) -> Any:
        rows = self.inner.rows(texts)
        return rows[:, rows.shape[1] // 2 :] if halved else rows

    async def _request(self, texts: Sequence[str]) -> Any:
        return self._rows(texts, self.halved)

    async def _prototypes(self, texts: Sequence[str]) -> Vectors:
        return dict(zip(texts, self._rows(texts, self.forgotten), strict=True))

    def _forget(self) -> None:
        self.forgotten = True


@pytest.mark.parametrize(("floor", "halved"), [(0.0, 2048), (0.4, 2048)])
async def test_examples_are_embedded_again_when_another_model_answers_under_the_name(
    monkeypatch: pytest.MonkeyPatch, floor: float, halved: int
) -> None:
    monkeypatch.setattr(models, "RETRY_S", 0)
    replaced = Replaced(floor)
    signals = await prepared(replaced.embed)
    assert (await signals.evaluate(facts("red")))[KEY].matched
    replaced.halved = True
    assert (await signals.evaluate(facts("red")))[KEY].error == (
        f"embedding failed: the model's vector has {halved} numbers and those of the examples have"
        " 4096: another model answers under its name, so the examples are embedded again"
    )
    assert (await signals.evaluate(facts("red")))[KEY].error is None


async def test_examples_are_not_embedded_for_every_request_when_two_models_take_turns() -> None:
    replaced = Replaced()
    signals = await prepared(replaced.embed)
    replaced.halved = True
    for _ in range(3):
        assert (await signals.evaluate(facts("red")))[KEY].error
    assert "(another model answers under its name); tried again in" in str(
        (await signals.evaluate(facts("red")))[KEY].error
    )


async def test_model_that_was_not_there_is_not_asked_for_every_request() -> None:
    failing = Failing()
    signals = await prepared(failing.embed)
    failing.broken = None
    for _ in range(3):
        result = (await signals.evaluate(facts("red")))[KEY]
        assert (result.error or "").startswith(
            "the embedding model could not be used so far (failed: ConnectionError); tried again in"
        )
    assert failing.tries == 1


async def test_model_that_was_not_there_is_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "RETRY_S", 0)
    failing = Failing()
    signals = await prepared(failing.embed)
    assert (await signals.evaluate(facts("red")))[KEY].error
    failing.broken = None
    assert (await signals.evaluate(facts("red")))[KEY].matched
    assert (await signals.evaluate(facts("red")))[KEY].matched
    assert failing.tries == 3


async def test_one_request_tries_again_when_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = Failing()
    with monkeypatch.context() as patch:
        patch.setattr(models, "RETRY_S", 0)
        signals = await prepared(failing.embed)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(signals.evaluate, facts("red"))
    assert failing.tries == 2


class Unteachable(VectorSignal[EmbeddingRule]):
    """Cannot learn."""

    kind: ClassVar[str] = "unteachable"
    config_key: ClassVar[str] = "unteachable"
    Rule: ClassVar[type[EmbeddingRule]] = EmbeddingRule

    def prototypes(self, identity: str) -> Sequence[str]:
        return ("a",)

    def learn(self, vectors: Vectors, identity: str) -> None:
        raise RuntimeError("singular matrix")

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Any:
        raise AssertionError


async def test_start_goes_on_when_a_kind_cannot_learn() -> None:
    signals = SignalSet([Unteachable([COLOUR])])
    await signals.prepare(SignalModels(Embedding().embed))
    (result,) = (await signals.evaluate(facts("red"))).values()
    assert (result.error or "").startswith(
        "the embedding model could not be used so far (failed: RuntimeError); tried again in"
    )


async def test_models_are_replaced_while_requests_are_evaluated() -> None:
    signals = await prepared(Embedding().embed)
    outcomes: list[SignalResult] = []

    async def ask() -> None:
        for _ in range(20):
            outcomes.append((await signals.evaluate(facts("red")))[KEY])
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        for _ in range(5):
            await signals.prepare(SignalModels(Embedding().embed))
    assert all(outcome.matched or outcome.error for outcome in outcomes)
    assert (await signals.evaluate(facts("red")))[KEY].matched


async def test_cancelled_request_cancels_the_embedding() -> None:
    inner, gone, begun = Embedding(), anyio.Event(), anyio.Event()

    async def hanging(texts: Sequence[str]) -> Any:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            gone.set()

    signals = await prepared(Embed("words", 60, hanging, inner.embed.prototypes))
    async with anyio.create_task_group() as group:
        group.start_soon(signals.evaluate, facts("red"))
        await begun.wait()
        group.cancel_scope.cancel()
    assert gone.is_set()


def test_stack_of_nothing_is_empty() -> None:
    assert stack((), {}).shape == (0, 0)


def test_images_alone_have_no_text_to_embed() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    request = ChatRequest({"model": "m", "messages": [{"role": "user", "content": [image]}]})
    assert RequestFacts(request).sample == ""
