from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consilience.signals.modality import MODALITIES, Modality, ModalityRule, ModalitySettings
from support.conversation import facts

IMAGES = [
    "draw a cat wearing a hat",
    "Generate an image of a sunset over mountains",
    "Please make me a logo for my bakery",
    "a castle at night, highly detailed --ar 16:9",
    "genera una imagen de una playa",
    "Dessine-moi un mouton",
    "Erstelle ein Bild von einem Sonnenuntergang",
    "Crie uma imagem de um gato",
    "Disegna un drago",
    "Нарисуй кота",
    "生成一张日落的图片",
    "猫のイラストを描いて",
    "고양이 그림을 그려줘",
]
TEXTS = [
    "Explain how transformers work",
    "What is in this image?",
    "Write code to draw a circle in Python",
    "draw a conclusion from these facts",
    "How do I make an image gallery in React?",
    "Create a docker image for my app",
    "generate a list of names",
    "I drew a picture yesterday, how do I frame it?",
    "这张图片里有什么",
    "Was ist auf dem Bild zu sehen?",
    "",
]
BOTH = [
    "Explain photosynthesis with a diagram",
    "Explain and illustrate the water cycle",
    "Write a story about a fox with illustrations",
    "Erkläre den Wasserkreislauf mit einem Bild",
    "解释光合作用并画一张图",
]


def modality(text: str, **settings: Any) -> str | None:
    """The one modality that matches."""
    rules = [ModalityRule(name=name) for name in MODALITIES]
    found = Modality(rules, ModalitySettings.model_validate(settings)).find(facts(text))
    matched = [name for name, result in found.items() if result.matched]
    assert len(matched) <= 1
    return matched[0] if matched else None


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        *(("DIFFUSION", text) for text in IMAGES),
        *(("AR", text) for text in TEXTS),
        *(("BOTH", text) for text in BOTH),
    ],
)
def test_modality_is_what_is_asked_for(expected: str, text: str) -> None:
    assert modality(text) == expected


WORDS = {
    "prompt_prefixes": ["imagine"],
    "keywords": ["fresco"],
    "both_keywords": ["picture book"],
}


@pytest.mark.parametrize(
    ("text", "hybrid", "keyword"),
    [
        ("imagine a city of glass", "DIFFUSION", "DIFFUSION"),
        ("can you imagine that", "AR", "AR"),
        ("a picture book about bees", "BOTH", "BOTH"),
        ("who painted this fresco?", "AR", "DIFFUSION"),
        ("make something like a fresco", "DIFFUSION", "DIFFUSION"),
        ("draw a cat", "DIFFUSION", "AR"),
    ],
)
def test_configured_words_count_when_they_are_given(text: str, hybrid: str, keyword: str) -> None:
    assert modality(text, **WORDS) == hybrid
    assert modality(text, **WORDS, method="keyword") == keyword


def test_built_in_patterns_count_when_the_method_is_keyword_without_words() -> None:
    assert modality("draw a cat", method="keyword") == "DIFFUSION"


def test_nothing_matches_when_it_is_switched_off() -> None:
    assert modality("draw a cat", enabled=False) is None


@given(st.text())
def test_there_is_one_modality_when_the_text_is_anything(text: str) -> None:
    assert modality(text) in MODALITIES


@pytest.mark.parametrize("name", ["ar", "IMAGE", ""])
def test_rule_is_refused_when_its_name_is_no_modality(name: str) -> None:
    with pytest.raises(ValidationError, match="AR, DIFFUSION, BOTH"):
        ModalityRule(name=name)
