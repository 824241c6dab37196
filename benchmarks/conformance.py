"""The share of prompts that recipes route as they promise, and what went wrong with the others.

`python -m benchmarks.conformance FOLDER [--recipe NAME] [--min accuracy=0.9,privacy=1.0]`

FOLDER holds recipes at any depth: folders with a `config.yaml` and a `probes.yaml`. Each variant of
a probe (a `query`, or `messages`; with `tools`, made longer by `repeat`, `padding` or
`generated_text`) goes to the recipe's auto alias, and the decision that wins should be the one
that the probe names. No model is called. Ends with 0, or with 1 where a share is below `--min`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from ruamel.yaml import YAML

from consilience.chat.request import ChatRequest
from consilience.config import Config, load_config
from consilience.decisions.trace import matched_rules, obstacles
from consilience.errors import ConfigError
from consilience.router import Consideration, DecisionTrace
from consilience.signal_models import prepared_router

PROBES, CONFIG = "probes.yaml", "config.yaml"
_PASSED_ON = ("tools", "tool_choice")


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt and the decision that should win for it."""

    id: str
    expected: str
    body: Mapping[str, Any]
    """A chat-completions body without `model`."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A probe that went elsewhere."""

    probe: Probe
    got: str | None
    """None: no decision matched."""
    why: Sequence[str]
    """Which signals led there, in words."""


@dataclass(frozen=True, slots=True)
class Score:
    """How one recipe did."""

    recipe: str
    total: int
    misses: Sequence[Miss]

    @property
    def share(self) -> float:
        """0 to 1; 1 for a recipe without probes."""
        return 1 - len(self.misses) / self.total if self.total else 1.0


def recipes_in(folder: Path) -> dict[str, Path]:
    """Finds the recipes below a folder, by the name of their own folder."""
    found = sorted(path.parent for path in folder.rglob(PROBES) if (path.parent / CONFIG).is_file())
    return {path.name: path for path in found}


def probes_of(manifest: Mapping[str, Any]) -> Iterator[Probe]:
    """Gives every variant of a `probes.yaml` as a request."""
    for group in manifest["decisions"]:
        for variant in group["variants"]:
            yield Probe(
                f"{group['id']}:{variant['id']}",
                variant.get("expected_decision") or group["expected_decision"],
                request_of(variant),
            )


