"""What only its label tells: passports, licences, accounts, records of patients, postal codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..patterns import Deferred, Pattern
from .finding import Hit, Text

_IS = (
    r"(?:[ \"'`]*(?:(?:number|num|nr|no|nº|n°|№|#|id|code|ending in|is|was|are|ist|lautet|es|est"
    r"|é|è|jest|wynosi"
    r"|号码|號碼|号|號|番号|번호|是|为|為|は|은|는|이|номер|رقم|هو|है|संख्या|numarası|numaram"
    r"|numer[oa]?|número"
    r"|nummer|numéro)"
    r"[.]?|[:=：(#]))*[ \"'`]*"
)


class Record(NamedTuple):
    """A label and what follows it."""

    type: str
    pattern: Pattern


def _record(type_: str, labels: str, value: str) -> Record:
    return Record(type_, Deferred(rf"(?:{labels}){_IS}({value})\b", capture=True))


RECORDS = (
    _record(
        "PASSPORT",
        r"passport|reisepass(?:nummer)?|passnummer|passeport|pasaporte|passaporto|passaporte"
        r"|paszport\w*|paspoort(?:nummer)?"
        r"|паспорт\w*(?: серии| серия)?|护照|護照|パスポート番号|旅券番号|旅券|여권"
        r"|جواز(?: السفر| سفر)?|पासपोर्ट"
        r"|pasaport\w*|hộ chiếu",
        r"(?:[A-Z]{2} )?[A-Z]{0,3}[0-9]{6,9}|[A-Z0-9]{8,9}|[0-9]{2} ?[0-9]{2} [0-9]{6}",
    ),
    _record(
        "US_DRIVER_LICENSE",
        r"driver'?s?'?[ -]li[cs]en[cs]e|driving li[cs]en[cs]e|\bDL\b|führerschein(?:nummer)?"
        r"|permis de conduire"
        r"|carn[eé] de conducir|licencia de conducir|patente di guida|carteira de (?:motorista"
        r"|habilitação)|\bCNH\b"
        r"|rijbewijs(?:nummer)?|prawo jazdy|водительск\w+ удостоверени\w+|驾驶证|駕照|驾照"
        r"|運転免許証?"
        r"|운전면허(?:증)?",
        r"[A-Z]{1,3}[0-9][0-9 -]{4,14}[0-9]|[A-Z0-9]{5}[0-9]{6}[A-Z0-9]{5}|[0-9]{7,12}"
        r"|[0-9]{2}-[0-9]{2}-[0-9]{6}-[0-9]{2}|[A-Z][0-9]{3}-[0-9]{4}-[0-9]{4}",
    ),
    _record(
        "MEDICAL_RECORD",
        r"\bMRN\b|medical record|patient (?:id|number|no\.?|record)|hospital number|health record"
        r"|health card"
        r"|patienten(?:nummer|-id|akte)|krankenakte|numéro de dossier|historia clínica"
        r"|n[uú]mero de historia"
        r"|cartella clinica|prontuário|病历|病歷|住院|门诊号|患者(?:ID|番号)|カルテ|환자 ?번호"
        r"|차트|карт\w+ пациента"
        r"|história clínica|insurance (?:member|policy)|member id|policy number",
        r"[A-Z]{0,4}[-#]?[0-9][0-9-]{4,13}",
    ),
    _record(
        "BANK_ACCOUNT",
        r"(?:bank(?:ing)? |checking |savings |current )?(?:account|acct|a/c)\b|konto(?:nummer"
        r"|nr)?\b|numer konta|numéro de compte"
        r"|compte bancaire|cuenta(?: bancaria| corriente| de ahorros)?\b|conta(?: corrente"
        r"| bancária| poupança)\b"
        r"|conto(?: corrente| bancario)|rekening(?:nummer)?|расч[её]тн\w+ сч[её]т\w*"
        r"|(?:номер )?сч[её]т[а]?\b|银行(?:卡|账|帐)[号户]?|银行账户"
        r"|银行帐户|账户|帐户|账号|帐号|開户|口座番号|普通預金|口座|계좌(?:번호)?|رقم الحساب"
        r"|الحساب(?: البنكي)?|खाता|hesap",
        r"[0-9](?:[ -]?[0-9]){7,18}",
    ),
    _record("BANK_ACCOUNT", r"sort[ -]code", r"[0-9]{2}[- ]?[0-9]{2}[- ]?[0-9]{2}"),
    _record(
        "ZIP_CODE",
        r"\bzip(?:[ -]?code)?\b|post(?:al)?[ -]?code|postleitzahl|\bPLZ\b|code postal"
        r"|c[oó]digo postal|\bCEP\b"
        r"|codice postale|kod pocztowy|почтов\w+ индекс|индекс|邮编|邮政编码|郵遞區號"
        r"|郵便番号|〒|우편번호"
        r"|الرمز البريدي|पिन कोड|posta kodu",
        r"[0-9]{5}-[0-9]{3,4}|[0-9]{4} ?[A-Z]{2}|[0-9]{3}-[0-9]{4}|[0-9]{2}-[0-9]{3}|[0-9]{4,6}"
        r"|[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}|[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]",
    ),
    _record(
        "VEHICLE_ID",
        r"li[cs]en[cs]e plate|number plate|plate number|registration plate|kennzeichen"
        r"|immatriculation|matr[ií]cula|targa"
        r"|placa(?: do carro)?|kenteken|tablica rejestracyjna|госномер|车牌|車牌"
        r"|ナンバープレート|차량 ?번호"
        r"|plaka\w*",
        r"[A-Z]{1,3}[ -]?[A-Z]{0,2}[ -]?[0-9]{1,4}[ -]?[A-Z]{0,3}"
        r"|[0-9]{1,4}[ -]?[A-Z]{2,3}[ -]?[0-9]{0,3}",
    ),
    _record(
        "NATIONAL_ID",
        r"national id(?:entity)?(?: card)?|identity card|\bID[ -]?card|personalausweis(?:nummer)?"
        r"|ausweisnummer|carte d'identité"
        r"|carta d'identità|dni\b|身份证|身分證|주민등록|номер паспорта|social insurance",
        r"[A-Z]{0,3}[0-9][A-Z0-9-]{6,16}",
    ),
)
_CHINESE_PLATE = Deferred(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·• ]?[A-Z0-9]{5,6}\b",
    case_sensitive=True,
)


def find_records(text: Text) -> Iterator[Hit]:
    """Gives what stands right after its label."""
    for record in RECORDS:
        for found in text.places(record.pattern, 50):
            start, end = found.span(1)
            digits = sum(48 <= byte <= 57 for byte in text.utf8[start:end])
            if digits >= (2 if record.type == "PASSPORT" else 1):
                yield Hit(record.type, 0.9, start, end)
    if not text.utf8.isascii():
        for found in text.places(_CHINESE_PLATE, 50):
            yield Hit("VEHICLE_ID", 0.92, *found.span(0))
