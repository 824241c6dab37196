from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.patterns import Deferred, compile_pattern
from consilience.signals.pii import Pii, PiiRule, PiiSettings, find_pii
from consilience.signals.pii.find import MOST_CHARACTERS
from consilience.signals.pii.finding import Text
from consilience.signals.pii.labels import SPECIFIC, TYPES, label_of
from consilience.signals.pii.numbers import MOST_BYTES, stretches
from consilience.signals.pii.phones import MOST_PARSED
from support.conversation import facts

SAMPLES = Path(__file__).parents[2] / "benchmarks" / "data" / "pii.train.jsonl"
CERTAIN = 0.9

FOUND = [
    ("EMAIL_ADDRESS", "write to lena.fischer@nordpost.de please"),
    ("EMAIL_ADDRESS", "tim dot berg at gmail dot com"),
    ("PHONE_NUMBER", "call me at (415) 555-0132"),
    ("PHONE_NUMBER", "+44 20 7946 0832"),
    ("PHONE_NUMBER", "我的手机是１３８１２３４５６７８"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "amex 378282246310005"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00"),
    ("IBAN_CODE", "to FR1420041010050500013M02606 BIC follows"),
    ("US_SSN", "SSN 536-22-8716"),
    ("US_SSN", "my social is 512 44 1093"),
    ("NATIONAL_ID", "11010519491231002X"),
    ("PASSPORT", "passport number 533401729"),
    ("US_DRIVER_LICENSE", "driver's license D6103542"),
    ("BANK_ACCOUNT", "account number 9876543210"),
    ("BANK_ACCOUNT", "routing number 021000021"),
    ("IP_ADDRESS", "someone from 84.17.52.9 logged in"),
    ("IP_ADDRESS", "block 2a02:8108:96c0:4f2::17"),
    ("MAC_ADDRESS", "3c:22:fb:9a:41:d7"),
    ("CRYPTO", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("CRYPTO", "my wallet 0x52908400098527886E0F7030069857D2E4169EE7"),
    ("STREET_ADDRESS", "48 Maple Avenue, Portland, OR 97205"),
    ("STREET_ADDRESS", "浙江省杭州市西湖区文三路138号"),
    ("ZIP_CODE", "zip code 94110"),
    ("PERSON", "My name is Priya Raman."),
    ("PERSON", "姓名：王建国"),
    ("AGE", "I am 47 years old"),
    ("DATE_OF_BIRTH", "DOB: 1979-11-02"),
    ("DATE_OF_BIRTH", "she was born on 3 June 1992"),
    ("API_KEY", "ghp" + "_a8Fk29dLqPz73MxVbN5tYw1RcJhU0sE6GiO4"),
    ("API_KEY", "-----BEGIN PRIVATE KEY-----"),
    ("API_KEY", "client_secret: 8f3b2c9d1e7a4f60b5c2d8e9f1a3b4c5"),
    ("PASSWORD", "password: hunter2"),
    ("PASSWORD", "postgres://admin:s3cr3tPw9@db.internal.corp:5432/app"),
    ("PASSWORD", "my pin code is 5512"),
    ("VEHICLE_ID", "VIN 1M8GDM9AXKP042788"),
    ("VEHICLE_ID", "车牌京A12345"),
    ("MEDICAL_RECORD", "MRN: 00482913"),
]

NUMBERS_OF_COUNTRIES = [
    ("US_ITIN", "tax id 912-90-3456"),
    ("CN_ID", "440308199901101512"),
    ("ES_NIF", "DNI 12345678Z"),
    ("ES_NIE", "X1234567L"),
    ("IT_FISCAL_CODE", "RCCMNL83S18D969H"),
    ("FR_NIR", "2 95 10 99 126 111 93"),
    ("BR_CPF", "390.533.447-05"),
    ("IN_AADHAAR", "Aadhaar 2341 2341 2346"),
    ("UK_NHS", "NHS 943 476 5919"),
    ("UK_NINO", "AB 12 34 56 C"),
    ("NL_BSN", "BSN 111222333"),
    ("PL_PESEL", "PESEL 44051401359"),
    ("KR_RRN", "971013-2019907"),
    ("DE_TAX_ID", "Steuer-ID 36574261809"),
    ("TR_TCKN", "TC kimlik no: 10000000146"),
    ("SG_NRIC", "NRIC S1234567D"),
    ("CL_RUT", "12.531.909-2"),
    ("CH_AHV", "756.9217.0769.85"),
    ("RU_SNILS", "112-233-445 95"),
]

NOTHING = [
    "",
    "Review this spreadsheet of employee phone numbers and home addresses.",
    "Call 911 if the fire spreads.",
    "Order 4155550132 has not shipped.",
    "ISBN 978-3-16-148410-0",
    "2024-03-15T14:30:00.123456Z and 1712345678",
    "upgrade from 3.11.4 to 3.12.0.1, version 10.2.3.4",
    "550e8400-e29b-41d4-a716-446655440000",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "Total: $1,249,500.00",
    "48.8566, 2.3522",
    "127.0.0.1 0.0.0.0 192.0.2.14 203.0.113.7 10.1.2.3 ::1 2001:db8::1",
    "user@example.com",
    "git@github.com:acme/widgets.git",
    "const MAX = 9007199254740991; const K = 4503599627370496;",
    "4155550132 + 2125550147 = 6281100279",
    "std::vector<int> a; dead::beef::cafe(1);",
    "password: string; api_key = 'YOUR_API_KEY_HERE'",
    "api_key=${API_KEY} password=<secret> password: ********",
    "SSN 000-12-3456 and 666-12-3456",
    "card 4111 1111 1111 1112",
    "IBAN DE89 3704 0044 0532 0130 01",
    "Albert Einstein, born on 14 March 1879",
    "What did Dr. Strange say to Mr. Fantastic?",
    "Our company is 25 years old.",
    "my name is too long for this form",
    "00:00:00:00:00:00",
    "Tracking number 1Z999AA10123456784",
    "我是什么星座？",
    "订单号 20240315123456789",
]


def certain(text: str) -> set[str]:
    return {finding.type for finding in find_pii(text) if finding.score >= CERTAIN}


@pytest.mark.parametrize(("kind", "text"), FOUND)
def test_datum_is_found(kind: str, text: str) -> None:
    assert kind in certain(text)


def test_each_type_is_among_the_tested() -> None:
    assert {kind for kind, _ in FOUND} == set(TYPES)


@pytest.mark.parametrize(("kind", "text"), NUMBERS_OF_COUNTRIES)
def test_identity_number_is_told_with_its_country(kind: str, text: str) -> None:
    assert kind in {f.specific for f in find_pii(text) if f.score >= 0.85}


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_is_certain_when_it_is_nobodys(text: str) -> None:
    assert certain(text) == set()


def test_samples_are_told_as_they_were_when_the_rules_were_set_up() -> None:
    samples = [json.loads(line) for line in SAMPLES.read_text("utf-8").splitlines()]
    right = [s for s in samples if certain(s["text"]) == set(s["types"])]

    assert len(samples) > 500
    assert len(right) / len(samples) > 0.98


def test_place_is_told_in_characters() -> None:
    text = "Grüße 😀 an lena.fischer@nordpost.de und 王建国 13612348765"

    found = {f.type: text[f.start : f.end] for f in find_pii(text)}

    assert found["EMAIL_ADDRESS"] == "lena.fischer@nordpost.de"
    assert found["PHONE_NUMBER"] == "13612348765"


def test_place_is_told_in_the_whole_text_when_its_middle_is_not_read() -> None:
    text = "SSN 536-22-8716" + " word" * MOST_CHARACTERS + " mail lena.fischer@nordpost.de"

    assert [text[f.start : f.end] for f in find_pii(text)] == [
        "536-22-8716",
        "lena.fischer@nordpost.de",
    ]


def test_middle_of_a_very_long_text_is_not_read() -> None:
    padding = "word " * MOST_CHARACTERS

    assert certain(f"{padding}SSN 536-22-8716 {padding}") == set()


def test_name_is_certain_when_other_data_stand_near() -> None:
    alone = find_pii("ask Dr. Maria Gomez about it")
    in_company = find_pii("ask Dr. Maria Gomez about it, m.gomez@clinica-sur.es")

    assert [f.score for f in alone if f.type == "PERSON"] == [0.75]
    assert max(f.score for f in in_company if f.type == "PERSON") == CERTAIN


def test_name_beside_a_contact_is_its_owners() -> None:
    text = "Please add Sofia Petrov <sofia.petrov@quietmail.io>"

    assert [text[f.start : f.end] for f in find_pii(text) if f.type == "PERSON"] == ["Sofia Petrov"]


def test_capitals_are_a_name_where_a_field_says_so() -> None:
    assert "PERSON" in certain("Cardholder name: THOMAS R HOLLIS")
    assert "PERSON" not in certain("Contact: SALES DEPARTMENT")
    assert "PERSON" not in certain("Mijn BSN: 111222333")


@pytest.mark.parametrize(
    "text",
    [
        "Sofia Petrov  <sofia.petrov@quietmail.io>",
        "Regards,\n\nSofia Petrov\nHead of Sales\n",
        "name,mail\nSofia Petrov,s.petrov@quietmail.io",
        "Call Sofia Petrov at 617-555-0172",
        "Sofia Petrov, born 04/11/1956",
    ],
)
def test_name_is_found_by_its_place(text: str) -> None:
    assert [text[f.start : f.end] for f in find_pii(text) if f.type == "PERSON"] == ["Sofia Petrov"]


def matches(*messages: Any, settings_: PiiSettings | None = None, **rule: Any) -> bool:
    signal = Pii([PiiRule(name="r", **rule)], settings_)
    return signal.find(facts(*messages))["r"].matched


def test_result_counts_types_and_repeats_nothing() -> None:
    text = "SSN 536-22-8716, a.b@nordpost.de, c.d@nordpost.de, PESEL 44051401359"
    result = Pii([PiiRule(name="r")]).find(facts(text))["r"]

    assert result.matched
    assert result.confidence == 0.97
    assert result.value == 4.0
    assert result.detail == {"types": {"US_SSN": 1, "EMAIL_ADDRESS": 2, "PL_PESEL": 1}}


def test_allowed_types_do_not_count() -> None:
    text = "mail a.b@nordpost.de"

    assert matches(text)
    assert not matches(text, pii_types_allowed=["EMAIL_ADDRESS"])
    assert matches(f"{text}, SSN 536-22-8716", pii_types_allowed=["EMAIL_ADDRESS"])


@pytest.mark.parametrize("name", ["NATIONAL_ID", "cn_id", "CN_ID_CARD", "Cn-Ric"])
def test_identity_number_is_allowed_by_either_name(name: str) -> None:
    assert not matches("11010519491231002X", pii_types_allowed=[name])
    assert matches("11010519491231002X", pii_types_allowed=["PL_PESEL"])


def test_threshold_is_the_modules_when_the_rule_has_none() -> None:
    weak = "user@example.com"

    assert not matches(weak)
    assert matches(weak, settings_=PiiSettings(threshold=0.4))
    assert not matches(weak, settings_=PiiSettings(threshold=0.4), threshold=0.8)
    assert matches(weak, threshold=0.5)


def test_nothing_matches_when_it_is_switched_off() -> None:
    assert not matches("SSN 536-22-8716", settings_=PiiSettings(enabled=False))


def test_history_counts_only_when_it_is_included() -> None:
    messages = (
        {"role": "system", "content": "The user is jane.roe@nordpost.de."},
        {"role": "assistant", "content": "Your SSN is 536-22-8716."},
        "thanks",
    )

    assert not matches(*messages)
    assert matches(*messages, include_history=True)
    assert not matches(
        *messages, include_history=True, pii_types_allowed=["US_SSN", "EMAIL_ADDRESS"]
    )


def test_oldest_message_is_not_read_when_newer_ones_fill_the_bound() -> None:
    long = "word " * (MOST_CHARACTERS // 5)

    assert matches("SSN 536-22-8716", "next", include_history=True)
    assert not matches("SSN 536-22-8716", long, "next", include_history=True)


def test_rules_with_and_without_history_are_told_apart() -> None:
    signal = Pii([PiiRule(name="last"), PiiRule(name="all", include_history=True)])

    found = signal.find(facts("SSN 536-22-8716", "thanks"))

    assert {name: result.matched for name, result in found.items()} == {"last": False, "all": True}


def test_unknown_type_is_refused_with_near_names() -> None:
    with pytest.raises(ValidationError, match="EMAIL_ADDRESS"):
        PiiRule(name="r", pii_types_allowed=("EMAIL_ADRESS",))
    with pytest.raises(ValidationError, match="there are EMAIL_ADDRESS, PHONE_NUMBER"):
        PiiRule(name="r", pii_types_allowed=("%%",))


def test_type_that_is_never_found_is_warned_of() -> None:
    rule = PiiRule(name="r", pii_types_allowed=("ORGANIZATION", "PERSON"))

    assert rule.warnings() == ("rule 'r': allowing 'ORGANIZATION' adds nothing, it is never found",)
    assert rule.allowed == {"PERSON"}
    assert PiiRule(name="r").warnings() == ()


@pytest.mark.parametrize("name", [*TYPES, *SPECIFIC])
def test_types_have_their_own_names(name: str) -> None:
    assert label_of(name.lower()) == name


HOSTILE = {
    "digits": "1234567890" * 110_000,
    "one letter": "a" * 1_000_000,
    "one digit and a space": "4 1 1 1 " * 130_000,
    "numbers": "+1 415 555 0132 " * 70_000,
    "capitals": "Ab " * 350_000,
    "spaces before addresses": ("Ab Cd" + " " * 90 + "a@b.de") * 10_000,
    "addresses": "a@a." * 250_000,
    "colons": "1:" * 500_000,
    "labels": "passport no. " * 80_000,
    "surrogates": "\ud800\udfff" * 300_000,
    "right to left": "\u202eاسمي " * 150_000,
    "marks": "e\u0301" * 300_000,
    "nothing": "\0" * 1_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_read_within_the_bounds(text: str) -> None:
    findings = find_pii(text)
    read = list(stretches(Text.of(text)))

    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert sum(stretch.end - stretch.start for stretch in read) <= MOST_BYTES
    assert len(findings) < 2000


def test_numbers_after_the_bound_are_not_parsed() -> None:
    text = "".join(f"+1 415 555 {i:04} " for i in range(1000))

    assert 0 < len(find_pii(text)) <= MOST_PARSED


PIECES = st.sampled_from([text for _, text in (*FOUND, *NUMBERS_OF_COUNTRIES)] + NOTHING)


@settings(max_examples=150)
@given(st.lists(PIECES | st.text(max_size=20), max_size=6).map("\n ".join))
def test_findings_lie_in_the_text_and_do_not_overlap(text: str) -> None:
    findings = find_pii(text)

    ends = [0, *(finding.end for finding in findings)]
    assert all(end <= f.start < f.end for end, f in zip(ends, findings, strict=False))
    assert not findings or findings[-1].end <= len(text)
    assert all(f.type in TYPES and 0 < f.score <= 1 for f in findings)
    assert all(f.specific in SPECIFIC or not f.specific for f in findings)


@settings(max_examples=150)
@given(st.text(st.characters(codec=None)))
def test_any_text_is_read(text: str) -> None:
    assert all(text[f.start : f.end] for f in find_pii(text))


def test_deferred_pattern_finds_what_a_compiled_one_finds() -> None:
    deferred, compiled = Deferred("(a+)b", capture=True), compile_pattern("(a+)b", capture=True)
    text = b"ab aab"

    assert [m.span(1) for m in deferred.finditer(text)] == [(0, 1), (3, 5)]
    found, same = deferred.search(text, 1), compiled.search(text, 1)
    assert found is not None
    assert same is not None
    assert found.span(1) == same.span(1) == (3, 5)
    assert deferred.search(b"b") is None


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("06 12 34 56 78", 0.92),
        ("01.42.68.53.00 merci", 0.92),
        ("lottery numbers 04 11 23 37 42 49", 0.0),
        ("01 02 03 04 05", 0.5),
        ("reps 05 10 15 20 25 as before", 0.5),
    ],
)
def test_pairs_of_digits_are_a_telephone_number_unless_they_are_a_list(
    text: str, score: float
) -> None:
    assert max((found.score for found in find_pii(text)), default=0.0) == score
