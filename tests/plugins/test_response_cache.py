"""Plugin `response_cache`: which requests are equal, whose answers they get, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from consilience.chat.completion import Completion, Usage
from consilience.plugins.answers import ENTRY_BYTES, Answers
from consilience.plugins.base import Call, PluginBinding
from consilience.plugins.response_cache import ResponseCache, ResponseCacheSettings
from support.plugin_parts import plugin, request


class Clock:
    """A time of day that tests set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def answer(text: str = "kept", **choice: Any) -> Completion:
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    return Completion({"id": "x", "choices": choices}, "small", Usage(3, 4, 7))


def call(*messages: Any, headers: Mapping[str, str] | None = None, **fields: Any) -> Call:
    return Call(request(*(messages or ("hi",)), **fields), headers or {})


def cache(clock: Clock | None = None, keyed: bool = False, **configuration: Any) -> Any:
    answers = Answers(max_entries=9, max_bytes=1 << 20, clock=clock or Clock())
    binding = PluginBinding(recipe="r", decision="d", shared=answers, keyed=keyed)
    return plugin("response_cache", binding, **configuration)


def hits(bound: Any, first: Call, second: Call) -> bool:
    """Whether the second call gets what was kept for the first."""
    bound.keep(first, answer())
    return bound.answer(second) is not None


def test_equal_request_gets_the_answer() -> None:
    bound = cache()
    assert bound.answer(call()) is None

    bound.keep(call(), answer())

    given = bound.answer(call())
    assert (given.completion.text, given.completion.model) == ("kept", "small")
    assert given.completion.usage == Usage(3, 4, 7)
    assert given.headers == {"x-vsr-response-path": "cache", "x-vsr-cache-hit": "true"}


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True, "stream_options": {"include_usage": True}},
        {"user": "someone"},
        {"metadata": {"trace": "1"}},
    ],
)
def test_what_does_not_change_the_answer_does_not_count(fields: dict[str, Any]) -> None:
    assert hits(cache(), call(), call(**fields))


def test_order_of_keys_does_not_count() -> None:
    first = call(response_format={"type": "x", "a": 1}, seed=2**70)
    second = call(seed=2**70, response_format={"a": 1, "type": "x"})

    assert hits(cache(), first, second)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5},
        {"seed": 1},
        {"model": "other"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"plugins": [{"id": "fusion", "temperature": 0}]},
        {"max_tokens": 5},
        {"unknown": None},
    ],
)
def test_everything_else_counts(fields: dict[str, Any]) -> None:
    assert not hits(cache(), call(), call(**fields))


def test_conversation_counts_to_the_letter() -> None:
    assert not hits(cache(), call("hi"), call("hi "))
    assert not hits(cache(), call("a", "b"), call("a\nb"))


ALICE, BOB = {"x-authz-user-id": "alice"}, {"x-authz-user-id": "bob"}
KEY_A, KEY_B = {"authorization": "Bearer a"}, {"authorization": "Bearer b"}


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (KEY_A, KEY_B),
        ({**KEY_A, **ALICE}, {**KEY_A, **BOB}),
        ({**KEY_A, **ALICE}, {**KEY_B, **ALICE}),
        ({**KEY_A, **ALICE}, KEY_A),
        (KEY_A, {}),
    ],
)
def test_user_does_not_get_what_another_got(
    keyed: bool, first: Mapping[str, str], second: Mapping[str, str]
) -> None:
    assert not hits(cache(keyed=keyed), call(headers=first), call(headers=second))
    assert not hits(cache(keyed=keyed), call(headers=second), call(headers=first))


def test_user_cannot_be_spelt_by_mixing_key_and_name() -> None:
    first = {"authorization": 'a","b', "x-authz-user-id": "c"}
    second = {"authorization": "a", "x-authz-user-id": 'b","c'}

    assert not hits(cache(), call(headers=first), call(headers=second))


def test_user_gets_what_the_same_one_got() -> None:
    assert hits(cache(keyed=True), call(headers=KEY_A), call(headers=KEY_A))
    assert hits(cache(), call(headers=ALICE), call(headers=ALICE))


def test_nobody_in_particular_is_one_caller_only_where_no_client_has_a_key() -> None:
    assert hits(cache(keyed=False), call(), call())
    assert not hits(cache(keyed=True), call(), call())
    assert not hits(cache(keyed=True), call(headers=ALICE), call(headers=ALICE))


