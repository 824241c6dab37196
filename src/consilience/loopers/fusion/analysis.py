"""The judge's analysis and its forgiving parser. Pure.

Judges wrap JSON in prose and fences, break it slightly, put it into the reasoning channel, or use
strings where objects belong. Whatever is there is saved; one bad key loses that key only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...chat.codec import Body, JsonValue, decode, encode
from ...chat.completion import Completion
from .labels import bare_label, several

ANALYSIS_KEYS = (
    "consensus",
    "contradictions",
    "partial_coverage",
    "unique_insights",
    "blind_spots",
)
MAX_ITEMS = 32
"""Items kept per list."""
MAX_CHARS = 4000
"""Characters kept per text."""
MAX_RAW = 65_536
"""Characters of a judge's reply that are looked at, or kept as `raw`."""

MAX_WRAPS = 4
"""Objects around the analysis that are looked through, the analysis itself included."""

# Possessive: without it what is left unclosed costs the square of what follows.
_FENCE = re.compile(r"```[\w-]*+(.*?)```", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
"""A JSON string; one that does not end goes to the end of the text, with an empty group."""
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_RAW_CONTROL = re.compile(r"[\x00-\x1f]")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


@dataclass(frozen=True, slots=True)
class JudgeAnalysis:
    """What the judge found. Lists hold strings, or objects of the shapes named below."""

    consensus: tuple[str, ...] = ()
    contradictions: tuple[Body, ...] = ()
    """`{topic, stances: [{model, stance}]}`"""
    partial_coverage: tuple[Body, ...] = ()
    """`{models: [..], point}`"""
    unique_insights: tuple[Body, ...] = ()
    """`{model, insight}`"""
    blind_spots: tuple[str, ...] = ()
    raw: str = field(default="", repr=False)
    """The judge's reply, when nothing could be read from it."""
    parse_failed: bool = False
    verbatim: str = field(default="", repr=False, compare=False)
    """The judge's own words, when they are this analysis and nothing else but white space."""

    @property
    def told(self) -> str:
        """The analysis as the writer reads it: verbatim where that is safe, else as compact JSON.

        In the judge's own words a prefix cache may not have to read it again: it wrote it.
        """
        return self.verbatim or encode(self.as_body()).decode()

    def as_body(self) -> dict[str, Any]:
        """The five lists; or `raw` and `parse_failed` when there are none."""
        if self.parse_failed:
            return {"raw": self.raw, "parse_failed": True}
        return {key: list(getattr(self, key)) for key in ANALYSIS_KEYS}

    def with_models(self, models: Mapping[str, str]) -> JudgeAnalysis:
        """Gives the analysis with labels replaced by the names they stand for.

        What is no label stands for nobody: it becomes an empty text, or is left out of a list.
        """
        if self.parse_failed:
            return self

        known = frozenset(models.values())

        def named(text: object) -> str:
            label = bare_label(str(text))
            # the judge knows no names: one that it writes is a guess, or an answer's wish
            return models.get(label, "" if label in known else label)

        return JudgeAnalysis(
            consensus=self.consensus,
            contradictions=tuple(
                {**c, "stances": [{**s, "model": named(s["model"])} for s in c["stances"]]}
                for c in self.contradictions
            ),
            partial_coverage=tuple(
                {**p, "models": several(p["models"], named)[:MAX_ITEMS]}
                for p in self.partial_coverage
            ),
            unique_insights=tuple({**u, "model": named(u["model"])} for u in self.unique_insights),
            blind_spots=self.blind_spots,
        )

    def without(self, word: str) -> JudgeAnalysis:
        """Gives the analysis without a word, wherever it stands; itself when it stands nowhere."""
        if word not in self.raw and word not in encode(self.as_body()).decode():
            return self
        if self.parse_failed:
            return replace(self, raw=self.raw.replace(word, ""))
        lists = {key: _each(getattr(self, key), word) for key in ANALYSIS_KEYS}
        return JudgeAnalysis(**lists)


def parse_analysis(completion: Completion) -> JudgeAnalysis:
    """Reads a judge's reply, from its content or else its reasoning. Never raises."""
    content = completion.text[:MAX_RAW]
    for text in (content, completion.reasoning[:MAX_RAW]):
        for candidate in json_candidates(text):
            analysis = _from_json(candidate)
            if analysis is not None:
                exact = candidate == analysis.as_body() and _is_exactly(content, candidate)
                return replace(analysis, verbatim=content) if exact else analysis
    return JudgeAnalysis(raw=content, parse_failed=True)


def _is_exactly(content: str, value: JsonValue) -> bool:
    """Whether the text is this JSON value, in this order, and white space: nothing said twice."""
    compact = encode(value).decode()
    if len(content) > 3 * len(compact) + 256:
        return False
    return "".join(content.split()) == "".join(compact.split())


def _from_json(value: object) -> JudgeAnalysis | None:
    """Takes what is of use from a JSON value; None when no key of ours is in it."""
    given: dict[str, Any] = {}
    for _ in range(MAX_WRAPS):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            return None
        given = {_key(k): v for k, v in value.items()}
        if any(key in given for key in ANALYSIS_KEYS):
            break
        # {"analysis": {...}}: a level of wrapping is common
        inner = [v for v in value.values() if isinstance(v, dict)]
        value = inner[0] if len(inner) == 1 else None
    else:
        return None
    lists: dict[str, Any] = {
        key: tuple(_items(given.get(key), read))[:MAX_ITEMS] for key, read in _READERS.items()
    }
    return JudgeAnalysis(**lists)


def _key(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _items(value: object, read: Callable[[object], Any]) -> Iterator[Any]:
    if isinstance(value, str | dict):
        value = [value]
    if not isinstance(value, list):
        return
    for item in value[: MAX_ITEMS * 2]:
        kept = read(item)
        if kept is not None:
            yield kept


def _text(value: object) -> str | None:
    """A text from whatever a judge put there: a string, a number, or an object's own texts."""
    if isinstance(value, str):
        return value.strip()[:MAX_CHARS] or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:MAX_CHARS]
    if isinstance(value, dict):
        parts = [t for v in value.values() if isinstance(v, str) and (t := v.strip())]
        return ": ".join(parts)[:MAX_CHARS] or None
    return None


def _contradiction(value: object) -> Body | None:
    if not isinstance(value, dict):
        topic = _text(value)
        return {"topic": topic, "stances": []} if topic else None
    given = {_key(k): v for k, v in value.items()}
    stances = given.get("stances", given.get("positions", given.get("models")))
    read = [s for s in map(_stance, _pairs(stances)) if s is not None]
    topic = _text(given.get("topic", given.get("point", given.get("issue"))))
    if topic is None and not read:
        topic = _text(value)
    return {"topic": topic or "", "stances": read[:MAX_ITEMS]} if topic or read else None


def _pairs(stances: object) -> list[object]:
    """`{"A": "yes", "B": "no"}` as well as a list of stances."""
    if isinstance(stances, dict):
        return [{"model": k, "stance": v} for k, v in stances.items()]
    return stances if isinstance(stances, list) else []


def _stance(value: object) -> Body | None:
    if isinstance(value, str):
        label, colon, text = value.partition(":")
        if colon and len(label) <= 16:
            stance = _text(text)
            return {"model": label.strip(), "stance": stance} if stance else None
        stance = _text(value)
        return {"model": "", "stance": stance} if stance else None
    if isinstance(value, dict):
        given = {_key(k): v for k, v in value.items()}
        stance = _text(given.get("stance", given.get("position", given.get("claim"))))
        if stance:
            return {"model": _label(given), "stance": stance}
    return None


def _coverage(value: object) -> Body | None:
    if not isinstance(value, dict):
        point = _text(value)
        return {"models": [], "point": point} if point else None
    given = {_key(k): v for k, v in value.items()}
    models = given.get("models", given.get("model", given.get("labels", [])))
    models = [models] if isinstance(models, str) else models
    named = [m for m in map(_text, models if isinstance(models, list) else []) if m]
    point = _text(given.get("point", given.get("insight", given.get("topic"))))
    return {"models": named[:MAX_ITEMS], "point": point} if point else None


def _insight(value: object) -> Body | None:
    if not isinstance(value, dict):
        insight = _text(value)
        return {"model": "", "insight": insight} if insight else None
    given = {_key(k): v for k, v in value.items()}
    insight = _text(given.get("insight", given.get("point", given.get("text"))))
    return {"model": _label(given), "insight": insight} if insight else None


def _label(given: Mapping[str, object]) -> str:
    return _text(given.get("model", given.get("label", given.get("answer")))) or ""


def _each(value: Any, word: str) -> Any:
    """The value without a word in its texts."""
    if isinstance(value, str):
        return value.replace(word, "")
    if isinstance(value, Mapping):
        return {key: _each(inner, word) for key, inner in value.items()}
    kind = tuple if isinstance(value, tuple) else list
    return kind(_each(inner, word) for inner in value)


_READERS: Mapping[str, Callable[[object], Any]] = {
    "consensus": _text,
    "contradictions": _contradiction,
    "partial_coverage": _coverage,
    "unique_insights": _insight,
    "blind_spots": _text,
}


def json_candidates(text: str, *, close: bool = True) -> Iterator[JsonValue]:
    """JSON values that might be what was asked for, best first.

    Args:
        text: a model's reply.
        close: whether an object that was cut off is closed and given last.
    """
    text = text.strip()
    if not text:
        return
    seen: set[str] = set()
    for attempt in _attempts(text):
        if attempt in seen or "{" not in attempt:
            continue
        seen.add(attempt)
        try:
            yield decode(attempt.encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
    closed = _closed(text) if close else None
    if closed is not None:
        yield closed


def _attempts(text: str) -> Iterator[str]:
    """Texts that may be JSON, best first; the next is looked for only when one was not."""
    yield text
    yield _repaired(text)
    for fenced in _FENCE.findall(text):
        yield fenced.strip()
        yield _repaired(fenced.strip())
    for span in _balanced(text):
        yield span
        yield _repaired(span)


def _balanced(text: str) -> Iterator[str]:
    """The outermost `{…}` spans, the last one first: judges think first and conclude after."""
    spans, depth, start, inside, escaped = [], 0, 0, False, False
    for i, char in enumerate(text):
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
        elif char == '"' and depth:
            inside = True
        elif char == "{":
            start = i if depth == 0 else start
            depth += 1
        elif char == "}" and depth:
            depth -= 1
            if depth == 0:
                spans.append(text[start : i + 1])
    yield from reversed(spans[-8:])
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last:
        yield text[first : last + 1]


def _repaired(text: str) -> str:
    """Mends what judges most often break: raw line ends, bad escapes, trailing commas."""

    def mend(match: re.Match[str]) -> str:
        inner = _ESCAPE.sub(lambda m: m.group() if m.group(1) else r"\\", match.group())
        return _RAW_CONTROL.sub(lambda m: json.dumps(m.group())[1:-1], inner)

    strings: list[str] = []

    def keep(match: re.Match[str]) -> str:
        strings.append(mend(match))
        return f'"{len(strings) - 1}"'

    bare = _STRING.sub(keep, text)
    bare = _TRAILING_COMMA.sub(r"\1", re.sub(r"//[^\n]*", "", bare))
    bare = re.sub(r"\bTrue\b", "true", bare)
    bare = re.sub(r"\bFalse\b", "false", bare)
    bare = re.sub(r"\bNone\b", "null", bare)
    return re.sub(r'"(\d+)"', lambda m: strings[int(m.group(1))], bare)


def _closed(text: str) -> object | None:
    """Reads an object that was cut off, by closing what is open at its last whole item."""
    start = text.find("{")
    if start < 0:
        return None
    body = _repaired(text[start:])
    bare = _STRING.sub(_blank, body)
    for cut in _cut_points(bare):
        whole = body[:cut] + _closers(bare[:cut])
        try:
            closed: object = decode(whole.encode("utf-8", "replace"))
            return closed
        except (ValueError, RecursionError):
            continue
    return None


def _blank(string: re.Match[str]) -> str:
    """A string of the same length without its text; nothing for one that was cut off."""
    return '"' + "_" * (len(string.group()) - 2) + '"' if string.group(1) else ""


def _cut_points(bare: str) -> Iterator[int]:
    """Ends of values outside strings, the last one first."""
    ends = [m.end() for m in re.finditer(r'"_*"|[}\]\[{]|\d(?=\s*[,}\]])', bare)]
    yield from reversed(ends[-24:])


def _closers(bare: str) -> str:
    """The brackets that are open at the end."""
    stack: list[str] = []
    for char in bare:
        if char in "{[":
            stack.append("}" if char == "{" else "]")
        elif char in "}]" and stack:
            stack.pop()
    return "".join(reversed(stack))
