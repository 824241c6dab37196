"""Names, ages and dates of birth, where something in the text says what they are.

This is no recognition of names. A name counts when it is introduced ("my name is", "姓名："), when a
role or title stands before it, or when an e-mail address or a telephone number stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..patterns import compile_pattern
from .finding import CERTAIN, Hit, Text

_ONE = r"\p{Lu}[\p{L}\p{M}'’-]*[\p{Ll}\p{M}]"
_PARTICLE = r"(?:(?:de la|de|da|do|dos|del|della|di|van der|van den|van|von|zu|bin|ibn|al|el|le|la|ten|y) )"
_MORE = rf"(?: (?:\p{{Lu}}\.|{_PARTICLE}?{_ONE}))"
_TWO = rf"{_ONE}{_MORE}{{1,3}}"
_SURNAME = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔣"
    "蔡余杜叶葉程苏蘇魏吕呂丁任沈姚卢盧姜崔钟鍾谭譚陆陸汪范金石廖贾賈夏韦韋付方白邹鄒孟熊秦邱江尹薛闫段雷侯龙龍史陶黎贺賀"
    "顾顧毛郝龚龔邵万萬钱錢严嚴覃武戴莫孔向汤湯"
)
_HAN_NAME = rf"(?:[{_SURNAME}]\p{{Han}}{{1,2}}|(?:欧阳|司马|上官|诸葛|司徒)\p{{Han}}{{1,2}})"

_INTRODUCED = compile_pattern(
    rf"(?i:\bmy (?:full |first |last |real |legal |maiden )?name(?: is|'s|:)|\bi am called|\bname is|\bich hei(?:ß|ss)e|\bmein name ist"
    rf"|\bje m['’]appelle|\bmon nom est|\bme llamo|\bmi nombre(?: completo)? es|\bmi chiamo|\bil mio nome è|\b(?:o )?meu nome(?: completo)? é"
    rf"|\bchamo-me|\bme chamo|\bmijn naam is|\bik heet|\bnazywam się|\bmam na imię|\bjag heter|\bbenim adım|\badım|\btên (?:tôi|em) là|\bnama saya"
    rf"|меня зовут|моё имя|мое имя|мене звати|моє ім['’]я)[ :]+({_ONE}{_MORE}{{0,3}})",
    case_sensitive=True,
    capture=True,
)
_LOWER = compile_pattern(
    r"\bmy (?:full )?name(?: is|'s) (\p{L}{2,20}(?: \p{L}{2,20})?)(?:\s*[,.;!\n]|\s+(?:and|i|i'm|from|my)\b|\s*\z)",
    capture=True,
)
_FIELD = compile_pattern(
    rf"(?i:\b(?:(?:full |first |last |patient(?:'s)? |customer(?:'s)? |client(?:'s)? |employee |contact |legal |given |applicant |account holder |cardholder |student )?name|surname"
    rf"|patient|customer|client|employee|applicant|contact(?: person)?|account holder|card ?holder|beneficiary|recipient|tenant|attn|passenger|insured|payee|guardian"
    rf"|signed|emergency contact|nombre(?: completo)?|apellidos?|nombre y apellidos?|titular|paciente|nom(?: complet)?|nom et prénom|prénom|titulaire"
    rf"|vor- und nachname|vorname|nachname|patientin|kund(?:e|in)|ansprechpartner(?:in)?|kontoinhaber(?:in)?|nome(?: completo)?|nome e cognome|cognome|intestatario|paziente|cliente"
    rf"|naam|imię i nazwisko|pacjent(?:ka)?|ad soyad|isim|họ (?:và )?tên|nama)|ф\.?и\.?о\.?|имя|пациент(?:ка)?|клиент(?:ка)?|получатель|владелец)"
    rf"[\"'*]*[ \t]*[:：=|][ \t\"'*]*({_ONE}(?:,? {_ONE}|{_MORE}){{1,3}})",
    case_sensitive=True,
    capture=True,
)
_ROLE = compile_pattern(
    rf"(?i:\b(?:(?:our |my |the |new )?(?:patient|customer|client|employee|applicant|tenant|cardholder|passenger|defendant|plaintiff|coworker|colleague|neighbou?r|roommate|ex-wife|ex-husband|wife|husband|landlord|boss)"
    rf"|patientin|kund(?:e|in)|mitarbeiter(?:in)?|patiente?|client|cliente|paciente|paziente|paciënt|pacjent(?:ka)?|klient(?:ka)?)|пациент(?:ка|ки|ку)?|клиент(?:ка|а|у)?|сотрудник(?:а)?)(?: named|,| namens| nommée?| llamad[oa])?"
    rf" ({_TWO})",
    case_sensitive=True,
    capture=True,
)
_TITLED = compile_pattern(
    rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herrn?|Frau|Sra?|Señora?|Senhora?|Mme|Mlle|Monsieur|Madame|Sig|Signora?|Dott|Doña|Don|Pan|Pani|Mevrouw|Meneer)\.? (?:Dr\. )?({_ONE}{_MORE}{{0,2}})",
    case_sensitive=True,
    capture=True,
)
_EASTERN = compile_pattern(
    rf"(?:姓\s?名|名字|联系人|聯絡人|收件人|收货人|收貨人|客户|患者|病人|员工|户名|持卡人|开户人|紧急联系人|申请人)(?:叫|是|为|姓名)?[：:\s]*({_HAN_NAME})"
    rf"|(?:我叫|我的名字(?:叫|是)|名叫|我是)({_HAN_NAME})"
    r"|(?:氏\s?名|お?名前|担当者|患者名|宛名|お客様名)(?:は)?[：:\s]\s?([\p{Han}\p{Hiragana}\p{Katakana}]{1,5}[ 　]?[\p{Han}\p{Hiragana}\p{Katakana}]{1,5})"
    r"|(?:私は|私の名前は|名前は)([\p{Han}\p{Hiragana}\p{Katakana} ]{2,10}?)(?:です|と申します|といいます|と言います)"
    r"|([\p{Han}\p{Katakana}]{2,6})(?:と申します|といいます)"
    r"|(?:이름|성명|성함|환자|고객|예금주|수취인|담당자)(?:은|는|명)?\s?[:：]?\s?(\p{Hangul}{3})(?:[^\p{Hangul}]|입니다|이고|이며|님|씨|\z)"
    r"|(?:저는|제 이름은|내 이름은) (\p{Hangul}{2,4}?)(?:입니다|이고|이며|라고|이라고|예요|이에요)"
    r"|(?:اسمي|الاسم|المريضة?|اسم المريض|الاسم الكامل)\s?[:：]?\s(\p{Arabic}{2,15}(?: \p{Arabic}{2,15}){1,2})"
    r"|(?:मेरा नाम|नाम\s?[:：]|मरीज़?)\s?([\p{Devanagari}]{2,15}(?: [\p{Devanagari}]{2,15})?)(?: है|[,।\n]|\z)",
    capture=True,
)
_HAN_TITLED = compile_pattern(rf"({_HAN_NAME}|[{_SURNAME}])(?:先生|女士|小姐|太太)", capture=True)
_HERE_IS = compile_pattern(
    rf"(?:\A|[\n.!?])\s*(?:(?:Hi|Hello|Hey|Hallo|Hola|Bonjour)[,!.]? )?(?:[Tt]his is|I'm|I am|[Ss]oy|[Ii]ch bin|[Ss]ou(?: o| a)?|[Ss]ono|[Jj]e suis) ({_TWO})(?:[,.;\n]| and | from | at | born | y | und | et | e )",
    case_sensitive=True,
    capture=True,
)
_BESIDE = re.compile(
    r"((?:[^\W\d_][\w'’.-]* ){1,3}[^\W\d_][\w'’-]+)[\"']?\s*(?:[,;:|<(\t/–-]|\bat\b|\bon\b|\bvia\b|\bunter\b|\bemail\b|\be-mail\b|\bphone\b|\btel\b|\bau\b|\bal\b|\ben\b|\bor\b|\bssn\b|'s| is)"
    r"[\s\"'(<:,.;|-]*(?:(?:e-?mail|phone|tel|cell|mobile|ssn|email address|phone number)[\s:.]*){0,2}\Z",
    re.IGNORECASE,
)
_HAN_BESIDE = re.compile(rf"([{_SURNAME}][\u4e00-\u9fff]{{1,2}})[\s,，、:：;；|（(]*(?:电话|手机|联系电话|邮箱)?[\s:：]*\Z")

_NOT_NAMES = frozenset(
    "the a an and or not is are was this that it you we they he she i my your our on in at by for from to of with call email phone contact"
    " address number please customer support service team office sales help desk name employee patient client account card credit user admin"
    " company inc llc ltd gmbh corp bank university hospital school department street road avenue city state monday tuesday wednesday thursday"
    " friday saturday sunday january february march april may june july august september october november december north south east west new"
    " united states kingdom america american chinese english french german spanish data file list table column row text message subject"
    " dear hello hi hey best regards sincerely thanks thank kind from send sent mail fax mobile cell tel ssn dob id visa mastercard security"
    " social date birth order invoice total payment engineer developer manager director teacher student doctor lead senior junior"
    " software python java test example sample first last full home work emergency main general info information reference api key"
    " what who how when where why which can could would should do does did will only just very really important called being going".split()
)
_NOT_HAN = ("什么", "谁", "如何", "怎么", "名单", "信息", "姓名", "电话", "方面", "方法", "方式", "高级", "程序", "白领", "任何")

_MONTH = r"\p{L}{3,10}\.?"
_DATE = (
    rf"(?:\d{{4}}[-./]\d{{1,2}}[-./]\d{{1,2}}|\d{{1,2}}[-./]\d{{1,2}}[-./]\d{{2,4}}|\d{{1,2}}(?:st|nd|rd|th|er|º|\.)? (?:of |de |di )?{_MONTH},? (?:de |del )?\d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{4}}\s?[年년]\s?\d{{1,2}}\s?[月월]\s?\d{{1,2}}\s?[日일号]?|\d{{8}}|\d{{1,2}}-\p{{L}}{{3}}-\d{{2,4}})"
)
_BORN_FIELD = (
    r"date of birth|birth ?date|\bd\.?o\.?b\b\.?|\b(?:my|his|her|their) birthday|geburtsdatum|geburtstag|\bgeb\.|date de naissance|fecha de nacimiento"
    r"|\bf\. ?nac|data di nascita|data de nascimento|geboortedatum|data urodzenia|дата рождения|дата народження|出生日期|出生年月日?|生年月日|誕生日|生日"
    r"|생년월일|생일|doğum tarihi|تاريخ الميلاد|تاريخ ميلادي|जन्म ?(?:तिथि|तारीख)|ngày sinh|födelsedatum|tanggal lahir"
    r"|\bi(?: was|'m) born|\bich (?:bin|wurde)(?: am)?|\bje suis née?|\bnací|\bsono nat[oa]|\bnasci|\burodził[ae]m się|я родил(?:ся|ась)|我.{0,6}出生于|我.{0,3}生于|я народи\S+"
)
_BORN = (
    r"\bborn|geboren|\bnée?\b|nacid[oa]|nat[oa] il|nascid[oa]|urodzon[ya]|родил(?:ся|ась)|рожд\.|出生|生まれ|태어났|वियजन्म|जन्म|مواليد|sinh ngày"
)
_BIRTH = compile_pattern(
    rf"(?:({_BORN_FIELD})|{_BORN})[^\n\d]{{0,24}}?({_DATE})", capture=True
)
_BIRTH_AFTER = compile_pattern(r"(\d{4}年\d{1,2}月\d{1,2}日)(?:出生|生まれ|生)|(\d{4}년 ?\d{1,2}월 ?\d{1,2}일)(?:생|에 태어)", capture=True)
_AGE = compile_pattern(
    r"\bi(?: am|'m|’m| just turned| turned) (\d{1,3})[ -]?(?:years?[ -]old|yrs? old|y/?o\b|year-old)|(?:\bage|\baged|\balter|\bedad|\bâge|\bidade|\betà|\bleeftijd|\bwiek|возраст|年龄|年齢|나이|العمر|عمري|\byaş|tuổi|उम्र|आयु)\s?(?:is|ist|es|est|é|è|是|为|は|는)?\s?[:：=]\s?(\d{1,3})\b"
    r"|\b(\d{1,3})[ -]?(?:years?[ -]old|yrs?[ -]old|y/?o)[ -](?:\p{L}+ ){0,2}(?:man|woman|male|female|patient|boy|girl|daughter|son|mother|father|employee|person|guy|lady|gentleman|m\b|f\b)"
    r"|\b(?:my|our) (?:\p{L}+ ){1,3}(?:is|just turned|turned) (\d{1,3}) (?:years? old|yrs? old)|\b(?:he|she|patient(?: \p{L}+){0,2})(?: is|'s|,) (\d{1,3}) (?:years? old|yrs? old|y/?o\b)|\bpatient[^\n\d]{0,40}, (?:age[d]? )?(\d{1,3})(?: years| ans|,)"
    r"|\bich bin (\d{1,3}) jahre|\bj['’]ai (\d{1,3}) ans|\btengo (\d{1,3}) años|\bho (\d{1,3}) anni|\btenho (\d{1,3}) anos|\bik ben (\d{1,3}) jaar|\bmam (\d{1,3}) lat|мне (\d{1,3}) (?:лет|год|года)\b|мені (\d{1,3}) рок"
    r"|\b(\d{1,3})[- ](?:jährige?[rn]?|летн\S+) (?:patient|mann|frau|пациент|мужчин|женщин)|(?:我|本人|患者|病人|他|她|\p{Han}{2,3}，(?:男|女)，?)(?:今年|现年)?(\d{1,3})\s?[岁歲]|(?:私は|今年)(\d{1,3})歳|(?:저는|나는|올해) ?(\d{1,3})(?:살|세)|عمري (\d{1,3})|मैं (\d{1,3}) (?:साल|वर्ष)|\b(\d{1,3}) yaşındayım|tôi (\d{1,3}) tuổi",
    capture=True,
)


def find_people(text: Text, contacts: Sequence[Hit]) -> Iterator[Hit]:
    """Gives names, ages and dates of birth.

    Args:
        text: what is read.
        contacts: e-mail addresses, telephone and account numbers that were found: a name beside
            one of them is its owner's.
    """
    for pattern, score in ((_INTRODUCED, 0.95), (_FIELD, 0.93), (_ROLE, 0.9), (_HERE_IS, 0.9)):
        for found in text.places(pattern, 50):
            start, end = found.span(1)
            if _is_name(text.part(start, end), 1 if pattern is _INTRODUCED else 2):
                yield Hit("PERSON", score, start, end)
    for found in text.places(_LOWER, 20):
        if _is_name(text.part(*found.span(1)), 1):
            yield Hit("PERSON", CERTAIN, *found.span(1))
    for found in text.places(_TITLED, 50):
        start, end = found.span(1)
        yield Hit("PERSON", 0.75 if b" " in text.utf8[start:end] else 0.6, start, end)
    if not text.utf8.isascii():
        yield from _eastern(text)
    yield from _beside(text, contacts)
    if text.has_digits:
        yield from _births(text)
        for found in text.places(_AGE, 50):
            start, end = found.span(found.lastindex or 0)
            if int(text.utf8[start:end]) <= 120:
                yield Hit("AGE", CERTAIN, start, end)


def _eastern(text: Text) -> Iterator[Hit]:
    for found in text.places(_EASTERN, 50):
        start, end = found.span(found.lastindex or 0)
        if not text.part(start, end).startswith(_NOT_HAN):
            yield Hit("PERSON", 0.92, start, end)
    for found in text.places(_HAN_TITLED, 50):
        yield Hit("PERSON", 0.6, *found.span(1))


def _beside(text: Text, contacts: Sequence[Hit]) -> Iterator[Hit]:
    for hit in contacts[:100]:
        raw = text.utf8[max(0, hit.start - 96) : hit.start]
        found = _BESIDE.search(raw.decode("utf-8", "ignore")) or _HAN_BESIDE.search(
            raw.decode("utf-8", "ignore")
        )
        if found is None:
            continue
        words = found.group(1).split()
        while len(words) > 2 and not words[0][0].isupper():
            words = words[1:]
        name = " ".join(words)
        if _is_name(name, 2) or not name[0].isascii() and len(words) == 1:
            at = raw.rfind(name.encode())
            if at >= 0:
                start = hit.start - len(raw) + at
                yield Hit("PERSON", CERTAIN, start, start + len(name.encode()))


def _births(text: Text) -> Iterator[Hit]:
    for found in text.places(_BIRTH, 50):
        score = 0.93 if found.span(1)[0] >= 0 else 0.75
        yield Hit("DATE_OF_BIRTH", score, *found.span(2))
    if not text.utf8.isascii():
        for found in text.places(_BIRTH_AFTER, 50):
            yield Hit("DATE_OF_BIRTH", CERTAIN, *found.span(found.lastindex or 0))


def _is_name(name: str, fewest: int) -> bool:
    words = name.replace(",", " ").split()
    if len(words) < fewest or any(word.lower().strip(".") in _NOT_NAMES for word in words):
        return False
    return fewest == 1 or all(word[0].isupper() for word in (words[0], words[-1]))
