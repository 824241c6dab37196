"""Numbers whose form or check digits say what they are: cards, accounts, identity numbers.

A number that only its cue tells from any other has no score of its own. Forms are searched for in
short stretches of the text (`numbers.py`), so Python's engine with its look-around is enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from stdnum import iban, luhn, verhoeff
from stdnum.ar import dni as ar_dni
from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.bg import egn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.gr import amka
from stdnum.hr import oib
from stdnum.id import nik
from stdnum.ie import pps
from stdnum.il import idnr as il_idnr
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.kr import rrn
from stdnum.lt import asmens
from stdnum.mx import curp
from stdnum.my import nric as my_nric
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pk import cnic
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.th import pin
from stdnum.tr import tckimlik
from stdnum.ua import rntrc
from stdnum.us import itin, rtn, ssn
from stdnum.za import idnr as za_idnr

from ..patterns import Pattern
from .cues import ABA, AUSTRALIA, CARD, IDENTITY, SSN, TAX, VEHICLE


class Scheme(NamedTuple):
    """One way to write one kind of number."""

    type: str
    specific: str
    form: re.Pattern[bytes]
    is_valid: Callable[[str], bool]
    bare: float
    """Score without a cue; 0: it is nothing then."""
    cued: float
    cue: Pattern


_LEFT = r"(?<![0-9A-Za-z_])(?<![0-9A-Fa-f][-.])(?<![/#$])"
_RIGHT = r"(?![0-9A-Za-z_])(?!-[0-9A-Za-z])(?!\.[0-9])"


def _scheme(
    type_: str,
    form: str,
    is_valid: Callable[[str], bool],
    bare: float,
    *,
    specific: str = "",
    cued: float = 0.95,
    cue: Pattern = IDENTITY,
) -> Scheme:
    compiled = re.compile(f"{_LEFT}(?:{form}){_RIGHT}".encode(), re.ASCII)
    return Scheme(type_, specific, compiled, is_valid, bare, cued, cue)


def _id(
    specific: str,
    form: str,
    is_valid: Callable[[str], bool],
    bare: float = 0.0,
    cue: Pattern = IDENTITY,
) -> Scheme:
    return _scheme("NATIONAL_ID", form, is_valid, bare, specific=specific, cue=cue)


def _is_card(number: str) -> bool:
    digits = number.replace(" ", "").replace("-", "")
    lengths = _card_lengths(digits)
    return len(digits) in lengths and len(set(digits)) > 1 and luhn.is_valid(digits)


def _card_lengths(digits: str) -> tuple[int, ...]:
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38) or 300 <= three <= 305:
        return (14, 16)
    if 3528 <= four <= 3589:
        return (16,)
    if two in (60, 62, 64, 65):
        return (16, 17, 18, 19)
    return ()


def is_iban(text: str) -> bool:
    """Whether it is an IBAN: its country's length, and check digits."""
    return iban.is_valid(text, check_country=False)


def _is_vin(number: str) -> bool:
    letters = sum(character.isalpha() for character in number)
    if letters < 2 or letters > 14:
        return False
    values = (int(c) if c.isdigit() else _VIN_LETTERS[c] for c in number)
    remainder = sum(v * w for v, w in zip(values, _VIN_WEIGHTS, strict=True)) % 11
    return number[8] == ("X" if remainder == 10 else str(remainder))


_VIN_LETTERS = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _is_person_pan(number: str) -> bool:
    return number[3] == "P" and pan.is_valid(number)


def _is_grouped_aadhaar(number: str) -> bool:
    return aadhaar.is_valid(number) and verhoeff.is_valid(re.sub(r"\D", "", number))


def _is_nino(number: str) -> bool:
    prefix = number[:2]
    return (
        prefix[0] not in "DFIQUV"
        and prefix[1] not in "DFIQUVO"
        and prefix not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")
    )