def test_user_header_is_that_of_the_configuration() -> None:
    answers = Answers(max_entries=9, max_bytes=1 << 20)
    bound = plugin("response_cache", PluginBinding(shared=answers, user_header="x-me"))

    assert not hits(bound, call(headers={"x-me": "a"}), call(headers={"x-me": "b"}))
    assert hits(bound, call(headers={"x-me": "a"}), call(headers={"x-me": "a", **BOB}))


@pytest.mark.parametrize("scope", ["team", "tenant"])
def test_shared_scope_goes_by_its_header_and_without_one_nothing_is_cached(scope: str) -> None:
    red, blue = ({f"x-authz-{scope}-id": name} for name in ("red", "blue"))

    assert hits(cache(scope=scope), call(headers={**red, **ALICE}), call(headers={**red, **BOB}))
    assert not hits(cache(scope=scope), call(headers=red), call(headers=blue))
    assert not hits(cache(scope=scope), call(headers=ALICE), call(headers=ALICE))


def test_global_scope_is_everybodys() -> None:
    assert hits(cache(scope="global", keyed=True), call(headers=KEY_A), call(headers=KEY_B))


def test_decisions_recipes_and_revisions_have_caches_of_their_own() -> None:
    answers = Answers(max_entries=9, max_bytes=1 << 20)

    def bound(recipe: str, decision: str, **revision: str) -> Any:
        binding = PluginBinding(recipe=recipe, decision=decision, shared=answers)
        return plugin("response_cache", binding, revision=revision)

    bound("r", "d").keep(call(), answer())

    assert bound("r", "d").answer(call()) is not None
    assert bound("r", "e").answer(call()) is None
    assert bound("q", "d").answer(call()) is None
    assert bound("r", "d", cache_epoch="2").answer(call()) is None


@pytest.mark.parametrize("reason", ["length", "content_filter", None])
def test_answer_that_did_not_come_to_its_end_is_not_kept(reason: str | None) -> None:
    bound = cache()

    bound.keep(call(), answer(finish_reason=reason))

    assert bound.answer(call()) is None


def test_answer_is_kept_when_every_choice_ended() -> None:
    bound, whole = cache(), answer()
    cut = {**whole.choice, "index": 1, "finish_reason": "length"}

    bound.keep(call("two"), Completion({"choices": [whole.choice, cut]}, "small"))
    bound.keep(call("tools"), answer(finish_reason="tool_calls"))

    assert bound.answer(call("two")) is None
    assert bound.answer(call("tools")) is not None


@pytest.mark.parametrize("text", ["", " \n\t", "<think>hm</think>\n", None])
def test_answer_that_says_nothing_is_not_kept(text: Any) -> None:
    bound, whole = cache(), answer()

    bound.keep(call(), answer(text))
    bound.keep(call("two"), Completion({"choices": [whole.choice, answer(text).choice]}, "small"))

    assert bound.answer(call()) is None
    assert bound.answer(call("two")) is None


def test_answer_that_calls_a_tool_says_something() -> None:
    bound = cache()
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    bound.keep(call(), answer(message={"content": None, "tool_calls": calls}))

    assert bound.answer(call()) is not None


def test_what_is_handed_out_cannot_be_changed_for_the_next() -> None:
    bound = cache()
    bound.keep(call(), answer())

    bound.answer(call()).completion.body["choices"][0]["message"]["content"] = "poison"

    assert bound.answer(call()).completion.text == "kept"


def test_answer_is_given_until_it_is_too_old() -> None:
    clock = Clock()
    bound = cache(clock, ttl_seconds=60)
    bound.keep(call(), answer())

    clock.now += 59.9
    assert bound.answer(call()) is not None
    clock.now += 0.1
    assert bound.answer(call()) is None


def controlled(clock: Clock | None = None, **controls: Any) -> Any:
    return cache(clock, ttl_seconds=60, request_controls={"enabled": True, **controls})


def saying(directives: str) -> Call:
    return call(headers={"x-vsr-cache-control": directives})


@pytest.mark.parametrize(
    ("directives", "reads", "writes"),
    [
        ("no-cache", False, True),
        ("no-store", True, False),
        ("bypass", False, False),
        ("NO-CACHE, no-store", False, False),
        ("ttl=0", True, False),
        ("nonsense", True, True),
    ],
)
def test_directives_say_what_a_request_does_with_the_cache(
    directives: str, reads: bool, writes: bool
) -> None:
    reading, writing = controlled(), controlled()
    reading.keep(call(), answer())
    writing.keep(saying(directives), answer())

    assert (reading.answer(saying(directives)) is not None) is reads
    assert (writing.answer(call()) is not None) is writes


