"""Keys and passwords: by the prefixes that their issuers give them, and after their names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..patterns import Deferred
from .finding import Hit, Text

_KEYS = (
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\bsk_(?:live|test)_[A-Za-z0-9]{16,}",
    r"\b[rp]k_live_[A-Za-z0-9]{16,}",
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\bxox[abposr]-[A-Za-z0-9-]{10,}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"\bgsk_[A-Za-z0-9]{20,}",
    r"\bnpm_[A-Za-z0-9]{36}",
    r"\bpypi-[A-Za-z0-9_-]{50,}",
    r"\bdop_v1_[a-f0-9]{40,}",
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"\bey[JK][A-Za-z0-9_-]{10,}\.ey[JK][A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    r"\bhooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
)
_KEY = Deferred("|".join(_KEYS), case_sensitive=True)
_NAMED_KEY = Deferred(
    r"(?:api|secret|access|auth|private|client|bearer)[ _-]?(?:access[ _-]?)?(?:key|token|secret)"
    r"[\"'`]?\s*(?:is|was|:|=|=>|：|是|为)\s*[\"'`]?([A-Za-z0-9_./+=-]{16,128})",
    capture=True,
)
_PASSWORD = Deferred(
    r"(?:\b(?:pass|pw)\s?[:=]"
    r"|(?:(?:\b|_)(?:pass ?word|passwd|pwd|pass ?phrase|pass ?code|passwort|kennwort|contrase[nñ]a"
    r"|mot de passe|senha"
    r"|palavra-passe|wachtwoord|has[lł]o|lösenord|mật khẩu)\b|[sş]ifre(?:m|niz)?|парол[ья]|密码"
    r"|密碼"
    r"|口令|パスワード|비밀번호|암호"
    r"|كلمة (?:المرور|السر)|पासवर्ड)[\"'`]?(?: for [a-z0-9 ._@-]{1,40}?| (?:de"
    r"|del|du|für|per|do|da) [a-z0-9 ._@-]{1,30}?)?"
    r"\s*(?:(?:is|was|are|to|ist|lautet|war|es|est|era|é|è|jest|to jest|это|是|为|為|はは?|는"
    r"|은|هي|है"
    r"|là|olarak)[ :：\"'“]"
    r"|[:：=]|[是为為]|은 |는 |は| [\"'`“]))\s*[\"'`“「]?([^\s\"'`“”」，。；、！？]{4,64})",
    capture=True,
)
_PIN = Deferred(
    r"\bpin(?: code| number)?\s*(?:is|:|=)\s*(\d{4,8})\b|(?:支付密码|取款密码|PIN码)(?:是|为|："
    r"|:)?\s*(\d{4,8})\b",
    capture=True,
)
_NO_VALUE = re.compile(
    r"^[<\[{($%]|\*{2,}|x{4,}|\.{3}|…|your|example|placeholder|changeme|redacted|process\.env"
    r"|os\.environ"
    r"|getenv|getpass|secret\.|^(?:config|input|none|null|true|false|undefined)",
    re.IGNORECASE,
)
_CODE = re.compile(r"[()\[\]{}<>;]|\w\.\w")
_FILLER = re.compile(
    r"example|your|xxxx|placeholder|0{8}|1234567890abcdef1234|\.\.\.", re.IGNORECASE
)


def find_credentials(text: Text) -> Iterator[Hit]:
    """Gives keys, tokens and passwords."""
    for found in text.places(_KEY):
        start, end = found.span(0)
        score = 0.5 if _FILLER.search(text.part(start, min(end, start + 200))) else 0.97
        yield Hit("API_KEY", score, start, end)
    for found in text.places(_NAMED_KEY, 50):
        start, end = found.span(1)
        value = text.part(start, end)
        mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
        if mixed and not _FILLER.search(value) and not _NO_VALUE.search(value):
            yield Hit("API_KEY", 0.93, start, end)
    for found in text.places(_PASSWORD, 50):
        start, end = found.span(1)
        yield from _password(text, start, end)
    for found in text.places(_PIN, 50):
        yield Hit("PASSWORD", 0.9, *found.span(found.lastindex or 0))


def _password(text: Text, start: int, end: int) -> Iterator[Hit]:
    value = text.part(start, end).rstrip(".,;!?。，；！")
    if len(value) < 4 or _NO_VALUE.search(value) or _CODE.search(value):
        return
    has_sign = any(character.isdigit() or character in "!@#$%^&*+~?" for character in value)
    if not value.isascii():
        return
    quoted = text.utf8[start - 1 : start] in (b'"', b"'", b"`") and end - start > 5
    score = 0.93 if has_sign and value[0] != "-" else 0.7 if quoted else 0.6
    yield Hit("PASSWORD", score, start, start + len(value.encode()))
