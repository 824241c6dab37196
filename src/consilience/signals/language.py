"""Signal `language`: the language of the last user message.

Config: `routing.signals.language`. A rule's name is an ISO 639-1 code in lower case. The language
is the most probable one by py3langid (naive Bayes over byte n-grams, model in the package) among
`LANGUAGES`, those that more people write weighing more, which decides in short texts; every
request has exactly one. It matches the rule of its name when the probability,
which is the value, is at least `threshold`; confidence is 1, as in the reference.

Before that, fenced and quoted code, addresses and lines of symbols are dropped. Where fewer than
`MIN_LETTERS` letters are left, and where a text in Latin letters has no language more probable
than `UNSURE_BELOW`, the answer is `en` with 0.5.

The first 750 and the last 250 characters of what remains of 1 500 are read: about 0.1 ms, so it is
evaluated in place. Two languages in one text give the one that has more of it. Close relatives
(no/da, hr/sr, id/ms) are confused in short texts. The model takes about half a second and 90 MB
(numpy included) at load, and only where a rule asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from py3langid.langid import (  # type: ignore[import-untyped]  # publishes no types
    MODEL_FILE,
    LanguageIdentifier,
)
from pydantic import BaseModel, Field, field_validator

from .base import PureSignal, RequestFacts, SignalResult, SignalRule
from .excerpt import excerpt

LANGUAGES = (
    *("af", "ar", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "fa", "fi"),
    *("fr", "ga", "gu", "he", "hi", "hr", "hu", "hy", "id", "it", "ja", "ka", "ko", "lt", "lv"),
    *("mk", "ml", "mr", "ms", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr"),
    *("sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "zh"),
)
"""ISO 639-1 codes that are told apart."""
_IN_ENGLISH = (
    *("afrikaans", "arabic", "bulgarian", "bengali", "catalan", "czech", "welsh", "danish"),
    *("german", "greek", "english", "spanish", "estonian", "persian", "finnish", "french"),
    *("irish", "gujarati", "hebrew", "hindi", "croatian", "hungarian", "armenian"),
    *("indonesian", "italian", "japanese", "georgian", "korean", "lithuanian", "latvian"),
    *("macedonian", "malayalam", "marathi", "malay", "dutch", "norwegian", "punjabi", "polish"),
    *("portuguese", "romanian", "russian", "slovak", "slovenian", "albanian", "serbian"),
    *("swedish", "swahili", "tamil", "telugu", "thai", "tagalog", "turkish", "ukrainian"),
    *("urdu", "vietnamese", "chinese"),
)
_CODES = dict(zip(_IN_ENGLISH, LANGUAGES, strict=True))
"""What they are called, for who writes the name in place of the code."""

FALLBACK = "en"
MIN_LETTERS = 4
"""Letters below which nothing can be said; one character of CJK or Thai is enough."""
UNSURE_BELOW = 0.3
_READ = 1500
_SAMPLE = 1000

# How much likelier a prompt is in these, before it is read.
_WEIGHTS = {
    "en": 4,
    **dict.fromkeys(("ar", "de", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt"), 2),
    **dict.fromkeys(("ru", "tr", "vi", "zh"), 2),
}

_NO_LANGUAGE = "zxx"
"""The model's own class for code, numbers and the like."""

_ENOUGH_LETTERS = re.compile(rf"(?:[^\W\d_][\W\d_]*){{{MIN_LETTERS}}}")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
# Scripts whose single characters say what a word says in others.
_DENSE = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_ADDRESS_MARKS = ("://", "www.", "@")
_SYMBOLS = re.compile(r"[{}()\[\]<>=;/\\|$#_&*+^~]")
_CODE_SHARE = 0.12


class Guess(NamedTuple):
    """What a text seems to be written in."""

    language: str
    """ISO 639-1."""
    probability: float
    """Among the languages that are told apart."""


