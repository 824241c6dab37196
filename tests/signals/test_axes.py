"""What stands beside a static vector: the subject and the kind of work, each with its share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.signals import axes, models
from consilience.signals.axes import SUBJECT, WORK, Axes, texts_for_axes
from consilience.signals.embedding import EmbeddingRule
from consilience.signals.evaluation import SignalSet
from consilience.signals.examples import examples_of
from consilience.signals.models import SignalModels
from consilience.signals.vectors import Embed, Vectors, WithAxes, plain
from consilience.upstream.embedding.base import on_scale
from consilience.upstream.embedding.catalog import WORDLLAMA
from support.conversation import facts
from support.meanings import Embedding, static_embedding

FLOOR, SHARE = 0.4, 0.2
TEXTS = ("a", "b", "c", "d")


class Told:
    """A classifier that says of each text what the test wants."""

    def __init__(self, labels: tuple[str, ...], by_text: Mapping[str, tuple[float, ...]]) -> None:
        self.labels = labels
        self._by_text = by_text

    def probabilities(self, text: str, *_: object) -> Mapping[str, float]:
        return dict(zip(self.labels, self._by_text[text], strict=True))


SUBJECTS = Told(
    ("law", "math", "other"), {"a": (1, 0, 0), "b": (1, 0, 0), "c": (0, 1, 0), "d": (0, 0, 1)}
)
WORKS = Told(("plan", "prove"), {"a": (1, 0), "b": (0, 1), "c": (1, 0), "d": (0, 1)})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has both classifiers say what they are told."""
    by_family = {SUBJECT: SUBJECTS, WORK: WORKS}
    monkeypatch.setattr(axes, "classifier_of", lambda family, *_: by_family[family])


when_told = pytest.mark.usefixtures("told")


def beside(floor: float = FLOOR, share: float = SHARE, rows: Any = None) -> Vectors:
    given_rows = np.eye(4, dtype=np.float32) if rows is None else rows
    vectors = dict(zip(TEXTS, on_scale(given_rows, floor), strict=True))
    return Axes(share, floor, {}, "m").beside(vectors)


def similarity(vectors: Vectors, first: str, second: str) -> float:
    return float(vectors[first] @ vectors[second])


@when_told
def test_each_axis_counts_its_share_above_the_floor() -> None:
    vectors = beside()
    # no meaning in common; the same subject, the same work, neither
    assert similarity(vectors, "a", "b") == pytest.approx(FLOOR + (1 - FLOOR) * SHARE)
    assert similarity(vectors, "a", "c") == pytest.approx(FLOOR + (1 - FLOOR) * SHARE)
    assert similarity(vectors, "b", "c") == pytest.approx(FLOOR)


@when_told
def test_meaning_counts_what_is_left() -> None:
    same = np.array([(1, 0), (1, 0), (1, 0), (0, 1)], np.float32)
    vectors = beside(rows=same)
    assert similarity(vectors, "b", "c") == pytest.approx(FLOOR + (1 - FLOOR) * (1 - 2 * SHARE))
    assert similarity(vectors, "a", "b") == pytest.approx(FLOOR + (1 - FLOOR) * (1 - SHARE))


@when_told
def test_having_no_subject_is_nothing_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SUBJECTS, "_by_text", dict.fromkeys(TEXTS, (0, 0, 1)))
    vectors = beside()
    assert similarity(vectors, "a", "b") == pytest.approx(FLOOR)


@when_told
def test_axis_is_short_when_its_classifier_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SUBJECTS, "_by_text", dict.fromkeys(TEXTS, (0.05, 0.05, 0.9)))
    assert similarity(beside(), "a", "b") < FLOOR + (1 - FLOOR) * SHARE / 2


@when_told
@pytest.mark.parametrize("floor", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.49])
def test_vectors_have_length_one_whatever_the_floor(floor: float, share: float) -> None:
    rows = np.random.default_rng(3).standard_normal((4, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for vector in beside(floor, share, rows).values():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@when_told
def test_text_without_tokens_is_like_nothing_and_as_long_as_the_others() -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[3] = 0
    vectors = beside(rows=rows)
    assert not vectors["d"].any()
    assert len(vectors["d"]) == len(vectors["a"])
    assert np.stack(list(vectors.values())).dtype == np.float32


@when_told
def test_vectors_without_axes_stay_for_whoever_made_the_axes() -> None:
    vectors = beside()
    assert isinstance(vectors, WithAxes)
    assert set(plain(vectors)) == set(vectors)
    assert len(plain(vectors)["a"]) == 5
    assert len(vectors["a"]) == 5 + 3 + 2
    assert plain(plain(vectors)) is plain(vectors)
    assert plain(Axes(SHARE, FLOOR, {}, "m").beside(vectors)) is plain(vectors)


def test_texts_are_needed_when_nobody_has_learned() -> None:
    texts = set(texts_for_axes("a model without weights"))
    assert texts == {e.text for family in (SUBJECT, WORK) for e in examples_of(family)}


def of_static(*texts: str) -> Vectors:
    embed = static_embedding()
    own = Axes(WORDLLAMA.axes, WORDLLAMA.floor, {}, embed.embed.identity)
    return own.beside(dict(zip(texts, embed.rows(texts), strict=True)))


def test_axes_need_no_texts_with_the_packaged_weights() -> None:
    assert texts_for_axes(static_embedding().embed.identity) == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Early signs of anaemia", "When is chest pain urgent?"),
        ("Rewrite this paragraph in plain English", "Shorten this text to two sentences"),
    ],
)
def test_same_subject_or_work_comes_nearer(first: str, second: str) -> None:
    vectors = of_static(first, second)
    assert similarity(vectors, first, second) > similarity(plain(vectors), first, second) + 0.05


def test_unrelated_texts_stay_near_the_floor() -> None:
    texts = (
        *("Early signs of anaemia", "Plan a three-day trip to Rome", "写一个Python函数反转列表"),
        *("Who won the world cup in 1998?", "Shorten this text to two sentences"),
    )
    vectors = of_static(*texts)
    for i, first in enumerate(texts):
        for second in texts[:i]:
            assert similarity(vectors, first, second) == pytest.approx(WORDLLAMA.floor, abs=0.06)


@given(st.text(max_size=200))
def test_any_text_has_length_one_or_zero(text: str) -> None:
    (vector,) = of_static(text).values()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4) or not vector.any()


@when_told
@pytest.mark.anyio
async def test_axes_count_between_a_request_and_what_it_is_compared_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "texts_for_axes", lambda _identity: ("c",))
    inner = Embedding()
    embed = Embed("words", 30, inner.embed.request, inner.embed.prototypes, axes=SHARE)
    signals = SignalSet.build(
        {"embedding": [EmbeddingRule(name="like", threshold=0.1, candidates=("b",))]}
    )
    await signals.prepare(SignalModels(embed))
    (result,) = (await signals.evaluate(facts("a"))).values()
    assert inner.prototypes == [("b", "c")]
    assert result.value == pytest.approx(SHARE)
