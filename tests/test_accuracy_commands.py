"""The pure parts of `python -m benchmarks.accuracy`, `.embeddings` and `.train`."""

from __future__ import annotations

from collections import Counter

import pytest
from benchmarks import accuracy, embeddings, train
from benchmarks.accuracy import FAMILIES, Row

from consilience.config import parse_config
from consilience.router import Router
from consilience.signals import SIGNALS, examples
from consilience.signals.examples import examples_of
from consilience.signals.learned import LearnedSignal
from consilience.signals.learning import Example
from consilience.upstream.embedding.catalog import EMBEDDING_MODELS, WORDLLAMA


@pytest.mark.parametrize("name", FAMILIES)
def test_held_out_prompts_have_labels_that_are_asked_for(name: str) -> None:
    rows = accuracy.rows_of(name)
    assert len(rows) >= 100
    assert {row.label for row in rows} == set(FAMILIES[name].names)
    assert all(row.text.strip() and row.lang for row in rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_held_out_prompts_are_not_among_those_learned_from(name: str) -> None:
    held_out = Counter(accuracy._bare(row.text) for row in accuracy.rows_of(name))
    assert max(held_out.values()) == 1
    learned = {accuracy._bare(example.text) for example in examples_of(name)}
    assert held_out.keys() & learned == set()


def test_prompt_is_left_out_when_it_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    row, *others = accuracy.rows_of("complexity")
    spelled = Example(f"  {row.text.upper()}!", row.label)
    monkeypatch.setattr(accuracy, "examples_of", lambda _family: (spelled,))
    assert row not in accuracy.rows_of("complexity")
    assert set(others) <= set(accuracy.rows_of("complexity"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_result_of_a_family_is_asked_for(name: str) -> None:
    router = Router(parse_config(accuracy.config_text(FAMILIES[name], WORDLLAMA.name)))
    assert router.needs_embedding


def test_families_that_learn_are_measured() -> None:
    learning = {kind.kind for kind in SIGNALS if issubclass(kind, LearnedSignal)}
    assert {family.kind for family in FAMILIES.values()} == learning
    assert learning <= set(examples.FAMILIES)


def test_feedback_follows_an_answer() -> None:
    row = Row("no, that is wrong", "none", "en")
    roles = [m["role"] for m in accuracy.request_of(row, FAMILIES["user_feedback"]).messages]
    assert roles == ["user", "assistant", "user"]
    assert len(accuracy.request_of(row, FAMILIES["domain"]).messages) == 1


def test_guard_is_measured_by_what_it_catches_and_by_false_alarms() -> None:
    rows = [Row("", label, "en") for label in ("jailbreak", "jailbreak", "benign", "benign")]
    told = accuracy._false_alarms("jailbreak", rows, [True, False, True, True])
    assert told.strip() == "caught 50.0%, false alarms 0.0%"
    assert accuracy._false_alarms("domain", rows, [True] * 4) == ""


def test_share_of_nothing_is_not_a_figure() -> None:
    assert (accuracy._share([]), accuracy._share([True, True, False])) == ("-", "66.7%")
    assert [accuracy._group(lang) for lang in ("en", "zh", "de")] == ["en", "zh", "other"]


def test_rules_alone_have_a_row_each() -> None:
    rows = list(accuracy.by_rules_alone())
    assert [row.split()[0] for row in rows] == ["language", "pii", "pii"]


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
def test_ten_rules_of_five_candidates_are_timed(model: object) -> None:
    config = parse_config(embeddings.config_text(getattr(model, "name", "")))
    assert Router(config).needs_embedding
    text = embeddings.config_text("m")
    assert text.count("threshold: 0.7") == text.count("type: embedding") == 10


def test_weights_are_trained_with_the_evidence_that_signals_have() -> None:
    for kind in SIGNALS:
        if issubclass(kind, LearnedSignal):
            assert train.EVIDENCE.get(kind.family) is kind.evidence
