"""A whole answer out of the chunks that were sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.assembly import MOST_CHARACTERS, Assembly
from consilience.chat.chunks import ChunkRelay, Stamp, as_chunks
from consilience.chat.completion import Completion

CALLS = [
    {"id": f"c{i}", "type": "function", "function": {"name": f"f{i}", "arguments": '{"x": 1}'}}
    for i in range(2)
]


def assembled(*pieces: Any) -> Completion | None:
    """What comes of an upstream's chunks after the relay has made them strict."""
    relay, assembly = ChunkRelay(Stamp("id", 0, "m")), Assembly()
    for piece in pieces:
        chunk = relay.relay(piece)
        if chunk is not None:
            assembly.add(chunk)
    closing = relay.closing()
    if closing is not None:
        assembly.add(closing)
    return assembly.completion()


def delta(index: int = 0, reason: str | None = None, /, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": reason}]}


def whole(*messages: dict[str, Any], **fields: Any) -> Completion:
    choices = [
        {"index": i, "message": m, "finish_reason": "tool_calls" if "tool_calls" in m else "stop"}
        for i, m in enumerate(messages)
    ]
    return Completion({"choices": choices, **fields}, "m")


@pytest.mark.parametrize(
    "completion",
    [
        whole({"role": "assistant", "content": "one two"}, system_fingerprint="fp"),
        whole({"role": "assistant", "content": None, "tool_calls": CALLS}),
        whole({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}),
        whole({"role": "assistant", "content": "x", "reasoning_content": "thought"}),
        whole({"role": "assistant", "content": "", "refusal": "No."}),
        whole({"role": "assistant", "content": "x", "annotations": [{"type": "url"}]}),
    ],
)
def test_chunks_of_an_answer_give_the_answer(completion: Completion) -> None:
    got = assembled(*as_chunks(completion))

    assert got is not None
    assert got.model == "m"
    bodies = [dict(completion.body), dict(got.body)]
    for body in bodies:
        for choice in body["choices"]:
            for call in choice["message"].get("tool_calls") or ():
                call.pop("index", None)
    assert bodies[0] == bodies[1]


@given(st.lists(st.text(min_size=1), min_size=1))
def test_text_comes_together_however_it_was_cut(pieces: list[str]) -> None:
    got = assembled(*(delta(content=piece) for piece in pieces), delta(0, "stop"))

    assert got is not None
    assert got.body["choices"][0]["message"]["content"] == "".join(pieces)


def test_tool_calls_come_together_piece_by_piece() -> None:
    def piece(index: int, **function: str) -> dict[str, Any]:
        return {"index": index, "function": function}

    got = assembled(
        delta(tool_calls=[{**piece(0, name="f", arguments=""), "id": "c0", "type": "function"}]),
        delta(tool_calls=[piece(0, arguments='{"a"')]),
        delta(tool_calls=[{**piece(1, name="g", arguments="{}"), "id": "c1", "type": "function"}]),
        delta(tool_calls=[piece(0, arguments=": 1}")]),
        delta(0, "tool_calls"),
    )

    assert got is not None
    assert got.message["content"] is None
    assert [c["function"] for c in got.tool_calls] == [
        {"name": "f", "arguments": '{"a": 1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert [c["id"] for c in got.tool_calls] == ["c0", "c1"]


def test_log_probabilities_come_together() -> None:
    def piece(token: str) -> Any:
        chunk = delta(content=token)
        chunk["choices"][0]["logprobs"] = {"content": [{"token": token}], "refusal": None}
        return chunk

    got = assembled(piece("a"), piece("b"), delta(0, "stop"))

    assert got is not None
    assert got.choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_answer_with_parts_that_cannot_be_joined_is_given_up() -> None:
    assert assembled(delta(content="x", audio={"data": "AA"}), delta(0, "stop")) is None


def test_answer_that_is_too_long_is_given_up_and_let_go_of() -> None:
    assembly = Assembly()
    chunk = {"model": "m", **delta(content="x" * 100_000)}
    for _ in range(MOST_CHARACTERS // 100_000 + 1):
        assembly.add(chunk)

    assert (assembly.possible, assembly.completion()) == (False, None)
    assert assembly._choices == {}


def test_answer_without_an_end_is_none() -> None:
    assembly = Assembly()
    assembly.add({"model": "m", **delta(content="x")})

    assert assembly.completion() is None
    assert Assembly().completion() is None