def request_of(variant: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the chat-completions body of a variant."""
    messages = [dict(message) for message in variant.get("messages") or ()]
    if not messages:
        messages = [{"role": "user", "content": variant["query"].strip()}]
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    _edit(messages[last], lambda text: padded(text, variant))
    filler = variant.get("generated_text")
    if filler:
        target = messages[filler.get("message_index", last)]
        at = filler.get("content_index")
        _edit(target, lambda text: filled(text, filler), at=at)
    passed_on = {name: variant[name] for name in _PASSED_ON if variant.get(name)}
    return {"messages": messages, **passed_on}


def padded(text: str, variant: Mapping[str, Any]) -> str:
    """Gives the text as often as `repeat` says, with its `padding` before, after or around it."""
    text = " ".join([text] * variant.get("repeat", 1))
    padding = variant.get("padding")
    if not padding:
        return text
    filler = " ".join([str(padding["text"]).strip()] * padding.get("repeat", 1))
    place = padding.get("placement", "before")
    before, after = place in ("before", "around"), place in ("after", "around")
    return "\n".join([filler] * before + [text] + [filler] * after)


def filled(text: str, filler: Mapping[str, Any]) -> str:
    """Gives the text followed by a character until it has `target_text_bytes` bytes of UTF-8."""
    character = str(filler.get("character") or "x")
    missing = int(filler["target_text_bytes"]) - len(text.encode())
    return text + character * max(0, missing // len(character.encode()))


def _edit(message: dict[str, Any], change: Callable[[str], str], *, at: int | None = None) -> None:
    content = message.get("content") or ""
    if isinstance(content, str):
        message["content"] = change(content)
        return
    parts = [dict(part) for part in content]
    texts = [i for i, part in enumerate(parts) if part.get("type") == "text"]
    position = at if at is not None else texts[-1]
    parts[position]["text"] = change(parts[position].get("text", ""))
    message["content"] = parts


async def score(
    recipe: str, config: Config, probes: Sequence[Probe], model: str | None = None
) -> Score:
    """Routes every probe by the configuration's first auto alias."""
    alias = config.global_.router.auto_names[0]
    misses = []
    async with prepared_router(config, embedding_model=model) as router:
        for probe in probes:
            considered = await router.consider(
                ChatRequest.from_body({**probe.body, "model": alias}), {}
            )
            if considered is None:
                raise ValueError(f"{alias!r} is a model, not an alias")
            miss = judged(probe, considered)
            misses += [miss] if miss else []
    return Score(recipe, len(probes), misses)


def judged(probe: Probe, considered: Consideration) -> Miss | None:
    """Gives what went wrong; None when the expected decision won."""
    chosen = considered.chosen
    got = chosen.name if chosen else None
    if got == probe.expected:
        return None
    expected = next((d for d in considered.decisions if d.name == probe.expected), None)
    if expected is None:
        return Miss(probe, got, [f"there is no decision {probe.expected!r}"])
    why = [f"{probe.expected}: {reason}" for reason in _reasons(considered, expected)]
    if chosen:
        rules = ", ".join(matched_rules(chosen.trace)) or "no condition"
        why.append(f"{got}: rests on {rules}")
    return Miss(probe, got, why)


def _reasons(considered: Consideration, expected: DecisionTrace) -> Iterator[str]:
    """Why the expected decision did not win: what it lacks, what it must not have, what is open."""
    if expected.matched:
        yield considered.why_not(expected)
        return
    found: dict[str, list[str]] = {}
    for node in obstacles(expected.trace):
        state = "not evaluated" if node.unknown else "matched" if node.matched else "no match"
        found.setdefault(state, []).append(f"{node.type}:{node.name}")
    for state, names in found.items():
        yield f"{state}: {', '.join(dict.fromkeys(names))}"


def report_of(scored: Score) -> Iterator[str]:
    """Gives the lines that tell of one recipe."""
    right = scored.total - len(scored.misses)
    yield f"{scored.recipe:12} {right:4} of {scored.total:4}  {scored.share:7.1%}"
    for miss in scored.misses:
        yield f"  {miss.probe.id}: expected {miss.probe.expected}, got {miss.got or 'nothing'}"
        yield from (f"      {line}" for line in miss.why)


def below(scores: Sequence[Score], least: Mapping[str, float]) -> list[str]:
    """Gives the recipes whose share is too small, or that are not there, in words."""
    shares = {scored.recipe: scored.share for scored in scores}
    return [
        f"{name}: {shares[name]:.1%} is below {share:.1%}"
        if name in shares
        else f"{name}: not there"
        for name, share in least.items()
        if shares.get(name, -1.0) < share
    ]


def least_of(text: str) -> dict[str, float]:
    """Reads `accuracy=0.9,privacy=1`.

    Raises:
        ValueError: it is not written like that.
    """
    pairs = (entry.partition("=") for entry in text.split(",") if entry.strip())
    return {name.strip(): float(share) for name, _, share in pairs}


async def run(
    folder: Path, only: str | None, least: Mapping[str, float], model: str | None = None
) -> int:
    """Scores, prints and gives the exit code."""
    recipes = recipes_in(folder)
    if only is not None:
        recipes = {name: path for name, path in recipes.items() if name == only}
    if not recipes:
        print(f"there is no recipe in {folder}", file=sys.stderr)
        return 1
    scores = []
    for name, path in recipes.items():
        try:
            config = load_config(path / CONFIG)
        except ConfigError as exc:
            print(f"{name}: {exc}", file=sys.stderr)
            return 1
        manifest = YAML(typ="safe").load(path / PROBES)
        scores.append(await score(name, config, list(probes_of(manifest)), model))
        print("\n".join(report_of(scores[-1])))
    total = sum(scored.total for scored in scores)
    right = total - sum(len(scored.misses) for scored in scores)
    print(f"{'together':12} {right:4} of {total:4}  {right / total if total else 1:7.1%}")
    too_low = below(scores, least)
    for line in too_low:
        print(line, file=sys.stderr)
    return 1 if too_low else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe")
    parser.add_argument("--min", type=least_of, default={}, dest="least")
    parser.add_argument("--model", help="an embedding model, in place of the configured one")
    options = parser.parse_args()
    sys.exit(anyio.run(run, options.folder, options.recipe, options.least, options.model))