def test_max_age_bounds_what_is_taken() -> None:
    clock = Clock()
    bound = controlled(clock)
    bound.keep(call(), answer())
    clock.now += 10

    assert bound.answer(saying("max-age=9")) is None
    assert bound.answer(saying("max-age=10")) is not None


@pytest.mark.parametrize(("most", "kept_s"), [(None, 60), (100, 100), (1000, 500)])
def test_ttl_of_a_request_is_bounded(most: int | None, kept_s: int) -> None:
    clock = Clock()
    bound = controlled(clock, max_ttl_seconds=most)
    bound.keep(saying("ttl=500"), answer())

    clock.now += kept_s - 1
    assert bound.answer(call()) is not None
    clock.now += 1
    assert bound.answer(call()) is None


def test_directives_that_are_not_allowed_are_named_and_have_no_effect() -> None:
    bound = controlled(allowed=["no-store"])
    bound.keep(call(), answer())
    asked = saying("no-cache, max-age=x, no-store")

    assert bound.remarks(asked) == [
        "cache directive no-cache is not acted on",
        "cache directive max-age is not acted on",
    ]
    assert bound.answer(asked) is not None


def test_directives_count_for_nothing_unless_they_are_switched_on() -> None:
    bound = cache()
    bound.keep(saying("no-store"), answer())

    assert bound.answer(saying("no-cache")) is not None
    assert bound.remarks(saying("no-cache")) == []


def test_switched_off_store_switches_every_cache_off_and_says_so() -> None:
    settings = ResponseCacheSettings(enabled=False)
    bound = plugin("response_cache", PluginBinding(settings=settings))

    assert not hits(bound, call(), call())
    assert "enabled is false" in bound.warnings()[0]
    assert bound.effect(request("hi")) == "is switched off"


def test_store_of_the_settings_is_used() -> None:
    answers = ResponseCache.share(ResponseCacheSettings(max_entries=1))
    bound = plugin("response_cache", PluginBinding(shared=answers))

    assert not hits(bound, call("a"), call("b"))
    bound.keep(call("b"), answer())
    assert (bound.answer(call("a")), len(answers)) == (None, 1)


def test_other_modes_and_backends_are_warnings() -> None:
    assert "works as exact" in plugin("response_cache", mode="semantic").warnings()[0]
    assert "in memory" in ResponseCacheSettings(backend_type="redis").warnings()[0]
    assert ResponseCacheSettings().warnings() == ()


def test_effect_says_whose_answers_and_how_old() -> None:
    assert cache(ttl_seconds=7200).effect(request("hi")) == (
        "gives again what the same user got for an equal request, up to 7,200 s old"
    )
    assert "anybody got" in cache(scope="global").effect(request("hi"))


def test_oldest_answer_goes_first() -> None:
    answers = Answers(max_entries=2, max_bytes=1 << 20)
    for key in (b"a", b"b"):
        answers.put(key, answer(), ttl_s=9)
    answers.get(b"a")

    answers.put(b"c", answer(), ttl_s=9)

    assert [answers.get(key) is not None for key in (b"a", b"b", b"c")] == [False, True, True]


def test_least_recently_used_answer_goes_first_with_lru() -> None:
    answers = Answers(max_entries=2, max_bytes=1 << 20, eviction="lru")
    for key in (b"a", b"b"):
        answers.put(key, answer(), ttl_s=9)
    answers.get(b"a")

    answers.put(b"c", answer(), ttl_s=9)

    assert [answers.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_bytes_are_bounded_whatever_the_number() -> None:
    answers = Answers(max_entries=10_000, max_bytes=100_000)

    for i in range(1000):
        answers.put(b"%d" % i, answer("x" * 1000), ttl_s=9)

    assert answers.size <= 100_000
    assert 50 < len(answers) < 100
    assert answers.get(b"999") is not None


def test_answer_that_is_too_large_is_not_kept_and_the_old_one_goes() -> None:
    answers = Answers(max_entries=9, max_bytes=1 << 30)
    answers.put(b"a", answer(), ttl_s=9)

    answers.put(b"a", answer("x" * ENTRY_BYTES), ttl_s=9)

    assert (answers.get(b"a"), len(answers), answers.size) == (None, 0, 0)


def test_same_key_takes_the_place_of_the_old_answer() -> None:
    answers = Answers(max_entries=9, max_bytes=1 << 20)
    for text in ("old", "new"):
        answers.put(b"a", answer(text), ttl_s=9)
    size = answers.size
    kept = answers.get(b"a")

    assert kept is not None
    assert (kept.text, len(answers)) == ("new", 1)
    answers.put(b"a", answer("new"), ttl_s=9)
    assert answers.size == size
