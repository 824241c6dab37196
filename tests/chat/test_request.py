"""A request is copied, never changed; the conversation grows without two user turns in a row."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import encode
from consilience.chat.headers import HeaderChanges
from consilience.chat.request import ChatRequest, text_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def asking(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return ChatRequest.from_body({"model": " m ", "messages": list(messages), **fields})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1).map(lambda name: f"x_{name}"), json_values))
def test_unknown_fields_stay_as_the_client_wrote_them(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [user("hi")], **fields}
    request = ChatRequest.parse(encode(body))
    assert request.body == body
    assert list(request.body) == list(body)


def test_copies_leave_the_original_alone() -> None:
    request = asking(user("hi"), plugins=[{"id": "fusion"}], seed=1)
    before = copy.deepcopy(request.body)
    request.with_user_text("more")
    request.with_instruction("be brief")
    request.without_plugins(["fusion"])
    request.replace(seed=2).without(["seed"])
    request.with_turns(user("again"))
    assert request.body == before


def test_the_model_is_read_without_space_and_sent_as_written() -> None:
    request = asking(user("hi"))
    assert (request.model, request.body["model"]) == ("m", " m ")


def test_copies_keep_the_depth_and_the_headers() -> None:
    changes = HeaderChanges(added={"x-team": "red"})
    request = asking(user("hi")).with_headers(changes).at_depth(2)
    copy = request.with_user_text("x").without(["seed"]).replace(seed=1)
    assert (copy.depth, copy.headers) == (2, changes)
    assert copy.with_headers(changes).depth == 2


def test_stream_and_include_usage_are_read() -> None:
    plain = asking(user("hi"))
    wanting = asking(user("hi"), stream=True, stream_options={"include_usage": True})
    assert (plain.stream, plain.include_usage) == (False, False)
    assert (wanting.stream, wanting.include_usage) == (True, True)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("one"), {"role": "assistant", "content": "x"}], "one"),
        ([user("one"), user("two")], "two"),
        ([user([{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}])], "a\nb"),
        ([user("old"), user([IMAGE])], ""),
        ([{"role": "system", "content": "s"}, {"role": "tool", "content": "t"}], "s\nt"),
    ],
)
def test_the_users_text_is_that_of_the_last_user_turn(messages: list[Any], text: str) -> None:
    assert asking(*messages).user_text == text


def test_text_is_appended_to_the_last_user_turn() -> None:
    request = asking({"role": "system", "content": "s"}, {**user("hi"), "name": "ann"})
    assert request.with_user_text("more").messages == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "hi\n\nmore", "name": "ann"},
    ]


def test_text_becomes_one_more_part_beside_an_image() -> None:
    request = asking(user([{"type": "text", "text": "what?"}, IMAGE]))
    (message,) = request.with_user_text("more").messages
    assert message["content"] == [
        {"type": "text", "text": "what?"},
        IMAGE,
        {"type": "text", "text": "more"},
    ]


@pytest.mark.parametrize("role", ["assistant", "tool", "system", "function"])
def test_text_becomes_a_new_turn_after_another_role(role: str) -> None:
    last = {"role": role, "content": "x"}
    assert asking(user("hi"), last).with_user_text("more").messages == [
        user("hi"),
        last,
        user("more"),
    ]


def test_an_empty_user_turn_is_replaced_by_the_text() -> None:
    request = asking({"role": "assistant", "content": "x"}, user(""))
    assert request.with_user_text("more").messages[-1] == user("more")
    none = asking({"role": "assistant", "content": "x"}, user(None))
    assert text_of(none.with_user_text("more").messages[-1]) == "more"


turns = st.lists(
    st.sampled_from(["assistant", "tool", "user"]).flatmap(
        lambda role: st.fixed_dictionaries({"role": st.just(role), "content": st.text(min_size=1)})
    ),
    min_size=1,
    max_size=6,
)


@given(turns, st.text(min_size=1))
def test_appending_never_makes_two_user_turns_meet(messages: list[Any], text: str) -> None:
    def meetings(roles: list[str]) -> int:
        return sum(pair == ("user", "user") for pair in pairwise(roles))

    request = ChatRequest({"model": "m", "messages": messages})
    grown = request.with_user_text(text)
    assert meetings([m["role"] for m in grown.messages]) == meetings([m["role"] for m in messages])
    assert text_of(grown.messages[-1]).endswith(text)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"role": "system", "content": "own"}, {"role": "system", "content": "be brief\n\nown"}),
        ({"role": "developer", "content": "o"}, {"role": "developer", "content": "be brief\n\no"}),
        (
            {"role": "system", "content": [{"type": "text", "text": "own"}]},
            {
                "role": "system",
                "content": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "own"}],
            },
        ),
    ],
)
def test_an_instruction_goes_in_front_of_the_clients_own(first: Any, expected: Any) -> None:
    assert asking(first, user("hi")).with_instruction("be brief").messages == [expected, user("hi")]


def test_an_instruction_becomes_the_first_turn_where_there_is_none() -> None:
    messages = asking(user("hi")).with_instruction("be brief").messages
    assert messages == [{"role": "system", "content": "be brief"}, user("hi")]


def test_the_first_plugin_with_the_id_counts_and_its_id_is_trimmed() -> None:
    entries = [{"id": "web"}, {"id": " fusion ", "x": 1}, {"id": "fusion", "x": 2}]
    request = asking(user("hi"), plugins=entries)
    assert request.plugin(["fusion", "openrouter:fusion"]) == entries[1]
    assert request.plugin(["other"]) is None


def test_only_the_plugins_of_others_travel_on() -> None:
    request = asking(user("hi"), plugins=[{"id": "web"}, {"id": "fusion"}])
    assert request.without_plugins(["fusion"]).body["plugins"] == [{"id": "web"}]
    assert "plugins" not in request.without_plugins(["fusion", "web"]).body
    assert "plugins" not in asking(user("hi"), plugins=None).without_plugins(["fusion"]).body
    bare = asking(user("hi"))
    assert bare.without_plugins(["fusion"]) is bare
