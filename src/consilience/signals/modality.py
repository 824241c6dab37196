"""Signal `modality`: whether the last user message asks for text, for an image, or for both.

Config: `routing.signals.modality`; the names are `AR` (text), `DIFFUSION` (an image) and `BOTH`.
Every request is exactly one of them. It is told by patterns for ten languages: a verb of making
before (in Japanese, Korean and the like after) a noun for an image (`draw a cat`, `生成一张图片`), a
prompt in the style of image generators (`--ar 16:9`), or an explanation that is to be illustrated
(`explain X with a diagram`). A noun that goes on (`image gallery`) or a text about making one
(`write code to draw`) asks for text.

`global.model_catalog.modules.modality_detector` adds words of one's own: `prompt_prefixes` that a
prompt for an image begins with, `both_keywords` for both, `keywords` for an image. With `method:
keyword` these alone decide when any are given; otherwise a keyword needs a verb of making in the
text, because "describe this image" asks for none. There is no trained classifier.

Confidence: 0.8 for `AR` and `DIFFUSION`, 0.75 for `BOTH`. Of a text longer than 32 768 characters
the first three quarters of that and the last quarter are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from .base import PureSignal, RequestFacts, SignalResult, SignalRule, SignalSettings
from .image_words import IMAGE, MAKING, NOT_AN_IMAGE, TEXT_AND_IMAGE
from .patterns import Pattern, compile_pattern, literal

ModalityName = Literal["AR", "DIFFUSION", "BOTH"]
MODALITIES: tuple[ModalityName, ...] = ("AR", "DIFFUSION", "BOTH")
_CONFIDENCE: Mapping[ModalityName, float] = {"AR": 0.8, "DIFFUSION": 0.8, "BOTH": 0.75}


class ModalityRule(SignalRule):
    """One entry of `routing.signals.modality`."""

    @field_validator("name")
    @classmethod
    def _name_is_a_modality(cls, name: str) -> str:
        if name not in MODALITIES:
            raise ValueError(f"{name[:40]!r} is no modality; use {', '.join(MODALITIES)}")
        return name


Words = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=200)
]


class ModalitySettings(SignalSettings):
    """`global.model_catalog.modules.modality_detector`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "classifier": "modality is told by rules",
        "confidence_threshold": "modality is told by rules",
        "lower_threshold_ratio": "modality is told by rules",
    }

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether any rule can match."""
    method: Literal["keyword", "classifier", "hybrid"] = "hybrid"
    """`keyword`: the words below alone, when there are any."""
    prompt_prefixes: Words = ()
    """What a prompt for an image begins with."""
    keywords: Words = ()
    """Words for an image."""
    both_keywords: Words = ()
    """Words for text and image."""


class Modality(PureSignal[ModalityRule]):
    """Text, image or both."""

    kind: ClassVar[str] = "modality"
    config_key: ClassVar[str] = "modality"
    Rule: ClassVar[type[SignalRule]] = ModalityRule
    Settings: ClassVar[type[BaseModel] | None] = ModalitySettings
    settings_key: ClassVar[str] = "model_catalog.modules.modality_detector"

    def __init__(self, rules: Sequence[ModalityRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, ModalitySettings) else ModalitySettings()
        self._enabled = own.enabled
        self._detector = Detector(own)

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        found = self._detector.detect(facts.excerpt_utf8) if self._enabled else None
        return {
            rule.name: SignalResult(True, _CONFIDENCE[found]) if rule.name == found else _NO_MATCH
            for rule in self.rules
        }


class Detector:
    """What tells the modality of a text."""

    def __init__(self, settings: ModalitySettings) -> None:
        words = (settings.prompt_prefixes, settings.keywords, settings.both_keywords)
        self._built_in = settings.method != "keyword" or not any(words)
        prefixes, keywords, both = (literal(*each) if each else None for each in words)
        self._prefixes = compile_pattern(rf"\A\s*(?:{prefixes})") if prefixes else None
        self._keywords = compile_pattern(keywords) if keywords else None
        self._both = compile_pattern(both) if both else None
        self._image = compile_pattern(IMAGE)
        self._text_and_image = compile_pattern(TEXT_AND_IMAGE)
        self._not_an_image = compile_pattern(NOT_AN_IMAGE)
        self._making = compile_pattern(MAKING)

    def detect(self, text: bytes) -> ModalityName:
        """Gives the modality of a text in UTF-8."""
        if _found(self._both, text):
            return "BOTH"
        if _found(self._prefixes, text):
            return "DIFFUSION"
        if not self._built_in:
            return "DIFFUSION" if _found(self._keywords, text) else "AR"
        if _found(self._not_an_image, text):
            return "AR"
        if _found(self._text_and_image, text):
            return "BOTH"
        if _found(self._image, text):
            return "DIFFUSION"
        named = _found(self._keywords, text) and _found(self._making, text)
        return "DIFFUSION" if named else "AR"


def _found(pattern: Pattern | None, text: bytes) -> bool:
    return pattern is not None and pattern.search(text) is not None


_NO_MATCH = SignalResult(False)
