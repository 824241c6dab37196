"""Events are the same however the bytes are cut; what we write breaks in no client's reader."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import decode
from consilience.chat.sse import DONE, EventTooLargeError, SSEDecoder, comment, event


def read(*pieces: bytes, limit: int = 1 << 20) -> list[bytes]:
    decoder = SSEDecoder(limit)
    events = [data for piece in pieces for data in decoder.feed(piece)]
    return events + decoder.flush()


def outcome(pieces: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    """The events that come out, and whether one was too large after them."""
    decoder, events = SSEDecoder(limit), list[bytes]()
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.flush()
    except EventTooLargeError:
        return events, True
    return events, False


def by_the_standard(text: str) -> list[str]:
    """The events of a whole stream, as the standard puts it, line by line and in no other way.

    The last one counts without the blank line that the standard asks for after it.
    """
    events, data = list[str](), list[str]()
    for line in (*re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), ""):
        field, _, value = line.partition(":")
        if not line:
            events += ["\n".join(data)] if data else []
            data = []
        elif field == "data":
            data.append(value.removeprefix(" "))
    return events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


streams = st.lists(
    st.sampled_from(
        [
            b"data: one",
            b"data:two",
            b"data:  three ",
            b"data",
            b"data:",
            b": note",
            b"event: x",
            b"id: 1",
            b"retry: 5",
            b"other: y",
            "data: \u2028\u2029\x85é".encode(),
            b"",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\r",
            b"\r\n\r\n",
            b"\xef\xbb\xbf",
            b"data: [DONE]",
        ]
    ),
    max_size=24,
).map(b"".join)


texts = st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n\ufeff\u2028\x85é漢🦉: "))
ends = st.sampled_from(["\n", "\r", "\r\n"])
lines = st.sampled_from(["data", ":", "data:", "data: ", "event: ", "id", ""])


@st.composite
def told(draw: st.DrawFn) -> str:
    """A stream of fields, comments and many-line events, each line with an end of its own."""
    mark = draw(st.sampled_from(["", "\ufeff"]))
    said = draw(st.lists(st.tuples(lines, texts, ends), max_size=20))
    return mark + "".join(name + text + end for name, text, end in said)


places = st.lists(st.integers(0, 4000), max_size=12)
limits = st.sampled_from([4, 9, 16, 40, 1 << 20])


@given(streams | told().map(str.encode) | st.binary(), places, limits)
def test_any_cut_of_the_bytes_gives_the_same_events(
    data: bytes, places: list[int], limit: int
) -> None:
    bytewise = [data[i : i + 1] for i in range(len(data))]
    whole = outcome([data], limit)
    assert outcome(cut(data, places), limit) == whole
    assert outcome(bytewise, limit) == whole


@given(told(), places)
def test_any_stream_is_read_by_the_standards_rules(text: str, places: list[int]) -> None:
    events = read(*cut(text.encode(), places))
    assert [data.decode() for data in events] == by_the_standard(text)


@given(told(), ends)
def test_the_kind_of_line_end_makes_no_difference(text: str, end: str) -> None:
    other = re.sub(r"\r\n|\r|\n", end, text)
    assert read(other.encode()) == read(text.encode())


@given(texts, st.integers(0, 400))
def test_a_character_may_be_cut_in_the_middle(text: str, place: int) -> None:
    said = text.replace("\r", "").replace("\n", "")
    pieces = cut(f"data: {said}\n\n".encode(), [place, place + 1])
    assert read(*pieces) == [said.encode()]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata: b\n\n", [b"\nb"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a", [b"a"]),
        (b": hello\n\nevent: ping\nid: 1\nretry: 3\n\ndata: a\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"datax: a\n\n", []),
        (b"\n\n\n", []),
        (b"", []),
        (b"\xef\xbb", []),
        ("data: a\u2028b\x85c\n\n".encode(), ["a\u2028b\x85c".encode()]),
    ],
)
def test_a_stream_is_read_by_the_standards_rules(data: bytes, events: list[bytes]) -> None:
    assert read(data) == events


def test_an_event_comes_out_as_soon_as_it_is_complete() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [b"a"]
    assert decoder.feed(b"\ndata: b\n") == []
    assert decoder.feed(b"\n") == [b"b"]
    assert decoder.flush() == []


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 100 + b"\n\n"],
        [b"data: " + b"x" * 100],
        [b"data: xx\n"] * 40,
        [b"data\n"] * 100,
        [b": " + b"x" * 100],
        [b"x"] * 100,
    ],
)
def test_what_grows_over_the_limit_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(EventTooLargeError, match="64 bytes"):
        read(*pieces, limit=64)


def test_what_came_before_an_event_that_is_too_large_is_given_first() -> None:
    decoder = SSEDecoder(16)
    assert decoder.feed(b"data: a\n\ndata: " + b"x" * 20) == [b"a"]
    for more in (decoder.flush, lambda: decoder.feed(b"\n\ndata: b\n\n")):
        with pytest.raises(EventTooLargeError, match="16 bytes"):
            more()


def test_the_limit_is_of_one_event_not_of_the_stream() -> None:
    assert read(*[b"data: 0123456789\n\n"] * 50, limit=20) == [b"0123456789"] * 50


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=4))
def test_what_we_write_we_read_again(bodies: list[dict[str, str]]) -> None:
    data = b"".join(
        [comment("hi"), *(event(body) + comment("still here") for body in bodies), DONE]
    )
    *events, done = read(data)
    assert [decode(e) for e in events] == bodies
    assert done == b"[DONE]"


@given(st.text())
def test_a_comment_is_one_line_whatever_its_text(text: str) -> None:
    written = comment(text)
    assert written.startswith(b": ")
    assert written.endswith(b"\n\n")
    assert len(written[:-2].decode().splitlines()) == 1
    assert read(written) == []


def test_an_event_survives_readers_that_split_at_unicode_line_ends() -> None:
    written = event({"text": "a\u2028b\u2029c\x85d"})
    assert len(written[:-2].decode().splitlines()) == 1
    assert decode(written[len("data: ") : -2]) == {"text": "a\u2028b\u2029c\x85d"}
