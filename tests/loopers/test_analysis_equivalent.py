"""However a judge wraps its analysis, the same is read; and the work grows with the text, no faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import decode
from consilience.loopers.fusion import analysis as module
from consilience.loopers.fusion.analysis import ANALYSIS_KEYS, MAX_RAW, parse_analysis
from support.fusion_parts import answered

words = (
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
    | st.sampled_from(['{"a": 1}', "``` {", "}", 'say "hi"', "C:\\dir", "// no", "1, ]", "<think>"])
).filter(lambda text: text == text.strip())
labels = st.sampled_from(["A", "B", "C"])
stances = st.fixed_dictionaries({"model": labels, "stance": words})


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=4)


analyses = st.fixed_dictionaries(
    {
        "consensus": lists(words),
        "contradictions": lists(st.fixed_dictionaries({"topic": words, "stances": lists(stances)})),
        "partial_coverage": lists(st.fixed_dictionaries({"models": lists(labels), "point": words})),
        "unique_insights": lists(st.fixed_dictionaries({"model": labels, "insight": words})),
        "blind_spots": lists(words),
    }
)
prose = st.sampled_from(
    ["", "\n", "Here it is: ", "**Analysis**\n\n", "(A) and (B) agree [mostly].\n", "\ufeff", "``"]
)
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.title,
    lambda key: key.replace("_", " "),
    lambda key: key.replace("_", "-").capitalize(),
    lambda key: f" {key} ",
)


@st.composite
def wrapped(draw: st.DrawFn, value: dict[str, Any]) -> str:
    """The analysis as one of many judges would write it."""
    keys = draw(st.permutations(ANALYSIS_KEYS))
    spell = draw(st.sampled_from(SPELLINGS))
    given_keys = [key for key in keys if value[key] or draw(st.booleans())]
    body: Any = {spell(key): value[key] for key in given_keys} or {"consensus": []}
    for name in draw(st.lists(st.sampled_from(["analysis", "result", "[]"]), max_size=3)):
        body = [body] if name == "[]" and isinstance(body, dict) else {"result": body}
        body = (
            body if isinstance(body, list) or isinstance(body["result"], dict) else body["result"]
        )
    text = json.dumps(
        body,
        indent=draw(st.sampled_from([None, 0, 2, "\t"])),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
    )
    if draw(st.booleans()):
        text = f"```{draw(st.sampled_from(['', 'json', 'JSON']))}\n{text}\n```"
    return draw(prose) + text + draw(prose)


@given(st.data())
def test_the_same_is_read_however_it_is_wrapped(data: st.DataObject) -> None:
    value = data.draw(analyses)
    text = data.draw(wrapped(value))

    assert parse_analysis(answered("j", text)).as_body() == value


@given(analyses, prose)
def test_the_same_is_read_from_either_channel(value: dict[str, Any], before: str) -> None:
    text = before + json.dumps(value)
    thought = parse_analysis(answered("j", before, message={"reasoning_content": text}))

    assert thought.as_body() == parse_analysis(answered("j", text)).as_body() == value


def work(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Steps that reading takes: lines run in the module, and bytes given to the JSON parser."""
    steps = 0

    def counted(data: bytes) -> Any:
        nonlocal steps
        steps += len(data)
        return decode(data)

    def line(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != module.__file__:
            return None
        steps += event == "line"
        return line

    before = sys.gettrace()
    with monkeypatch.context() as patched:
        patched.setattr(f"{module.__name__}.decode", counted)
        sys.settrace(line)
        try:
            parse_analysis(answered("j", text))
        finally:
            sys.settrace(before)
    return steps


MOST_STEPS = 150
"""A character: closing what was cut off is tried at 24 places, each read by us and the parser."""
UNITS = [
    "{",
    "}",
    "{}",
    "[",
    '"',
    '{"a":',
    '{"a": 1} ',
    '{"a": {"b": "}"}} ',
    "```{```",
    "```json\n{} ",
    "// {\n",
    '{"consensus": ["x" ',
    '"x",',
    '\\"',
    "1,",
    "{,}",
    '{"analysis":',
    "<think>{",
    "{'a': 1}",
    "\x00{",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("start", ["", '{"consensus": ['])
def test_twice_the_text_is_at_most_about_twice_the_work(
    unit: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 1500 // len(unit)
    once = work(start + unit * count, monkeypatch)
    twice = work(start + unit * count * 2, monkeypatch)

    assert twice <= 2.2 * once + 2000
    assert twice <= MOST_STEPS * (len(start) + len(unit) * count * 2) + 2000


@given(st.lists(st.sampled_from(UNITS) | st.text(max_size=3), max_size=30).map("".join))
def test_no_mixture_takes_much_work(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert work(text, patch) <= MOST_STEPS * len(text) + 2000


def test_what_is_beyond_the_limit_takes_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    most = work("{" * MAX_RAW, monkeypatch)

    assert work("{" * MAX_RAW * 3, monkeypatch) <= most + 100
