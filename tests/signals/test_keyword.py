from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.chat.request import ChatRequest
from consilience.signals.base import RequestFacts, SignalResult
from consilience.signals.keyword import Keyword, KeywordRule
from consilience.signals.patterns import literal


def result(text: str, keywords: Sequence[str], **fields: Any) -> SignalResult:
    rule = KeywordRule.model_validate({"name": "rule", "keywords": list(keywords), **fields})
    request = ChatRequest({"model": "m", "messages": [{"role": "user", "content": text}]})
    return Keyword([rule]).find(RequestFacts(request))["rule"]


def found(text: str, *keywords: str, **fields: Any) -> bool:
    return result(text, keywords, **fields).matched


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("secret", "a secret"),
        ("secret", "SECRET!"),
        ("secret", "(secret)"),
        ("trade-off", "the trade-off is"),
        ("pros and cons", "Pros and cons?"),
        ("1.0", "version 1.0 is out"),
        ("*", "a * b"),
        ("*", "a*b"),
        ("C++", "in C++ please"),
        ("café", "le café est là"),
        ("比较", "请你比较一下这两个"),
        ("カメラ", "新しいカメラを買う"),
        ("비교", "두 개를 비교해줘"),
        ("python", "用Python写一个"),
        ("python", "Pythonで書いて"),
        ("STRASSE", "die strasse"),
        ("that's wrong", "No, that's wrong."),
    ],
)
def test_literal_matches_when_it_stands_as_a_word(keyword: str, text: str) -> None:
    assert found(text, keyword)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("secret", "the secretary"),
        ("secret", "top_secret"),
        ("secret", "secret7"),
        ("1.0", "version 110"),
        ("1.0", "version 11.02"),
        ("café", "les cafés"),
        ("naïve", "naïvely"),
        ("caf", "café"),
        ("a.c", "abc"),
        ("C++", "in C"),
        ("pros and cons", "pros  and cons"),
    ],
)
def test_literal_does_not_match_when_it_is_part_of_something_else(keyword: str, text: str) -> None:
    assert not found(text, keyword)


def test_regex_has_no_boundaries_when_the_method_is_spelled_out() -> None:
    assert found("answer briefly", "brief", method="regex")
    assert not found("answer briefly", "brief")


def test_regex_is_a_pattern_when_the_method_is_spelled_out() -> None:
    assert found("fix bug #123", r"#\d{3}\b", method="regex")
    assert not found("fix bug #12", r"#\d{3}\b", method="regex")


def test_inline_flags_stay_with_their_pattern_when_patterns_are_joined() -> None:
    patterns = ("(?-i)ABC", "xyz")
    assert found("XYZ", *patterns, method="regex")
    assert not found("abc", *patterns, method="regex")


@pytest.mark.parametrize(
    ("patterns", "hit"),
    [
        ((r"(?P<n>ab)", r"(?P<n>cd)"), "xxcdxx"),
        ((r"\Q(ab", r"\Qcd\E"), "xxcdxx"),
        ((r"\Q(ab", r"\Qcd\E"), "xx(abxx"),
        ((r"x1\pL{300}", r"x2\pL{300}"), "x2" + "é" * 300),
    ],
)
def test_patterns_are_alternatives_when_they_are_hard_to_join(
    patterns: tuple[str, str], hit: str
) -> None:
    assert found(hit, *patterns, method="regex")
    assert not found("xyz", *patterns, method="regex")


@pytest.mark.parametrize("fields", [{}, {"method": "regex"}])
def test_case_counts_only_when_asked_for(fields: dict[str, Any]) -> None:
    assert found("JSON", "json", **fields)
    assert not found("JSON", "json", case_sensitive=True, **fields)
    assert found("json", "json", case_sensitive=True, **fields)


@pytest.mark.parametrize(
    ("operator", "neither", "one", "both"),
    [
        ("AND", False, False, True),
        ("and", False, False, True),
        ("OR", False, True, True),
        ("NOR", True, False, False),
    ],
)
def test_operator_decides_when_some_keywords_occur(
    operator: str, neither: bool, one: bool, both: bool
) -> None:
    texts = ("gamma", "alpha only", "alpha and beta")
    expected = [neither, one, both]
    assert [found(text, "alpha", "beta", operator=operator) for text in texts] == expected


