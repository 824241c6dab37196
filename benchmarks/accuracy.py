"""How often signals are right, on labelled prompts that nobody tuned with: `benchmarks/data/*.test.jsonl`.

`python -m benchmarks.accuracy [--misses]`

A row a family and embedding model. `right` is the share of texts whose most probable label is the
true one; `by rule` the share for which exactly the right rule matches at its default threshold.
Families that a rule alone decides have one row. The prompts were written apart from the examples
that classifiers learn from, and from the rules; nothing was tuned on them after they were first
scored, with the exceptions that `docs/figures.md` names.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from consilience.chat.codec import decode
from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.signal_models import prepared_router
from consilience.signals.domain import DOMAINS
from consilience.signals.examples import FAMILIES as LEARNED
from consilience.signals.examples import examples_of
from consilience.signals.fact_check import NEEDED, NOT_NEEDED
from consilience.signals.language import guess_language
from consilience.signals.pii import find_pii
from consilience.signals.user_feedback import FEEDBACK
from consilience.upstream.embedding.catalog import EMBEDDING_MODELS

DATA = Path(__file__).parent / "data"
_COMPLEXITY = (
    "{name: depth, threshold: 0.0,"
    " hard: {candidates: [compare several approaches and justify the trade-offs,"
    " analyze the root cause of a complex failure, prove the theorem rigorously,"
    " design a system under constraints, build an argument from first principles,"
    " synthesize sources into a recommendation, plan a project in phases with risks]},"
    " easy: {candidates: [give a short definition, answer briefly, what is the capital of a country,"
    " translate this sentence, fix a small bug, rewrite this paragraph, what time is it]}}"
)


class Row(NamedTuple):
    """A text, and what it is."""

    text: str
    label: str
    lang: str


class Family(NamedTuple):
    """How one family is asked."""

    kind: str
    key: str
    rules: str
    names: Mapping[str, str]
    """True label to the result that should match; labels that nothing should match for, to none."""
    follows_an_answer: bool = False


FAMILIES = {
    "domain": Family(
        "domain",
        "domains",
        "".join(f"{{name: {name}}}, " for name in DOMAINS),
        {name: name for name in DOMAINS},
    ),
    "fact_check": Family(
        "fact_check",
        "fact_check",
        f"{{name: {NEEDED}}}, {{name: {NOT_NEEDED}}}",
        {NEEDED: NEEDED, NOT_NEEDED: NOT_NEEDED},
    ),
    "user_feedback": Family(
        "user_feedback",
        "user_feedbacks",
        "".join(f"{{name: {name}}}, " for name in FEEDBACK),
        {**{name: name for name in FEEDBACK}, "none": ""},
        follows_an_answer=True,
    ),
    "jailbreak": Family(
        "jailbreak", "jailbreak", "{name: attack}", {"jailbreak": "attack", "benign": ""}
    ),
    "complexity": Family(
        "complexity",
        "complexity",
        _COMPLEXITY,
        {"hard": "depth:hard", "easy": "depth:easy"},
    ),
}


def rows_of(family: str) -> list[Row]:
    """The prompts held out for a family, without the few that are among its examples after all."""
    lines = (DATA / f"{family}.test.jsonl").read_bytes().splitlines()
    entries = [decode(line) for line in lines if line]
    learned = {_bare(e.text) for e in examples_of(family)} if family in LEARNED else set[str]()
    rows = (Row(e["text"], e["label"], e["lang"]) for e in entries)
    return [row for row in rows if _bare(row.text) not in learned]


def config_text(family: Family, model: str) -> str:
    """A configuration whose one decision asks for all results of a family."""
    leaves = ", ".join(
        f"{{type: {family.kind}, name: '{name}'}}" for name in family.names.values() if name
    )
    return (
        "version: v0.3\n"
        "providers: {models: [{name: m, backend_refs: [{endpoint: '127.0.0.1:1'}]}]}\n"
        f"global: {{model_catalog: {{embeddings: {{semantic: {{model: {model}}}}}}}}}\n"
        "routing:\n"
        f"  signals: {{{family.key}: [{family.rules}]}}\n"
        "  decisions: [{name: d, modelRefs: [{model: m}],"
        f" rules: {{operator: OR, conditions: [{leaves}]}}}}]\n"
    )


def request_of(row: Row, family: Family) -> ChatRequest:
    """The request in which a text arrives."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": row.text}]
    if family.follows_an_answer:
        before = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "..."}]
        messages = [*before, *messages]
    return ChatRequest.from_body({"model": "auto", "messages": messages})


