"""E-mail addresses, addresses of machines, wallets, and passwords in URLs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from stdnum import bitcoin

from ..patterns import Deferred
from .finding import Hit, Text

_EMAIL = Deferred(r"[A-Za-z0-9_][A-Za-z0-9._%+'-]*@[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z]+\b")
_SPELLED_EMAIL = Deferred(
    r"\b[A-Za-z0-9][A-Za-z0-9._+-]* ?(?:\(at\)|\[at\]|\{at\}| at ) ?[A-Za-z0-9-]+"
    r" ?(?:\(dot\)|\[dot\]|\{dot\}| dot ) ?(?:com|org|net|edu|io|co|de|fr|es|it|uk|info|cn|jp|br"
    r"|in)\b"
)
_URL_LOGIN = Deferred(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@[A-Za-z0-9\[]")
_IPV4 = Deferred(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
_IPV6 = Deferred(r"\b(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,7}\b|\b(?:[0-9a-f]{1,4}:){2,7}:")
_MAC = Deferred(
    r"\b[0-9a-f]{2}(?:(?::[0-9a-f]{2}){5}|(?:-[0-9a-f]{2}){5}|[0-9a-f]{2}(?:\.[0-9a-f]{4}){2})\b"
)
_BITCOIN = Deferred(
    r"\b(?:bc1[a-z0-9]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b", case_sensitive=True
)
_ETHEREUM = Deferred(r"\b0x[0-9a-f]{40}\b")

_SAMPLE_DOMAINS = frozenset(
    {
        *("example.com", "example.org", "example.net", "example.edu", "domain.com", "email.com"),
        *("yourdomain.com", "yourcompany.com", "mydomain.com", "company.example", "test.com"),
    }
)
_SAMPLE_TOPS = frozenset({"example", "test", "invalid", "local", "localhost"})
_FILES = frozenset(
    {
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "js",
        "ts",
        "py",
        "css",
        "html",
        "json",
        "md",
        "txt",
    }
)
_NOBODY = ("noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon")
_VERSION = re.compile(
    r"(?:versi[oó]n|versão|version|release|build|firmware|sections?|chapters?|clause|\bv|§|版本"
    r"|バージョン|версия)\W{0,4}$"
)
_HOST = re.compile(r"\bip\b|ipv4|address|adress|host|server|地址|アドレス|адрес")
_RESOLVERS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"})
_DOCUMENTATION = tuple(
    ipaddress.ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


def find_network(text: Text) -> Iterator[Hit]:
    """Gives what can be found without looking at words."""
    if b"://" in text.utf8 and b"@" in text.utf8:
        yield from _logins(text)
    if b"@" in text.utf8:
        yield from _emails(text)
    if b"at" in text.utf8 and b"dot" in text.utf8.lower():
        for found in text.places(_SPELLED_EMAIL):
            yield Hit("EMAIL_ADDRESS", 0.9, *found.span(0))
    if not text.has_digits:
        return
    if text.utf8.count(b".") > 2:
        yield from _ipv4(text)
    if text.utf8.count(b":") > 1 or text.utf8.count(b"-") > 4 or text.utf8.count(b".") > 1:
        yield from _macs(text)
    if b"::" in text.utf8 or text.utf8.count(b":") > 6:
        yield from _ipv6(text)
    yield from _wallets(text)


def _emails(text: Text) -> Iterator[Hit]:
    for found in text.places(_EMAIL):
        start, end = found.span(0)
        local, _, domain = text.part(start, end).lower().rpartition("@")
        top = domain.rpartition(".")[2]
        if top in _FILES or local == "git" or len(local) > 64 or not 2 <= len(top) <= 24:
            continue
        sample = domain in _SAMPLE_DOMAINS or top in _SAMPLE_TOPS or domain.startswith("example.")
        nobody = sample or local.startswith(_NOBODY) or domain.endswith(".example.com")
        yield Hit("EMAIL_ADDRESS", 0.5 if nobody else 0.97, start, end)


def _logins(text: Text) -> Iterator[Hit]:
    for found in text.places(_URL_LOGIN):
        start, end = found.span(0)
        login = text.part(start, end - 2).partition("://")[2]
        password = login.rpartition(":")[2].lower()
        sample = (
            password in ("password", "pass", "pwd", "secret", "token") or password[0] in "<$*{["
        )
        yield Hit("PASSWORD", 0.5 if sample else 0.98, start, end - 2)


def _ipv4(text: Text) -> Iterator[Hit]:
    for found in text.places(_IPV4):
        start, end = found.span(0)
        if text.utf8[end : end + 1] in (b".", b"-") and text.utf8[end + 1 : end + 2].isdigit():
            continue
        if text.utf8[start - 1 : start] in (b".", b"-") and start > 0:
            continue
        try:
            address = ipaddress.IPv4Address(text.part(start, end))
        except ValueError:
            continue
        yield Hit("IP_ADDRESS", _ip_score(address, text.before(start, 16)), start, end)


def _ip_score(address: ipaddress.IPv4Address | ipaddress.IPv6Address, before: str) -> float:
    if str(address) in _RESOLVERS or any(address in network for network in _DOCUMENTATION):
        return 0.3
    if _VERSION.search(before):
        return 0.3
    if not address.is_global or address.is_multicast:
        return 0.5
    if address.version == 4 and sorted(address.packed)[2] < 20 and not _HOST.search(before):
        return 0.5  # so small that it may well be a version
    return 0.92


def _ipv6(text: Text) -> Iterator[Hit]:
    for found in text.places(_IPV6):
        start, end = found.span(0)
        try:
            address = ipaddress.IPv6Address(text.part(start, end))
        except ValueError:
            continue
        if address.packed[0] >> 5 == 1:  # 2000::/3, what is routed; `std::a` is outside of it
            yield Hit("IP_ADDRESS", _ip_score(address, text.before(start, 16)), start, end)


def _macs(text: Text) -> Iterator[Hit]:
    for found in text.places(_MAC):
        start, end = found.span(0)
        around = text.utf8[max(0, start - 1) : start] + text.utf8[end : end + 1]
        octets = text.utf8[start:end].lower().translate(None, b":-.")
        if not (b":" in around or b"-" in around) and len(set(octets)) > 2:
            sample = octets.startswith(b"00005e0053") or octets in (
                b"001122334455",
                b"aabbccddeeff",
            )
            yield Hit("MAC_ADDRESS", 0.5 if sample else 0.93, start, end)


def _wallets(text: Text) -> Iterator[Hit]:
    for found in text.places(_BITCOIN, 50):
        start, end = found.span(0)
        if bitcoin.is_valid(text.part(start, end)):
            yield Hit("CRYPTO", 0.97, start, end)
    for found in text.places(_ETHEREUM, 50):
        start, end = found.span(0)
        before = text.before(start)
        cued = any(word in before for word in ("wallet", "eth", "send", "钱包", "cartera", "кошел"))
        yield Hit("CRYPTO", 0.93 if cued else 0.8, start, end)