def test_result_names_the_configured_keyword_when_it_occurs() -> None:
    assert result("please COMPARE them", ["contrast", "Compare"]).detail == {"keyword": "Compare"}
    assert result("briefly", ["long", "brie."], method="regex").detail == {"keyword": "brie."}


@given(st.text(alphabet="abAB é1_ .*+?()[]\\比ß-", min_size=1, max_size=12).filter(str.strip))
def test_literal_matches_itself_when_it_is_the_whole_text(keyword: str) -> None:
    assert found(keyword, keyword)
    assert found(f"x {keyword} y", keyword)


@given(
    st.text(alphabet="ab.*+(", min_size=1, max_size=5).filter(str.strip),
    st.text(alphabet="ab.*+( ", min_size=1, max_size=20).filter(str.strip),
)
def test_literal_agrees_with_a_search_by_hand_when_the_text_is_ascii(
    keyword: str, text: str
) -> None:
    def is_bounded(start: int) -> bool:
        end = start + len(keyword)
        before, after = text[max(start - 1, 0) : start], text[end : end + 1]
        return not (
            (keyword[0].isalnum() and before.isalnum())
            or (keyword[-1].isalnum() and after.isalnum())
        )

    starts = (i for i in range(len(text)) if text.startswith(keyword, i))
    assert found(text, keyword) == any(map(is_bounded, starts))


@pytest.mark.parametrize(
    "pattern",
    [
        "(x+x+)+y",
        "(a*)*b",
        "(a|aa)+$",
        "(a|a)*b",
        "(.*a){20}",
        "(a|b)*a(a|b){100}",
        "([a-z]+)+!",
        literal("aaaa"),
        literal("secret"),
    ],
)
@pytest.mark.parametrize("character", ["a", "x", " ", "比"])
@pytest.mark.timeout(10)
def test_search_ends_when_the_text_repeats_one_character(pattern: str, character: str) -> None:
    text = character * 100_000
    expected = {
        ("(a|aa)+$", "a"): True,
        ("(.*a){20}", "a"): True,
        ("(a|b)*a(a|b){100}", "a"): True,
    }.get((pattern, character), False)
    assert found(text, pattern, method="regex") is expected


def test_all_words_of_a_big_rule_are_found_when_they_are_many() -> None:
    keywords = [f"keyword number {i} é" for i in range(2000)]
    assert found("this is keyword number 1999 é", *keywords)
    assert not found("this is keyword number 2000 é", *keywords)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        (r"(?=a)b", "Look-ahead"),
        (r"(?<!a)b", "look-behind"),
        (r"(a)\1", "Back-references"),
        (r"(unclosed", "does not compile"),
    ],
)
def test_pattern_is_refused_when_re2_cannot_run_it(pattern: str, hint: str) -> None:
    with pytest.raises(ValidationError, match=hint) as caught:
        KeywordRule.model_validate(
            {"name": "r", "method": "regex", "keywords": ["fine", pattern, "also fine"]}
        )
    assert [error["loc"] for error in caught.value.errors()] == [("keywords", 1)]