async def measured(name: str, model: str, show: Callable[[str], None]) -> str:
    """The table's row of one family with one embedding model."""
    family, rows = FAMILIES[name], rows_of(name)
    by_language: dict[str, list[bool]] = {}
    right: list[bool] = []
    async with prepared_router(parse_config(config_text(family, model))) as router:
        for row in rows:
            considered = await router.consider(request_of(row, family), {})
            if considered is None:
                raise RuntimeError("no signal was asked")
            wanted = family.names[row.label]
            matched = [key.name for key, r in considered.signals.items() if r.matched]
            fits = matched == ([wanted] if wanted else [])
            right.append(fits)
            by_language.setdefault(_group(row.lang), []).append(fits)
            if not fits:
                show(f"  {name} {model}: {row.label}, got {matched or 'nothing'}: {row.text[:90]}")
    shares = "".join(f"{_share(by_language.get(group, [])):>9}" for group in ("en", "zh", "other"))
    false = _false_alarms(name, rows, right)
    return f"{name:16}{model:16}{len(rows):>6}{_share(right):>9}{shares}{false}"


def _false_alarms(name: str, rows: Sequence[Row], right: Sequence[bool]) -> str:
    """For guards: what is caught, and what is taken for an attack that is none."""
    if name != "jailbreak":
        return ""
    caught = [ok for row, ok in zip(rows, right, strict=True) if row.label == "jailbreak"]
    spared = [ok for row, ok in zip(rows, right, strict=True) if row.label == "benign"]
    return f"   caught {_share(caught)}, false alarms {1 - sum(spared) / len(spared):.1%}"


_ALARMS = {
    "jailbreak": ("attack",),
    "fact_check": (NEEDED,),
    "user_feedback": tuple(FEEDBACK),
    "complexity": ("depth:hard",),
}
"""What a turn of small talk must not be taken for, by family."""


async def alarms(name: str, model: str, show: Callable[[str], None]) -> str:
    """How many turns that say nothing of the kind are taken for what a family looks for."""
    family = FAMILIES[name]
    learned = {_bare(example.text) for example in examples_of(name)}
    lines = (DATA / "turns.test.jsonl").read_bytes().splitlines()
    entries = [decode(line) for line in lines if line]
    texts = [e["text"] for e in entries if name in e["none_of"] and _bare(e["text"]) not in learned]
    taken = 0
    async with prepared_router(parse_config(config_text(family, model))) as router:
        for text in texts:
            request = request_of(Row(text, "", ""), family)
            considered = await router.consider(request, {})
            if considered is None:
                raise RuntimeError("no signal was asked")
            matched = [key.name for key, result in considered.signals.items() if result.matched]
            if any(alarm in matched for alarm in _ALARMS[name]):
                taken += 1
                show(f"  {name} {model}: none, got {matched}: {text[:90]}")
    return f"{name:16}{model:16}{len(texts):>6}   false alarms {taken / len(texts):.1%}"


def by_rules_alone() -> Iterator[str]:
    """The table's rows of families that need no embedding model."""
    rows = rows_of("language")
    by_length: dict[str, list[bool]] = {}
    for i, row in enumerate(rows):
        place = i % 25  # the file has 25 a language: 8 short, 9 sentences, 5 mixed, 3 paragraphs
        group = next(
            g for g, end in (("1-3 words", 8), ("sentence", 17), ("longer", 25)) if place < end
        )
        by_length.setdefault(group, []).append(guess_language(row.text).language == row.label)
    everything = [ok for group in by_length.values() for ok in group]
    parts = ", ".join(f"{group} {_share(oks)}" for group, oks in by_length.items())
    yield f"{'language':16}{'-':16}{len(rows):>6}{_share(everything):>9}   {parts}"
    entries = [decode(line) for line in (DATA / "pii.test.jsonl").read_bytes().splitlines() if line]
    for least in (0.85, 0.5):
        found = [{f.type for f in find_pii(e["text"]) if f.score >= least} for e in entries]
        having = [bool(got) for e, got in zip(entries, found, strict=True) if e["types"]]
        without = [bool(got) for e, got in zip(entries, found, strict=True) if not e["types"]]
        each = [t in got for e, got in zip(entries, found, strict=True) for t in e["types"]]
        yield (
            f"{'pii':16}{f'score >= {least}':16}{len(entries):>6}{'':>9}   texts with data found"
            f" {_share(having)}, false alarms {_share(without)}, data found by type {_share(each)}"
        )


def _bare(text: str) -> str:
    """The words of a text, however they are written."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _group(lang: str) -> str:
    return lang if lang in ("en", "zh") else "other"


def _share(oks: Sequence[bool]) -> str:
    return f"{sum(oks) / len(oks):.1%}" if oks else "-"


async def main(*, misses: bool) -> None:
    """Measures and prints."""
    told: list[str] = []
    print(f"{'family':16}{'model':16}{'texts':>6}{'right':>9}{'en':>9}{'zh':>9}{'other':>9}")
    for name in FAMILIES:
        for model in EMBEDDING_MODELS:
            print(await measured(name, model.name, told.append))
    print("\n".join(by_rules_alone()))
    print("short turns and ordinary requests that are none of it")
    for name in _ALARMS:
        for model in EMBEDDING_MODELS:
            print(await alarms(name, model.name, told.append))
    if misses:
        print("\n".join(told))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true")
    anyio.run(lambda: main(misses=parser.parse_args().misses))
