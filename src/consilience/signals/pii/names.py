"""Names, where something in the text says that they are names.

This is no recognition of names. A name counts when it is introduced ("my name is", "姓名："), when a
role or title stands before it, or when an e-mail address or a telephone number stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..patterns import Deferred, Match
from .finding import CERTAIN, Hit, Text
from .name_words import NOT_NAMES, PARTICLES, SURNAMES

_ONE = r"\p{Lu}[\p{L}\p{M}'’-]*[\p{Ll}\p{M}]"
_PARTICLE = (
    r"(?:(?:de la|de|da|do|dos|del|della|di|van der|van den|van|von|zu|bin|ibn|al|el|le|la|ten|y) )"
)
_MORE = rf"(?: (?:\p{{Lu}}\.?|{_PARTICLE}?{_ONE}))"
_TWO = rf"{_ONE}{_MORE}{{1,3}}"
_HAN_NAME = rf"(?:[{SURNAMES}]\p{{Han}}{{1,2}}|(?:欧阳|司马|上官|诸葛|司徒)\p{{Han}}{{1,2}})"

_INTRODUCED = Deferred(
    rf"(?i:\bmy (?:full |first |last |real |legal |maiden )?name(?: is|'s|:)|\bi am called"
    rf"|(?:['’]s|\b(?:his|her|their)) (?:full )?name is|\bich hei(?:ß|ss)e|\bmein name ist"
    rf"|\bje m['’]appelle|\bmon nom est|\bme llamo|\bmi nombre(?: completo)? es|\bmi chiamo"
    rf"|\bil mio nome è|\b(?:o )?meu nome(?: completo)? é"
    rf"|\bchamo-me|\bme chamo|\bmijn naam is|\bik heet|\bnazywam się|\bmam na imię|\bjag heter"
    rf"|\bbenim adım|\badım|\btên (?:tôi|em) là|\bnama saya"
    rf"|меня зовут|моё имя|мое имя|мене звати|моє ім['’]я)[ :]+({_ONE}{_MORE}{{0,3}})",
    case_sensitive=True,
    capture=True,
)
_LOWER = Deferred(
    r"\b(?:my (?:full )?name(?: is|'s)|full name\s?:) (\p{L}{2,20}(?: [\p{L}-]{2,20})?)"
    r"(?:\s*[,.;!\n]|\s+(?:and|i|i'm"
    r"|from|my)\b|\s*\z)",
    capture=True,
)
_FIELD = Deferred(
    rf"(?i:\b(?:(?:full |first |last |patient(?:'s)? |customer(?:'s)? |client(?:'s)? |employee "
    rf"|contact |legal |given |applicant |account holder |cardholder |student )?name|surname"
    rf"|patient|customer|client|employee|applicant|contact(?: person)?|account holder"
    rf"|card ?holder|beneficiary|recipient|tenant|attn|passenger|insured|payee|guardian"
    rf"|signed|emergency contact|nombre(?: completo)?|apellidos?|nombre y apellidos?|titular"
    rf"|paciente|nom(?: complet)?|nom et prénom|prénom|titulaire"
    rf"|vor- und nachname|vorname|nachname|patientin|kund(?:e|in)|ansprechpartner(?:in)?"
    rf"|kontoinhaber(?:in)?|nome(?: completo)?|nome e cognome|cognome|intestatario|paziente|cliente"
    rf"|naam|imię i nazwisko|pacjent(?:ka)?|ad soyad|isim|họ (?:và )?tên|nama)|ф\.?и\.?о\.?|имя"
    rf"|пациент(?:ка)?|клиент(?:ка)?|получатель|владелец)"
    rf"[\"'*]*[ \t]*[:：=|][ \t\"'*]*({_ONE}(?:,? {_ONE}|{_MORE}){{1,3}}"
    rf"|\p{{Lu}}{{2,}}(?:,? \p{{Lu}}+\.?){{1,3}}\b)",
    case_sensitive=True,
    capture=True,
)
_ROLE = Deferred(
    rf"(?i:\b(?:(?:our |my |the |new )?(?:patient|customer|client|employee|applicant|tenant"
    rf"|cardholder|passenger|defendant|plaintiff|coworker|colleague|neighbou?r|roommate|ex-wife"
    rf"|ex-husband|wife|husband|landlord|boss|uncle|aunt|son|daughter|mother|father|brother|sister"
    rf"|student|teacher|nurse|intern|candidate|assistant|(?:new )?hire"
    rf"|cousin|nephew|niece|grandmother|grandfather|grandma|grandpa|friend|therapist)"
    rf"|patientin|kund(?:e|in)|mitarbeiter(?:in)?|patiente?|client|cliente|paciente|paziente"
    rf"|paciënt|pacjent(?:ka)?|klient(?:ka)?)|пациент(?:ка|ки|ку)?|клиент(?:ка|а|у)?"
    rf"|сотрудник(?:а)?)(?: named|,| namens| nommée?| llamad[oa])?"
    rf" ({_TWO})",
    case_sensitive=True,
    capture=True,
)
_TITLED = Deferred(
    rf"\b(?:(?:Mr|Mrs|Ms|Miss|Mx|Herrn?|Frau|Sra?|[Ss]eñora?|[Ss]enhora?|Mme|Mlle|[Mm]onsieur"
    rf"|[Mm]adame|Sig|[Ss]ignora?|Doña|Pani?|Panu|[Mm]evrouw|[Mm]eneer)\.? (?:Dr\. )?"
    rf"({_ONE})({_MORE}{{1,2}})?"
    rf"|(?:Dr|Prof|Dott|Don)\.? {_ONE}{_MORE}{{0,2}})",
    case_sensitive=True,
    capture=True,
)
_EASTERN = Deferred(
    rf"(?:姓\s?名|名字|联系人|聯絡人|收件人|收货人|收貨人|户名|持卡人|开户人|申请人)"
    rf"(?:[：:\s]+|叫|是|为)({_HAN_NAME})"
    rf"|(?:客户|患者|病人|员工|学生|同事|同学)(?:叫|是|为|姓名)?[：:\s]*({_HAN_NAME})"
    rf"|(?:帮|给|替|为)({_HAN_NAME})(?:写|发|起草|准备|安排|回)"
    rf"|尊敬的?({_HAN_NAME})(?:先生|女士|小姐)"
    r"|(?:患者|お客様|社員)の?([\p{Han}]{3,5})(?:さん|様|氏)"
    rf"|(?:我叫|我的名字(?:叫|是)|名叫)({_HAN_NAME})|我是({_HAN_NAME})(?:[，,。！!；;\s]|\z)"
    r"|(?:氏\s?名|お?名前|担当者|患者名|宛名|お客様名)(?:は"
    r"|[：:\s])\s?([\p{Han}\p{Hiragana}\p{Katakana}]{1,5}[ 　]?[\p{Han}\p{Hiragana}\p{Katakana}]{1,5})"
    r"|私は([\p{Han}\p{Hiragana}\p{Katakana} ]{2,10}?)(?:と申します|といいます|と言います)"
    r"|([\p{Han}\p{Katakana}]{2,6})(?:と申します|といいます)"
    r"|(?:이름|성명|성함|환자|고객|예금주|수취인|담당자)(?:은|는"
    r"|명)?\s?[:：]?\s?(\p{Hangul}{3})(?:[^\p{Hangul}]|입니다|이고"
    r"|이며|님|씨|\z)"
    r"|(?:제|내) 이름은 (\p{Hangul}{2,4}?)(?:입니다|이고|이며|라고|이라고|예요|이에요)"
    r"|저는 (\p{Hangul}{2,4}?)(?:이라고|라고) "
    r"|(?:اسمي|الاسم|المريضة?|اسم المريض"
    r"|الاسم الكامل)\s?[:：]?\s(\p{Arabic}{2,15}(?: \p{Arabic}{2,15}){1,2})"
    r"|(?:मेरा नाम|नाम\s?[:：]"
    r"|मरीज़?)\s?([\p{Devanagari}]{2,15}(?: [\p{Devanagari}]{2,15})?)(?: है|[,।\n]|\z)",
    capture=True,
)
_HAN_TITLED = Deferred(rf"({_HAN_NAME}|[{SURNAMES}])(?:先生|女士|小姐|太太)", capture=True)
_HERE_IS = Deferred(
    rf"(?:\A|[\n.!?])\s*(?:(?:Hi|Hello|Hey|Hallo|Hola|Bonjour)[,!.]? )?(?:[Tt]his is|I'm|I am"
    rf"|[Cc]all me|[Ss]oy|[Ii]ch bin|[Ss]ou(?: o| a)?|[Ss]ono|[Jj]e suis) ({_TWO})(?:[,.;\n]| and | from "
    rf"| at | born | y | und | et | e )",
    case_sensitive=True,
    capture=True,
)
_SIGNED = Deferred(
    rf"(?i:regards|sincerely|cheers|yours|grüßen|gruß|cordialement|saludos|atentamente|cumprimentos)"
    rf"[,!.]?\s*\n\s*({_TWO})[ \t]*(?:\n|\z)",
    case_sensitive=True,
    capture=True,
)
_BESIDE = re.compile(
    r"((?:[^\W\d_][\w'’.-]* ){1,3}[^\W\d_][\w'’-]+)[\"']?\s*(?:[,;:|<(\t\n/–-]|\bat\b|\bon\b"
    r"|\bvia\b|\bunter\b|\bemail\b|\be-mail\b|\bphone\b|\btel\b|\bau\b|\bal\b|\ben\b|\bor\b"
    r"|\bssn\b|\bborn\b|'s| is)"
    r"[\s\"'(<:,.;|-]*(?:(?:e-?mail|phone|tel|cell|mobile|ssn|email address"
    r"|phone number|born|on|dob|date of birth|geb)[\s:.]*){0,2}\Z",
    re.IGNORECASE,
)
_HAN_BESIDE = re.compile(
    rf"([{SURNAMES}][\u4e00-\u9fff]{{1,2}})[\s,，、:：;；|（(]*(?:电话|手机|联系电话"
    rf"|邮箱)?[\s:：]*\Z"
)

_NOT_HAN = (
    *(
        "什么",
        "谁",
        "如何",
        "怎么",
        "名单",
        "信息",
        "姓名",
        "电话",
        "方面",
        "方法",
        "方式",
        "高级",
        "高中",
    ),
    *(
        "高考",
        "何",
        "どの",
        "程序",
        "白领",
        "任何",
        "万一",
        "马上",
        "金融",
        "高兴",
        "高度",
        "何时",
        "方案",
    ),
)


def find_names(text: Text, contacts: Sequence[Hit]) -> Iterator[Hit]:
    """Gives names.

    Args:
        text: what is read.
        contacts: e-mail addresses, telephone and account numbers that were found: a name beside
            one of them is its owner's.
    """
    for pattern, score in (
        (_INTRODUCED, 0.95),
        (_FIELD, 0.93),
        (_ROLE, 0.9),
        (_HERE_IS, 0.9),
        (_SIGNED, 0.9),
    ):
        for found in text.places(pattern, 50):
            start, end = found.span(1)
            if b"Name Is" in found.group():
                continue  # a title of something
            if _is_name(text.part(start, end), 1 if pattern is _INTRODUCED else 2):
                yield Hit("PERSON", score, start, end)
    for found in text.places(_LOWER, 20):
        if _is_name(text.part(*found.span(1)), 1):
            yield Hit("PERSON", CERTAIN, *found.span(1))
    for found in text.places(_TITLED, 50):
        yield _titled(text, found)
    if not text.utf8.isascii():
        yield from _eastern(text)
    yield from _beside(text, contacts)


def _titled(text: Text, found: Match) -> Hit:
    """A name after a title. Who is called by title and surname, or is a doctor, may be known to all."""
    start, end = found.span(0)
    if found.span(1)[0] < 0:
        return Hit("PERSON", 0.75, start, end)
    score = CERTAIN if found.span(2)[0] >= 0 else 0.6
    return Hit("PERSON", score, found.span(1)[0], end)


def _eastern(text: Text) -> Iterator[Hit]:
    for found in text.places(_EASTERN, 50):
        start, end = found.span(found.lastindex or 0)
        if not text.part(start, end).startswith(_NOT_HAN):
            yield Hit("PERSON", 0.92, start, end)
    for found in text.places(_HAN_TITLED, 50):
        yield Hit("PERSON", 0.6, *found.span(1))


def _beside(text: Text, contacts: Sequence[Hit]) -> Iterator[Hit]:
    for hit in contacts[:50]:
        raw = text.utf8[max(0, hit.start - 96) : hit.start]
        tail = _single_spaced(raw.decode("utf-8", "ignore"))
        found = _BESIDE.search(tail) or _HAN_BESIDE.search(tail)
        if found is None:
            continue
        name = _last_words(found.group(1))
        if _is_name(name, 2) or _is_han(name):
            at = raw.rfind(name.encode())
            if at >= 0:
                start = hit.start - len(raw) + at
                yield Hit("PERSON", CERTAIN, start, start + len(name.encode()))


def _single_spaced(text: str) -> str:
    """Makes every run of spaces or line breaks one: the patterns take time by their length."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept = "\n".join(line for line in lines if line)
    if not lines[-1]:
        return f"{kept}\n"
    return f"{kept} " if text[-1] == " " else kept


def _last_words(words: str) -> str:
    """The end of some words, from where a name may begin."""
    name: list[str] = []
    for word in reversed(words.split()):
        begins_one = word[0].isupper() or _is_han(word) or word.lower() in PARTICLES
        if word.lower().strip(".,:") in NOT_NAMES or not begins_one:
            break
        name.insert(0, word)
    while name and name[0].lower() in PARTICLES:
        del name[0]
    return " ".join(name)


def _is_han(name: str) -> bool:
    return 0 < len(name) <= 4 and name[0] in SURNAMES


def _is_name(name: str, fewest: int) -> bool:
    words = name.replace(",", " ").split()
    if fewest == 1 and len(words) == 2 and words[1].lower() in NOT_NAMES:
        words = words[:1]
    if len(words) < fewest or any(word.lower().strip(".") in NOT_NAMES for word in words):
        return False
    shouted = {word.isupper() for word in words if len(word.strip(".")) > 2}
    if len(shouted) > 1:
        return False
    return fewest == 1 or all(word[0].isupper() for word in (words[0], words[-1]))
