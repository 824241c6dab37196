"""The types of personal data, by the names that other detectors give them, too."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

TYPES = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "NATIONAL_ID",
    "PASSPORT",
    "US_DRIVER_LICENSE",
    "BANK_ACCOUNT",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "CRYPTO",
    "STREET_ADDRESS",
    "ZIP_CODE",
    "PERSON",
    "AGE",
    "DATE_OF_BIRTH",
    "API_KEY",
    "PASSWORD",
    "VEHICLE_ID",
    "MEDICAL_RECORD",
)
"""What a finding's `type` may be."""

SPECIFIC = (
    *("AR_DNI", "AT_SVNR", "AU_TFN", "BE_NN", "BG_EGN", "BR_CPF", "CA_SIN", "CH_AHV", "CL_RUT"),
    *("CN_ID", "CZ_RC", "DE_TAX_ID", "DK_CPR", "EE_IK", "ES_NIE", "ES_NIF", "FI_HETU", "FR_NIR"),
    *("GR_AMKA", "HR_OIB", "ID_NIK", "IE_PPS", "IL_ID", "IN_AADHAAR", "IN_PAN", "IT_FISCAL_CODE"),
    *("JP_MY_NUMBER", "KR_RRN", "LT_ASMENS", "MX_CURP", "MY_NRIC", "NL_BSN", "NO_FNR", "PK_CNIC"),
    *("PL_PESEL", "PT_NIF", "RO_CNP", "RU_SNILS", "SE_PNR", "SG_NRIC", "TH_PIN", "TR_TCKN"),
    *("UA_RNTRC", "UK_NHS", "UK_NINO", "US_ITIN", "ZA_ID"),
)
"""The kinds of `NATIONAL_ID`; each may be allowed by itself."""

_ALIASES: Mapping[str, str] = {
    "EMAIL": "EMAIL_ADDRESS",
    "E_MAIL": "EMAIL_ADDRESS",
    "PHONE": "PHONE_NUMBER",
    "TELEPHONE": "PHONE_NUMBER",
    "TELEPHONE_NUMBER": "PHONE_NUMBER",
    "MOBILE_NUMBER": "PHONE_NUMBER",
    "CARD_NUMBER": "CREDIT_CARD",
    "CREDIT_CARD_NUMBER": "CREDIT_CARD",
    "CREDIT_DEBIT_CARD": "CREDIT_CARD",
    "IBAN": "IBAN_CODE",
    "SSN": "US_SSN",
    "SOCIAL_SECURITY_NUMBER": "US_SSN",
    "ID_NUMBER": "NATIONAL_ID",
    "ID_CARD": "NATIONAL_ID",
    "NATIONAL_ID_NUMBER": "NATIONAL_ID",
    "US_PASSPORT": "PASSPORT",
    "PASSPORT_NUMBER": "PASSPORT",
    "DRIVER_LICENSE": "US_DRIVER_LICENSE",
    "DRIVERS_LICENSE": "US_DRIVER_LICENSE",
    "DRIVER_ID": "US_DRIVER_LICENSE",
    "US_BANK_NUMBER": "BANK_ACCOUNT",
    "BANK_ACCOUNT_NUMBER": "BANK_ACCOUNT",
    "ACCOUNT_NUMBER": "BANK_ACCOUNT",
    "BANK_ROUTING": "BANK_ACCOUNT",
    "ABA_ROUTING_NUMBER": "BANK_ACCOUNT",
    "IP": "IP_ADDRESS",
    "IPV4": "IP_ADDRESS",
    "IPV6": "IP_ADDRESS",
    "MAC": "MAC_ADDRESS",
    "CRYPTO_WALLET": "CRYPTO",
    "CRYPTO_ADDRESS": "CRYPTO",
    "ADDRESS": "STREET_ADDRESS",
    "LOCATION": "STREET_ADDRESS",
    "ZIP": "ZIP_CODE",
    "ZIPCODE": "ZIP_CODE",
    "POSTAL_CODE": "ZIP_CODE",
    "POSTCODE": "ZIP_CODE",
    "NAME": "PERSON",
    "PERSON_NAME": "PERSON",
    "DOB": "DATE_OF_BIRTH",
    "BIRTH_DATE": "DATE_OF_BIRTH",
    "BIRTHDATE": "DATE_OF_BIRTH",
    "API_TOKEN": "API_KEY",
    "SECRET": "API_KEY",
    "SECRET_KEY": "API_KEY",
    "PRIVATE_KEY": "API_KEY",
    "CREDENTIAL": "PASSWORD",
    "CREDENTIALS": "PASSWORD",
    "PASSPHRASE": "PASSWORD",
    "URL_CREDENTIALS": "PASSWORD",
    "VIN": "VEHICLE_ID",
    "LICENSE_PLATE": "VEHICLE_ID",
    "VEHICLE_IDENTIFICATION_NUMBER": "VEHICLE_ID",
    "MEDICAL_LICENSE": "MEDICAL_RECORD",
    "MEDICAL_RECORD_NUMBER": "MEDICAL_RECORD",
    "MRN": "MEDICAL_RECORD",
    "ES_DNI": "ES_NIF",
    "UK_NATIONAL_INSURANCE": "UK_NINO",
    "AADHAAR": "IN_AADHAAR",
    "CPF": "BR_CPF",
    "PESEL": "PL_PESEL",
    "BSN": "NL_BSN",
    "NHS_NUMBER": "UK_NHS",
    "CN_ID_CARD": "CN_ID",
    "CN_RIC": "CN_ID",
    "SG_NRIC_FIN": "SG_NRIC",
    "FI_PERSONAL_IDENTITY_CODE": "FI_HETU",
    "DE_IDNR": "DE_TAX_ID",
    "DE_STEUER_ID": "DE_TAX_ID",
    "TH_TNIN": "TH_PIN",
}

_NEVER_FOUND = frozenset(
    {
        *("DATE_TIME", "DATE", "TITLE", "ORGANIZATION", "GPE", "NRP", "DOMAIN_NAME", "URL", "CITY"),
        *("COUNTRY", "STATE", "USERNAME", "GENDER", "NO_PII", "O"),
    }
)
"""Types of other detectors that nothing here looks for."""


def label_of(name: str) -> str | None:
    """Gives the type, or kind of `NATIONAL_ID`, that a name stands for.

    Letter case, spaces and hyphens do not count. None for a type that is never found here.

    Raises:
        ValueError: a name that means nothing; says which are near.
    """
    label = name.strip().upper().replace(" ", "_").replace("-", "_")
    label = _ALIASES.get(label, label)
    if label in TYPES or label in SPECIFIC:
        return label
    if label in _NEVER_FOUND:
        return None
    near = difflib.get_close_matches(label[:60], [*TYPES, *SPECIFIC, *_ALIASES], n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(TYPES)}"
    raise ValueError(f"{name[:40]!r} is no type of personal data; {meant}")