def _is_rrn(number: str) -> bool:
    """Those given out since October 2020 end in random digits: only the date can be checked."""
    return 1 <= int(number[2:4]) <= 12 and 1 <= int(number[4:6]) <= 31


def _is_snils(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    total = sum(int(d) * w for d, w in zip(digits[:9], range(9, 0, -1), strict=True))
    return int(digits[9:]) == total % 101 % 100


def _is_sg_nric(number: str) -> bool:
    total = sum(int(d) * w for d, w in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += 4 if number[0] in "TG" else 0
    return number[8] == ("JZIHGFEDCBA" if number[0] in "ST" else "XWUTRQPNMLK")[total % 11]


def _is_mixed(number: str) -> bool:
    """European vehicle numbers have no check digit."""
    return 3 <= sum(map(str.isdigit, number)) <= 14


_VIN = r"[A-HJ-NPR-Z0-9]{17}"
_SEPARATED_CARD = r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}"

SCHEMES: tuple[Scheme, ...] = (
    _scheme("CREDIT_CARD", _SEPARATED_CARD, _is_card, 0.95, cued=0.98, cue=CARD),
    _scheme("CREDIT_CARD", r"\d{13,19}", _is_card, 0.9, cued=0.98, cue=CARD),
    _scheme("US_SSN", r"\d{3}-\d{2}-\d{4}", ssn.is_valid, 0.92, cued=0.97, cue=SSN),
    _scheme("US_SSN", r"\d{3} ?\d{2} ?\d{4}", ssn.is_valid, 0.0, cued=0.9, cue=SSN),
    _scheme("BANK_ACCOUNT", r"\d{9}", rtn.is_valid, 0.0, cued=0.92, cue=ABA),
    _scheme("VEHICLE_ID", _VIN, _is_vin, 0.9, cued=0.97, cue=VEHICLE),
    _scheme("VEHICLE_ID", _VIN, _is_mixed, 0.0, cued=0.93, cue=VEHICLE),
    _id("US_ITIN", r"9\d{2}-\d{2}-\d{4}", itin.is_valid, 0.86),
    _id("CN_ID", r"\d{17}[0-9Xx]", ric.is_valid, 0.97),
    _id("ES_NIF", r"\d{8}[- ]?[A-Z]", dni.is_valid, 0.8),
    _id("ES_NIE", r"[XYZ][- ]?\d{7}[- ]?[A-Z]", nie.is_valid, 0.92),
    _id(
        "IT_FISCAL_CODE",
        r"[A-Z]{6}[A-Z0-9]{2}[A-Z][A-Z0-9]{2}[A-Z][A-Z0-9]{3}[A-Z]",
        codicefiscale.is_valid,
        0.97,
    ),
    _id("FR_NIR", r"[12] \d\d (?:0[1-9]|[1-9]\d) \d[0-9AB] \d{3} \d{3} ?\d{2}", nir.is_valid, 0.95),
    _id("FR_NIR", r"[12]\d{4}\d[0-9AB]\d{6} ?\d{2}", nir.is_valid, 0.85),
    _id("BR_CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid, 0.95),
    _id("BR_CPF", r"\d{11}", cpf.is_valid),
    _id("IN_AADHAAR", r"[2-9]\d{3}([ -])\d{4}\1\d{4}", _is_grouped_aadhaar, 0.8),
    _id("IN_AADHAAR", r"[2-9]\d{11}", _is_grouped_aadhaar),
    _id("IN_PAN", r"[A-Z]{5}\d{4}[A-Z]", _is_person_pan, 0.9),
    _id("UK_NINO", r"[A-Z]{2} \d\d \d\d \d\d [A-D]", _is_nino, 0.95),
    _id("UK_NINO", r"[A-Z]{2}\d{6}[A-D]", _is_nino, 0.8),
    _id("UK_NHS", r"\d{3}[ -]?\d{3}[ -]?\d{4}", nhs.is_valid),
    _id("NL_BSN", r"\d{9}", bsn.is_valid),
    _id("PL_PESEL", r"\d{11}", pesel.is_valid, 0.5),
    _id("KR_RRN", r"\d{6}-[1-8]\d{6}", _is_rrn, 0.92),
    _id("KR_RRN", r"\d{13}", rrn.is_valid),
    _id("JP_MY_NUMBER", r"\d{4}[ -]?\d{4}[ -]?\d{4}", my_number.is_valid),
    _id("SE_PNR", r"(?:\d{2})?\d{6}[-+]\d{4}", personnummer.is_valid, 0.9),
    _id("DK_CPR", r"\d{6}-?\d{4}", cpr.is_valid),
    _id("FI_HETU", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Z]", hetu.is_valid, 0.92),
    _id("NO_FNR", r"\d{6} ?\d{5}", fodselsnummer.is_valid),
    _id("BE_NN", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", nn.is_valid, 0.97),
    _id("CH_AHV", r"756\.?\d{4}\.?\d{4}\.?\d{2}", ahv.is_valid, 0.95),
    _id("AT_SVNR", r"\d{4} ?\d{6}", vnr.is_valid),
    _id("PT_NIF", r"\d{3} ?\d{3} ?\d{3}", nif.is_valid),
    _id("RO_CNP", r"[1-8]\d{12}", cnp.is_valid, 0.8),
    _id("CZ_RC", r"\d{6}/\d{3,4}", rc.is_valid, 0.85),
    _id("DE_TAX_ID", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid, 0.0, TAX),
    _id("TR_TCKN", r"[1-9]\d{10}", tckimlik.is_valid),
    _id("IL_ID", r"\d{9}", il_idnr.is_valid),
    _id("ZA_ID", r"\d{13}", za_idnr.is_valid, 0.8),
    _id("MX_CURP", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", curp.is_valid, 0.97),
    _id("CL_RUT", r"\d{1,2}\.\d{3}\.\d{3}-[0-9Kk]", rut.is_valid, 0.95),
    _id("AR_DNI", r"\d{1,2}\.\d{3}\.\d{3}", ar_dni.is_valid),
    _id("CA_SIN", r"\d{3}[ -]\d{3}[ -]\d{3}|\d{9}", sin.is_valid),
    _id("AU_TFN", r"\d{3} ?\d{3} ?\d{2,3}", tfn.is_valid, 0.0, AUSTRALIA),
    _id("BG_EGN", r"\d{10}", egn.is_valid),
    _id("GR_AMKA", r"\d{11}", amka.is_valid),
    _id("HR_OIB", r"\d{11}", oib.is_valid),
    _id("EE_IK", r"[1-6]\d{10}", ik.is_valid),
    _id("LT_ASMENS", r"[3-6]\d{10}", asmens.is_valid),
    _id("IE_PPS", r"\d{7}[A-W][A-IW]?", pps.is_valid),
    _id("UA_RNTRC", r"\d{10}", rntrc.is_valid),
    _id("RU_SNILS", r"\d{3}-\d{3}-\d{3}[ -]\d{2}", _is_snils, 0.95),
    _id("SG_NRIC", r"[STFG]\d{7}[A-Z]", _is_sg_nric, 0.85),
    _id("TH_PIN", r"\d-\d{4}-\d{5}-\d{2}-\d", pin.is_valid, 0.95),
    _id("MY_NRIC", r"\d{6}-\d{2}-\d{4}", my_nric.is_valid, 0.9),
    _id("PK_CNIC", r"\d{5}-\d{7}-\d", cnic.is_valid, 0.92),
    _id("ID_NIK", r"\d{16}", nik.is_valid),
)
"""Where several fit, the surest counts, and among equals the first."""

IBAN_FORM = re.compile(
    rb"(?<![0-9A-Za-z_])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![0-9A-Za-z_])"
)
