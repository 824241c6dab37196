"""Ages and dates of birth, where a label or a sentence says whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..patterns import Deferred, Match
from .finding import CERTAIN, Hit, Text

_MONTH = r"\p{L}{3,10}\.?"
_DATE = (
    rf"(?:\d{{4}}[-./]\d{{1,2}}[-./]\d{{1,2}}|\d{{1,2}}[-./]\d{{1,2}}[-./]\d{{2,4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|º|\.)? (?:of |de |di )?{_MONTH},? (?:de |del )?\d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    rf"|\d{{4}}\s?[年년]\s?\d{{1,2}}\s?[月월]\s?\d{{1,2}}\s?[日일号]?|\d{{8}}"
    rf"|\d{{1,2}}-\p{{L}}{{3}}-\d{{2,4}})"
)
_BORN_FIELD = (
    r"date of birth|\bborn\s?:|birth ?date|\bd\.?o\.?b\b\.?|\b(?:my|his|her|their) birthday|geburtsdatum"
    r"|geburtstag|\bgeb\.|date de naissance|fecha de nacimiento"
    r"|\bf\. ?nac|data di nascita|data de nascimento|geboortedatum|data urodzenia|дата рождения"
    r"|дата народження|出生日期|出生年月日?|生年月日|誕生日|生日"
    r"|생년월일|생일|doğum tarihi|تاريخ الميلاد|تاريخ ميلادي|जन्म ?(?:तिथि|तारीख)|ngày sinh"
    r"|födelsedatum|tanggal lahir"
    r"|\bi(?: was|'m) born|\bich (?:bin|wurde)(?: am)?|\bje suis née?|\bnací|\bsono nat[oa]"
    r"|\bnasci|\burodził[ae]m się|я родил(?:ся|ась)|我.{0,6}出生于|我.{0,3}生于|я народи\S+"
)
_BORN = (
    r"\bborn|geboren|\bnée?\s|nacid[oa]|nat[oa] il|nascid[oa]|urodzon[ya]|родил(?:ся|ась)|рожд\."
    r"|出生|生まれ|태어났|वियजन्म|जन्म|مواليد|sinh ngày"
)
_BIRTH = Deferred(rf"(?:({_BORN_FIELD})|{_BORN})[^\n\d]{{0,24}}?({_DATE})", capture=True)
_ENTERED = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
"""A date as it is written into a form."""
_SOMEBODY = re.compile(
    r"\b(?:s?he|patient|client|customer|employee|applicant|daughter|son|wife|husband|er|sie|elle"
    r"|ella|él|患者|病人)"
    r"(?: \w+){0,3} ?$"
)
_BIRTH_AFTER = Deferred(
    r"(\d{4}年\d{1,2}月\d{1,2}日)(?:出生|生まれ|生)|(\d{4}년 ?\d{1,2}월 ?\d{1,2}일)(?:생|에 태어)",
    capture=True,
)
_AGE = Deferred(
    r"\bi(?: am|'m|’m| just turned| turned)(?: an?)? (\d{1,3})[ -]?(?:years?[ -]old|yrs? old"
    r"|y/?o\b|year-old)|\bi(?:'m|’m| am) (\d\d)(?: and| now|[,.;]|\s*\z)"
    r"|\bi (?:just )?turned (\d\d)\b|\bas an? (\d{1,3})[- ]year[- ]old\b|(?:\bage|\baged|\balter"
    r"|\bedad|âge|\bidade|\betà|\bleeftijd|\bwiek|возраст|年龄|年齢|나이|العمر|عمري|\byaş|tuổi|उम्र"
    r"|आयु)\s?(?:is|ist|es|est|é|è|是|为|は|는)?\s?[:：=]\s?(\d{1,3})\b"
    r"|\b(\d{1,3})[ -]?(?:years?[ -]old|yrs?[ -]old|y/?o)[ -](?:\p{L}+ ){0,2}(?:man|woman|male"
    r"|female|patient|boy|girl|daughter|son|mother|father|employee|person|guy|lady|gentleman|student|m\b"
    r"|f\b)"
    r"|\bmy (?:\p{L}+ )?(?:son|daughter|wife|husband|mother|father|mom|mum|dad|brother|sister"
    r"|grand\w+|partner|child|kid|baby|uncle|aunt)(?:,? \p{L}+,?)? (?:is|just turned"
    r"|turned) (\d{1,3}) (?:years? old|yrs? old)|\b(?:he|she|patient(?: \p{L}+){0,2})(?: is|'s"
    r"|,) (\d{1,3}) (?:years? old\b|yrs? old\b|y/?o\b)"
    r"|\bpatient[^\n\d]{0,40}, (?:age[d]? )?(\d{1,3})(?: years| ans|,)"
    r"|\bich bin (\d{1,3}) jahre|\bj['’]ai (\d{1,3}) ans|\btengo (\d{1,3}) años"
    r"|\bho (\d{1,3}) anni|\btenho (\d{1,3}) anos|\bik ben (\d{1,3}) jaar|\bmam (\d{1,3}) lat"
    r"|\(aged? (\d{1,3})\)|\baged (\d{1,3})\b|\bpatiente? de (\d{1,3}) ans"
    r"|\bm(?:a|on) (?:fille|fils|mère|père|femme|mari) a (\d{1,3}) ans"
    r"|\bmi (?:hij[oa]|madre|padre|espos[oa]|marido|mujer) tiene (\d{1,3}) años"
    r"|\bmeine? (?:sohn|tochter|mutter|vater|frau|mann) ist (\d{1,3}) jahre"
    r"|患者?[男女]性?[，,]\s?(\d{1,3})岁|мне (\d{1,3}) (?:лет|год)|мені (\d{1,3}) рок"
    r"|\b(\d{1,3})[- ](?:jährige?[rn]?|летн\S+) (?:patient|mann|frau|пациент|мужчин|женщин)|(?:我"
    r"|本人|患者|病人|他|她|\p{Han}{2,3}，(?:男|女)，?)(?:今年|现年)?(\d{1,3})\s?[岁歲]|(?:私は"
    r"|今年)(\d{1,3})歳|(?:저는"
    r"|나는|올해) ?(\d{1,3})(?:살|세)|عمري (\d{1,3})|मैं (\d{1,3}) (?:साल|वर्ष)"
    r"|\b(\d{1,3}) yaşındayım"
    r"|tôi (\d{1,3}) tuổi",
    capture=True,
)


def find_births(text: Text) -> Iterator[Hit]:
    """Gives dates of birth, and ages up to 120."""
    yield from _births(text)
    for found in text.places(_AGE, 50):
        start, end = found.span(found.lastindex or 0)
        if int(text.utf8[start:end]) <= 120:
            yield Hit("AGE", CERTAIN, start, end)


def _births(text: Text) -> Iterator[Hit]:
    for found in text.places(_BIRTH, 50):
        yield Hit("DATE_OF_BIRTH", _birth_score(text, found), *found.span(2))
    if not text.utf8.isascii():
        for found in text.places(_BIRTH_AFTER, 50):
            yield Hit("DATE_OF_BIRTH", CERTAIN, *found.span(found.lastindex or 0))


def _birth_score(text: Text, found: Match) -> float:
    if found.span(1)[0] >= 0:
        return 0.93
    somebody = _SOMEBODY.search(text.before(found.span(0)[0])) is not None
    entered = _ENTERED.fullmatch(text.part(*found.span(2))) is not None
    return CERTAIN if somebody or entered else 0.75  # somebody whom an encyclopedia may know
