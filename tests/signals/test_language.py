from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.base import SignalResult
from consilience.signals.language import (
    _WEIGHTS,
    LANGUAGES,
    Guess,
    Language,
    LanguageRule,
    _identifier,
    guess_language,
    prose,
)
from support.conversation import facts

SENTENCES = [
    ("en", "Could you compare these two databases for me?"),
    ("en", "write a poem"),
    ("es", "¿Puedes comparar estas dos bases de datos?"),
    ("fr", "Peux-tu comparer ces deux bases de données ?"),
    ("de", "Kannst du diese beiden Datenbanken vergleichen?"),
    ("it", "Puoi confrontare questi due database per me?"),
    ("pt", "Você pode comparar esses dois bancos de dados?"),
    ("nl", "Kun je deze twee databanken voor mij vergelijken?"),
    ("pl", "Czy możesz porównać te dwie bazy danych?"),
    ("tr", "Bu iki veritabanını benim için karşılaştırır mısın?"),
    ("vi", "Bạn có thể so sánh hai cơ sở dữ liệu này không?"),
    ("ru", "Можешь сравнить эти две базы данных?"),
    ("uk", "Чи можеш порівняти ці дві бази даних?"),
    ("el", "Μπορείς να συγκρίνεις αυτές τις δύο βάσεις;"),
    ("ar", "هل يمكنك مقارنة قاعدتي البيانات هاتين؟"),
    ("he", "האם תוכל להשוות בין שני מסדי הנתונים?"),
    ("hi", "क्या आप इन दो डेटाबेस की तुलना कर सकते हैं?"),
    ("th", "คุณช่วยเปรียบเทียบฐานข้อมูลสองตัวนี้ได้ไหม"),
    ("ja", "この二つのデータベースを比較してください"),
    ("ko", "이 두 데이터베이스를 비교해 줄 수 있나요?"),
    ("zh", "请比较一下这两个数据库"),
    ("zh", "你好"),
]


def results(text: str, *names: str, threshold: float = 0.3) -> dict[str, SignalResult]:
    rules = [LanguageRule(name=name, threshold=threshold) for name in names]
    return dict(Language(rules).find(facts(text)))


@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_language_is_told_when_a_sentence_is_written_in_it(language: str, text: str) -> None:
    found = results(text, *LANGUAGES)
    assert [name for name, result in found.items() if result.matched] == [language]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "42 + 1 = 43",
        "ok",
        "...!?",
        "https://example.fr/une/adresse/en/francais",
        "```python\nprint('hola amigos')\n```",
        "x = foo(bar[1]);\nif (x > 0) { return y; }",
        "\ud800\udfff",
    ],
)
def test_answer_is_english_when_there_is_no_telling(text: str) -> None:
    assert guess_language(text) == Guess("en", 0.5)


def test_code_does_not_count_when_a_sentence_stands_beside_it() -> None:
    code = "```\nfor user in users: print(user.name)\n```" * 5
    assert guess_language(f"Was macht dieses Programm hier?\n{code}").language == "de"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a ```b``` c", "a c"),
        ("use `foo` here", "use here"),
        ("it's `open", "it's `open"),
        ("mail me@example.org or see http://x.y", "mail or see"),
        ("words\n{[()]};\nmore", "words more"),
        ("an unclosed ```fence", "an unclosed"),
    ],
)
def test_prose_is_what_is_left_when_code_and_addresses_are_dropped(text: str, left: str) -> None:
    assert prose(text) == left


def test_rule_matches_when_the_probability_reaches_its_threshold() -> None:
    assert results("ok", "en", threshold=0.5)["en"] == SignalResult(True, value=0.5)
    assert not results("ok", "en", threshold=0.51)["en"].matched


def test_reading_is_bounded_when_the_text_is_long() -> None:
    assert (
        guess_language("Das ist ein deutscher Satz. " * 30 + "the word " * 50_000).language == "de"
    )


@given(st.text())
def test_there_is_one_language_when_the_text_is_anything(text: str) -> None:
    language, probability = guess_language(text)
    assert language in LANGUAGES
    assert 0 < probability <= 1


@pytest.mark.parametrize(
    "text", ["wie geht es dir heute", "what is this", "今日はいい天気ですね", "la casa es grande"]
)
def test_guess_is_the_best_of_the_model_s_ranking_weighed(text: str) -> None:
    weighed = {code: p * _WEIGHTS.get(code, 1) for code, p in _identifier().rank(text)}
    best = max(weighed, key=weighed.__getitem__)
    guess = guess_language(text)
    assert guess.language == best
    assert guess.probability == pytest.approx(weighed[best] / sum(weighed.values()), rel=1e-5)


@pytest.mark.parametrize("name", ["EN", "eng", "zh-CN", "xx", ""])
def test_rule_is_refused_when_its_name_is_no_language(name: str) -> None:
    with pytest.raises(ValidationError, match="use one of"):
        LanguageRule(name=name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("english", "en"), ("Englsh", "en"), ("ZH", "zh"), ("de_AT", "de"), ("Chinese", "zh")],
)
def test_code_is_told_to_who_writes_the_name_of_a_language(name: str, meant: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean '{meant}'"):
        LanguageRule(name=name)


@pytest.mark.parametrize("name", ["klingon", "x" * 10_000, "", "-"])
def test_nothing_is_told_where_no_language_is_near(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LanguageRule(name=name)
    assert "did you mean" not in str(caught.value)