class LanguageRule(SignalRule):
    """One entry of `routing.signals.language`."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Least probability."""

    @field_validator("name")
    @classmethod
    def _name_is_a_language(cls, name: str) -> str:
        if name not in LANGUAGES:
            raise ValueError(
                f"{name[:40]!r} is not a language that is told apart; use one of"
                f" {', '.join(LANGUAGES)}{_meant(name)}"
            )
        return name


def code_of(name: str) -> str | None:
    """Gives what to write for the name of a language, or a tag with a country such as `en-US`."""
    word = name[:40].strip().lower()
    code = word.replace("_", "-").partition("-")[0]
    found = _CODES.get(word) or (code if code in LANGUAGES else None)
    if found is None:
        close = get_close_matches(word, _CODES, n=1, cutoff=0.75)
        found = _CODES[close[0]] if close else None
    return found


def _meant(name: str) -> str:
    found = code_of(name)
    return f"; did you mean {found!r}?" if found else ""


class Language(PureSignal[LanguageRule]):
    """The language that the user writes."""

    kind: ClassVar[str] = "language"
    config_key: ClassVar[str] = "language"
    Rule: ClassVar[type[SignalRule]] = LanguageRule

    def __init__(self, rules: Sequence[LanguageRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        _identifier()  # at load, not on the first request

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        guess = guess_language(facts.text)
        return {rule.name: _result(rule, guess) for rule in self.rules}


def guess_language(text: str) -> Guess:
    """Gives the language of a text; `FALLBACK` with 0.5 when there is no telling."""
    sample = excerpt(prose(excerpt(text, _READ)), _SAMPLE)
    if not (_DENSE.search(sample) or _ENOUGH_LETTERS.search(sample)):
        return Guess(FALLBACK, 0.5)
    language, probability = _identifier().most_probable(sample)
    unsure = probability < UNSURE_BELOW and _LATIN.search(sample) is not None
    if unsure or language == _NO_LANGUAGE:
        return Guess(FALLBACK, 0.5)
    return Guess(language, probability)


def prose(text: str) -> str:
    """Gives what of a text is not code, an address or a row of symbols."""
    outside = "\n".join(text.split("```")[::2])
    marks = outside.split("`")
    if len(marks) % 2:
        outside = " ".join(marks[::2])
    lines = (line for line in outside.split("\n") if not _is_code(line))
    words = " ".join(lines).split()
    if any(mark in outside for mark in _ADDRESS_MARKS):
        words = [word for word in words if not any(mark in word for mark in _ADDRESS_MARKS)]
    return " ".join(words)


def _is_code(line: str) -> bool:
    return len(_SYMBOLS.findall(line)) > _CODE_SHARE * len(line)


def _result(rule: LanguageRule, guess: Guess) -> SignalResult:
    if guess.language != rule.name:
        return _OTHER
    return SignalResult(guess.probability >= rule.threshold, value=guess.probability)


_OTHER = SignalResult(False, value=0.0)


class _Identifier(LanguageIdentifier):  # type: ignore[misc]  # publishes no types
    """The model, restricted to the languages that are told apart."""

    def most_probable(self, sample: str) -> Guess:
        """Gives the best class and its share, those that more people write weighing more."""
        # What `rank` sorts, without a dictionary of a hundred languages for every request.
        weighed = self._decide(sample) * self._weights
        best = int(weighed.argmax())
        return Guess(self.nb_classes[best], float(weighed[best] / weighed.sum()))

    @classmethod
    def restricted(cls) -> _Identifier:
        """Loads and restricts the model: half a second."""
        model: _Identifier = cls.from_model_file(MODEL_FILE, norm_probs=True)
        model.set_languages((*LANGUAGES, _NO_LANGUAGE))
        # As it comes, in half precision, every classification would convert what it multiplies.
        model.nb_ptc = np.ascontiguousarray(model.nb_ptc, dtype=np.float32)
        model._weights = np.array([float(_WEIGHTS.get(code, 1)) for code in model.nb_classes])
        return model


@cache
def _identifier() -> _Identifier:
    return _Identifier.restricted()