def test_every_bad_keyword_is_reported_when_there_are_several() -> None:
    with pytest.raises(ValidationError) as caught:
        KeywordRule.model_validate({"name": "r", "keywords": ["", "fine", "x" * 2001]})
    assert [error["loc"] for error in caught.value.errors()] == [("keywords", 0), ("keywords", 2)]


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"keywords": []}, "keywords"),
        ({"keywords": ["x"] * 2001}, "keywords"),
        ({"keywords": ["x" * 1999] * 30}, "keywords"),
        ({"keywords": ["x"], "operator": "XOR"}, "operator"),
        ({"keywords": ["x"], "method": "soundex"}, "method"),
        ({"keywords": ["x"], "keyword": "y"}, "keyword"),
    ],
)
def test_rule_is_refused_when_it_cannot_work(fields: dict[str, Any], location: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KeywordRule.model_validate({"name": "r", **fields})
    assert [error["loc"][0] for error in caught.value.errors()] == [location]


@pytest.mark.parametrize(
    ("fields", "text", "keyword"),
    [
        ({"method": "fuzzy"}, "the credti card", "credit"),
        ({"method": "fuzzy"}, "my social securty number", "social security"),
        ({"method": "fuzzy", "fuzzy_threshold": 82}, "my pasword is", "password"),
        ({"method": "fuzzy", "fuzzy_threshold": 82}, "an API keys list", "api key"),
        ({"fuzzy_match": True}, "an emergancy", "emergency"),
        ({"method": "regex", "fuzzy_match": True}, "emergancy", "emergency"),
        ({"method": "bm25"}, "debugging several functions", "function"),
        ({"method": "ngram"}, "an emergancy here", "emergency"),
        ({"method": "ngram"}, "machine lerning", "machine learning"),
        ({"method": "ngram"}, "请紧急处理", "紧急"),
    ],
)
def test_keyword_is_found_when_it_is_written_a_little_differently(
    fields: dict[str, Any], text: str, keyword: str
) -> None:
    found = result(text, ["zebra", keyword], **fields)
    assert (found.matched, found.detail) == (True, {"keyword": keyword})


@pytest.mark.parametrize(
    ("fields", "text", "keyword"),
    [
        ({"method": "fuzzy"}, "at an ox", "ai"),
        ({"method": "fuzzy", "fuzzy_threshold": 1}, "my passport is", "password"),
        ({"method": "fuzzy", "fuzzy_threshold": 82}, "my passport is", "password"),
        ({"method": "fuzzy", "case_sensitive": True}, "EMERGENCY", "emergency"),
        ({"method": "fuzzy"}, "", "emergency"),
        ({"method": "bm25"}, "the end of the day", "state of the art"),
        ({"method": "bm25", "bm25_threshold": 9.5}, "a function", "function"),
        ({"method": "ngram"}, "the agent left", "urgent"),
        ({"method": "ngram", "ngram_threshold": 0.9}, "an emergancy here", "emergency"),
    ],
)
def test_keyword_is_not_found_when_another_word_is_meant(
    fields: dict[str, Any], text: str, keyword: str
) -> None:
    assert not result(text, [keyword], **fields).matched


@pytest.mark.parametrize("method", ["fuzzy", "bm25", "ngram"])
@pytest.mark.parametrize(
    ("operator", "expected"),
    [("AND", [False, False, True]), ("OR", [False, True, True]), ("NOR", [True, False, False])],
)
def test_operator_decides_when_the_method_is_approximate(
    method: str, operator: str, expected: list[bool]
) -> None:
    texts = ("nothing here", "functions", "functions and databases")
    keywords = ("function", "database")
    matched = [found(text, *keywords, method=method, operator=operator) for text in texts]
    assert matched == expected


def test_value_is_the_score_when_the_method_is_bm25() -> None:
    # ln(1 + 0.5 / 1.5) for the only document, times 1 x 2.2 / (1 + 1.2)
    assert result("a function", ["function"], method="bm25").value == pytest.approx(0.287682)


@pytest.mark.parametrize("method", ["fuzzy", "bm25", "ngram"])
def test_reading_is_bounded_when_the_text_is_long(method: str) -> None:
    filler = "filler " * 10_000
    assert found(f"systems {filler}", "system", method=method)
    assert found(f"{filler} systems", "system", method=method)
    assert not found(f"{filler} systems {filler}", "system", method=method)


@pytest.mark.parametrize("method", ["fuzzy", "bm25", "ngram"])
@given(text=st.text(), keyword=st.text(min_size=1, max_size=9).filter(str.strip))
def test_approximate_method_has_a_score_when_the_text_is_anything(
    method: str, text: str, keyword: str
) -> None:
    evaluated = result(text, [keyword], method=method)
    assert evaluated.value is not None
    assert evaluated.value >= 0
    assert result("", [keyword], method=method, operator="NOR").matched


def test_rule_is_refused_when_an_approximate_method_has_too_many_keywords() -> None:
    with pytest.raises(ValidationError, match="at most 200"):
        KeywordRule(name="r", method="ngram", keywords=tuple(map(str, range(201))))


def test_rule_warns_when_fuzzy_match_adds_nothing() -> None:
    (warning,) = KeywordRule(name="r", method="bm25", fuzzy_match=True, keywords=("x",)).warnings()
    assert "adds nothing" in warning
    assert not KeywordRule(name="r", keywords=("x",)).warnings()
