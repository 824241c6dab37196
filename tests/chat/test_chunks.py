"""Whatever an upstream streams, the client gets one strict stream: the relay's promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.chunks import ChunkRelay, Stamp, as_chunks, finished_choices
from consilience.chat.completion import Completion, Usage

STAMP = Stamp("chatcmpl-1", 7, "judge")


def delta(fields: Mapping[str, Any], index: Any = 0, reason: Any = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": reason}]}


def relayed(*chunks: Mapping[str, Any]) -> list[dict[str, Any]]:
    relay = ChunkRelay(STAMP)
    sent = [out for chunk in chunks if (out := relay.relay(chunk)) is not None]
    closing = relay.closing()
    assert relay.closing() is None
    return [*sent, closing] if closing else sent


def choices(*chunks: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [choice for out in relayed(*chunks) for choice in out["choices"]]


def assembled(sent: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a client's accumulator makes of a stream."""
    answers: dict[int, dict[str, Any]] = {}
    for choice in (c for out in sent for c in out["choices"]):
        answer = answers.setdefault(choice["index"], {"content": "", "calls": {}, "reason": None})
        answer["content"] += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls") or ():
            kept = answer["calls"].setdefault(call["index"], {"id": None, "arguments": ""})
            kept["id"] = call.get("id") or kept["id"]
            kept["arguments"] += call.get("function", {}).get("arguments", "")
        answer["reason"] = choice["finish_reason"] or answer["reason"]
    return answers


values = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.lists(st.none())
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": values,
        "content": values,
        "tool_calls": values
        | st.lists(st.fixed_dictionaries({}, optional={"index": values, "id": values}), max_size=2),
        "reasoning_content": values,
        "refusal": values,
        "function_call": values,
        "new": values,
    },
)
hostile_chunks = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "created": values,
        "model": values,
        "object": values,
        "error": values,
        "fusion": values,
        "usage": values | st.just({"prompt_tokens": 3}),
        "x": values,
        "choices": values
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": values,
                    "delta": deltas | values,
                    "finish_reason": st.none() | st.sampled_from(["", "stop", "length"]),
                    "logprobs": st.none(),
                },
            )
            | values,
            max_size=3,
        ),
    },
)


@given(st.lists(hostile_chunks, max_size=8))
def test_any_upstream_becomes_a_strict_stream(chunks: list[dict[str, Any]]) -> None:
    begun: set[int] = set()
    ended: set[int] = set()
    for out in relayed(*chunks):
        assert (out["id"], out["created"], out["model"]) == ("chatcmpl-1", 7, "judge")
        assert out["object"] == "chat.completion.chunk"
        assert not out.keys() & {"usage", "fusion", "error"}
        for choice in out["choices"]:
            index = choice["index"]
            assert type(index) is int
            assert isinstance(choice["delta"], dict)
            assert index not in ended
            assert ("role" in choice["delta"]) == (index not in begun)
            for call in choice["delta"].get("tool_calls", ()):
                assert type(call["index"]) is int
            begun.add(index)
            if choice["finish_reason"]:
                ended.add(index)
    assert begun == ended


def test_the_first_chunk_of_a_choice_carries_role_and_content() -> None:
    first, second, end = choices(
        delta({"role": "assistant", "content": ""}),
        delta({"content": "Hi"}),
        delta({"content": " you", "role": "assistant"}),
        delta({}, reason="stop"),
    )
    assert first == {
        "index": 0,
        "delta": {"role": "assistant", "content": "Hi"},
        "finish_reason": None,
    }
    assert second["delta"] == {"content": " you"}
    assert end == {"index": 0, "delta": {}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": []},
        {"choices": [], "prompt_filter_results": [1]},
        {},
        {"choices": 5},
        {"choices": None},
    ],
)
def test_a_chunk_without_choices_is_not_passed_on(chunk: dict[str, Any]) -> None:
    assert relayed(chunk) == []


def test_each_of_several_choices_begins_and_ends_once() -> None:
    sent = relayed(
        delta({"content": "a"}),
        delta({"content": "b"}, index=1),
        delta({}, reason="stop"),
        delta({"content": "late"}),
        delta({}, reason="stop"),
        delta({}, index=1, reason="length"),
    )
    assert assembled(sent) == {
        0: {"content": "a", "calls": {}, "reason": "stop"},
        1: {"content": "b", "calls": {}, "reason": "length"},
    }
    roles = [c["delta"].get("role") for out in sent for c in out["choices"]]
    assert roles == ["assistant", "assistant", None, None]


