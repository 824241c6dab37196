"""Street addresses, as a dozen languages write them: a number and a name of a street."""

from __future__ import annotations

from collections.abc import Iterator

from ..patterns import Deferred
from .finding import Hit, Text

_CAP = r"\p{Lu}[\p{L}\p{M}'’.-]*"
_STREETS = (
    r"Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace"
    r"|Close|Crescent|Square"
    r"|Sq|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Mews|Gardens|Grove|Alley|Quay|Row|Walk|Loop"
    r"|Plaza"
)
_ZIP = r"(?:[^\n]{0,40}?\b(?:[A-Z]{2}\.? \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})\b)?"
_SURE = (
    (
        rf"\b\d{{1,5}}[A-Za-z]?(?:[-/]\d{{1,4}})? (?:[NSEW]{{1,2}}\.? |North |South |East "
        rf"|West )?(?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}"
        rf"(?:{_STREETS})\b\.?{_ZIP}"
    ),
    rf"\b\d{{1,5}} (?:{_CAP} )?(?:Broadway|Fifth Avenue)\b{_ZIP}",
    r"\b(?i:P\.?\s?O\.? Box) \d{2,6}\b",
    # German, Dutch
    (
        r"\b\p{Lu}[\p{L}.-]+(?:straße|strasse|str\.|gasse|allee|chaussee|straat|laan|gracht|dijk"
        r"|weg)\s\d{1,4}\s?[a-z]?\b"
    ),
    (
        rf"\b(?:{_CAP}[ -]){{1,3}}(?:Straße|Strasse|Str\.|Allee|Platz|Weg|Gasse|Ring|Damm"
        rf"|Ufer)\s\d{{1,4}}\s?[a-z]?\b"
    ),
    (
        rf"\b(?:\p{{Lu}}\p{{L}}+(?:platz|ring|damm|ufer|plein|kade)|(?:Am|An der|Auf der|Im|Unter den"
        rf"|Zum|Zur) {_CAP}) \d{{1,4}}[a-z]?,? \d{{4,5}}\b"
    ),
    # French
    (
        r"\b\d{1,4}(?: ?(?:bis|ter))?,? (?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Cc]hemin|[Ii]mpasse"
        r"|[Aa]llée|[Qq]uai|[Rr]oute|[Pp]lace)"
        rf" (?:de la |de l['’]|des |du |de |d['’])?{_CAP}"
    ),
    # Spanish, Portuguese, Italian
    (
        rf"\b(?:[Cc]alle|[Cc]/|[Aa]venida|[Aa]vda\.?|[Aa]v\.|[Pp]aseo|[Pp]laza|[Cc]arrer|[Cc]amino"
        rf"|[Rr]ua|[Tt]ravessa|[Pp]raça|[Aa]lameda"
        rf"|[Ee]strada|[Vv]ia|[Vv]iale|[Pp]iazza|[Cc]orso|[Vv]icolo|[Ll]argo) (?:(?:de la|de los"
        rf"|de las|de|del|do|da|dos|das|della|dei|delle)?\s?{_CAP}\s?){{1,5}}"
        r",?\s?(?:n[ºo°.]{0,2}\s?|número )?\d{1,4}\b"
    ),
    r"\b(?:[Cc]alle|[Cc]arrera|[Cc]ra\.?|[Cc]l\.?) \d{1,3}[A-Z]? ?(?:#|[Nn]o\.?|[Nn][°º]) ?\d{1,3}",
    # Polish, Russian, Ukrainian, Turkish
    rf"\b(?:ul\.|ulica|ulicy|al\.) (?:{_CAP} ?){{1,3}}\d{{1,4}}(?:[/m. ]{{1,3}}\d{{1,4}})?\b",
    (
        r"(?:ул\.|улиц[аеы]|пр-т|проспект[е]?|пер\.|переул\w+|вул\.|вулиц\S+"
        r"|бульвар)\s?[\p{Lu}][\p{Cyrillic} -]{2,40},?\s?(?:д(?:ом|\.)?\s?|буд\.\s?)?\d{1,4}"
    ),
    r"(?:Mahallesi|Mah\.|Sokak|Sokağı|Sok\.|Sk\.|Caddesi|Cad\.)[^\n]{0,30}?No\s?[:.]?\s?\d{1,4}",
    # Chinese, Japanese, Korean
    (
        r"(?:[省市区區县縣镇鎮乡]\p{Han}{1,10}|\p{Han}{2,6})(?:大道|路|街|巷|弄"
        r"|胡同)(?:\p{Han}{0,4})\d{1,5}\s?(?:号|號"
        r"|弄)"
    ),
    r"[省市区縣县]\p{Han}{2,14}\d{1,5}(?:号|號|栋|幢|单元|室)",
    r"[都道府県]\p{Han}{1,6}[市区郡][^\n]{0,14}?\d{1,3}(?:丁目|-\d{1,3}|番)",
    r"\p{Han}{1,5}[市区]\p{Han}{1,6}\d{1,2}(?:丁目|-\d{1,3}-\d{1,3})",
    r"(?:시|구|군|동)\s[\p{Hangul}\d]{1,12}(?:로|길)\s?\d{1,4}(?:-\d{1,4})?",
    # Arabic, Hindi, Vietnamese
    r"شارع\s[\p{Arabic} ]{2,30}[،,]?\s?(?:رقم\s|مبنى\s)?\d{1,4}",
    r"(?:मकान|फ्लैट|प्लॉट)\s?(?:नंबर|संख्या|नं\.?)\s?[A-Z]?-?\d{1,4}",
    r"\b[Ss]ố \d{1,4},? (?:đường|phố) \p{Lu}",
)
_ADDRESS = Deferred("|".join(_SURE), case_sensitive=True)
_CUED = Deferred(
    r"(?:\b(?:live[sd]?|living|reside[sd]?|stay(?:ing)?|located|home is) at|\baddress(?: is|:)"
    r"|\b(?:ship|send|deliver|mail)(?:ed|ing)?"
    r"(?: \w+){0,4} to|adresse(?: est|:| ist)|dirección(?: es|:)|endereço(?: é|:)|indirizzo(?: è"
    r"|:))[^\n\d]{0,16}"
    rf"\d{{1,5}}[a-z]?(?: [\p{{L}}\d.'-]+){{1,3}} (?:{_STREETS})\b"
    r"|\b\d{1,5} (?:main|oak|elm|maple|pine|cedar|birch|walnut|park|church|high|mill|school"
    r"|hill|lake|station|washington|lincoln) (?:street|st|avenue|ave|road|rd|lane|ln|drive|dr)\b"
)
_CITY = Deferred(r"\b\p{Lu}[\p{L}.' -]{1,30}, [A-Z]{2} \d{5}(?:-\d{4})?\b", case_sensitive=True)


def find_addresses(text: Text) -> Iterator[Hit]:
    """Gives street addresses, and United States postal codes after city and state."""
    for found in text.places(_ADDRESS, 50):
        yield Hit("STREET_ADDRESS", 0.92, *found.span(0))
    for found in text.places(_CUED, 50):
        yield Hit("STREET_ADDRESS", 0.9, *found.span(0))
    for found in text.places(_CITY, 50):
        yield Hit("ZIP_CODE", 0.9, *found.span(0))