def test_a_stream_without_finish_reasons_is_closed() -> None:
    sent = relayed(
        delta({"content": "a"}),
        delta({"tool_calls": [{"id": "1", "function": {"name": "f"}}]}, index=2),
    )
    assert [(c["index"], c["finish_reason"]) for c in sent[-1]["choices"]] == [
        (0, "stop"),
        (2, "tool_calls"),
    ]


def test_stop_after_tool_calls_is_put_right() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    *_, end = choices(delta({"tool_calls": [call]}), delta({}, reason="stop"))
    assert end["finish_reason"] == "tool_calls"
    *_, length = choices(delta({"tool_calls": [call]}), delta({}, reason="length"))
    assert length["finish_reason"] == "length"
    *_, text = choices(delta({"content": "x", "tool_calls": []}), delta({}, reason="stop"))
    assert text["finish_reason"] == "stop"


def test_tool_calls_without_index_are_told_apart_by_their_ids() -> None:
    sent = relayed(
        delta({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "1"}}]}),
        delta({"tool_calls": [{"function": {"arguments": "2"}}]}),
        delta({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "3"}}]}),
        delta({}, reason="tool_calls"),
    )
    assert assembled(sent)[0]["calls"] == {
        0: {"id": "a", "arguments": "12"},
        1: {"id": "b", "arguments": "3"},
    }


def test_reasoning_and_fields_nobody_has_heard_of_pass() -> None:
    thought, noted, _ = choices(
        delta({"reasoning_content": "hm"}),
        delta({"annotations": [{"url": "u"}], "content": None}),
        delta({}, reason="stop"),
    )
    assert thought["delta"] == {"role": "assistant", "content": "", "reasoning_content": "hm"}
    assert noted["delta"]["annotations"] == [{"url": "u"}]


def test_top_level_fields_pass_but_ours_and_the_upstreams_identity_do_not() -> None:
    chunk = delta({"content": "a"}) | {
        "id": "up",
        "model": "up",
        "created": 1,
        "system_fingerprint": "fp",
        "service_tier": None,
        "fusion": {"forged": True},
        "error": {"message": "secret"},
        "usage": {"prompt_tokens": 1},
    }
    out, _ = relayed(chunk)
    assert out.keys() == {"id", "object", "created", "model", "choices", "system_fingerprint"}


def test_of_cumulative_usage_the_last_counts_and_nonsense_does_not() -> None:
    relay = ChunkRelay(STAMP)
    for tokens in (1, 2, 3):
        relay.relay(delta({"content": "a"}) | {"usage": {"completion_tokens": tokens}})
    relay.relay({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}})
    relay.relay({"choices": [], "usage": "lots"})
    assert relay.usage == Usage(5, 4, 9)


def test_a_whole_completion_survives_as_chunks() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "id": "up",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi"},
                "finish_reason": "length",
                "logprobs": {"content": [1]},
            },
            {
                "index": 1,
                "message": {"content": None, "tool_calls": [call]},
                "finish_reason": "stop",
            },
            {"message": {"content": "third"}},
        ],
    }
    relay = ChunkRelay(STAMP)
    given = as_chunks(Completion(body, "judge", Usage(1, 2, 3)))
    sent = [out for chunk in given if (out := relay.relay(chunk))]
    assert assembled(sent) == {
        0: {"content": "Hi", "calls": {}, "reason": "length"},
        1: {"content": "", "calls": {0: {"id": "1", "arguments": "{}"}}, "reason": "tool_calls"},
        2: {"content": "third", "calls": {}, "reason": "stop"},
    }
    assert sent[0]["choices"][0]["logprobs"] == {"content": [1]}
    assert {out["system_fingerprint"] for out in sent} == {"fp"}
    assert relay.usage == Usage(1, 2, 3)
    assert relay.closing() is None


def test_finished_choices_are_indexed_and_put_right_without_changing_the_body() -> None:
    body = {
        "choices": [
            {"message": {"tool_calls": [{"id": "1"}]}, "finish_reason": "stop", "x": 1},
            {"index": 5, "message": {"content": "a"}, "finish_reason": "stop"},
        ]
    }
    fixed = finished_choices(body)
    assert [(c["index"], c["finish_reason"]) for c in fixed] == [(0, "tool_calls"), (5, "stop")]
    assert fixed[0]["x"] == 1
    assert body["choices"][0]["finish_reason"] == "stop"
