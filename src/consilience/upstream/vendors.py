"""Vendors and model servers that speak OpenAI's chat completions, and which of their models to take.

The tables are preferences, not truth: what a listing shows goes first, the names written here serve
only when there is no listing. Vendors' keys are named, never read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of model to look for at a vendor."""

    pattern: str
    """Regular expression for the whole id; of several matches the newest is taken."""
    fallback: str
    """The id when the vendor's listing cannot be had."""
    family: str
    """Who made the model: panels prefer different families."""
    light: bool = False
    """Whether it is a cheap and fast one, for requests that need no panel."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A service in the network, reached with a key."""

    name: str
    base_url: str
    key_names: tuple[str, ...]
    """Environment variables that may hold the key; the first that is set is taken."""
    choices: tuple[Choice, ...]
    """In order of preference."""
    base_url_name: str | None = None
    """Environment variable that moves the vendor's address, as its own SDK knows it."""
    key_style: Literal["bearer", "anthropic"] = "bearer"
    """How the listing wants the key; chat completions take a bearer token everywhere."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A program that serves models on this machine, at its usual port."""

    name: str
    title: str
    base_url: str


def _own(family: str, *rows: tuple[str, str] | tuple[str, str, bool]) -> tuple[Choice, ...]:
    return tuple(Choice(row[0], row[1], family, len(row) > 2) for row in rows)


_V = r"\d+(?:\.\d+)?"

VENDORS: tuple[Vendor, ...] = (
    Vendor(
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        _own(
            "openai",
            (rf"gpt-{_V}", "gpt-5"),
            (rf"gpt-{_V}-mini", "gpt-5-mini", True),
            (r"gpt-4\.1", "gpt-4.1"),
        ),
        base_url_name="OPENAI_BASE_URL",
    ),
    Vendor(
        "anthropic",
        "https://api.anthropic.com/v1",
        ("ANTHROPIC_API_KEY",),
        _own(
            "anthropic",
            (r"claude-sonnet-\d[\d-]*", "claude-sonnet-4-5"),
            (r"claude-haiku-\d[\d-]*", "claude-haiku-4-5", True),
            (r"claude-opus-\d[\d-]*", "claude-opus-4-5"),
        ),
        key_style="anthropic",
    ),
    Vendor(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        _own(
            "google",
            (rf"gemini-{_V}-pro", "gemini-2.5-pro"),
            (rf"gemini-{_V}-flash", "gemini-2.5-flash", True),
        ),
    ),
    Vendor(
        "openrouter",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        (
            Choice(rf"anthropic/claude-sonnet-{_V}", "anthropic/claude-sonnet-4.5", "anthropic"),
            Choice(rf"openai/gpt-{_V}", "openai/gpt-5", "openai"),
            Choice(rf"google/gemini-{_V}-pro", "google/gemini-2.5-pro", "google"),
            Choice(rf"google/gemini-{_V}-flash", "google/gemini-2.5-flash", "google", light=True),
            Choice(rf"deepseek/deepseek-v{_V}", "deepseek/deepseek-v3.2", "deepseek"),
        ),
    ),
    Vendor(
        "mistral",
        "https://api.mistral.ai/v1",
        ("MISTRAL_API_KEY",),
        _own(
            "mistral",
            (r"mistral-large-latest", "mistral-large-latest"),
            (r"mistral-medium-latest", "mistral-medium-latest"),
            (r"mistral-small-latest", "mistral-small-latest", True),
        ),
    ),
    Vendor(
        "groq",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        (
            Choice(r"openai/gpt-oss-120b", "openai/gpt-oss-120b", "openai"),
            Choice(r"llama-[\d.]+-70b-versatile", "llama-3.3-70b-versatile", "meta"),
            Choice(r"qwen/qwen[\d.]+-32b", "qwen/qwen3-32b", "qwen"),
            Choice(r"llama-[\d.]+-8b-instant", "llama-3.1-8b-instant", "meta", light=True),
        ),
    ),
    Vendor(
        "deepseek",
        "https://api.deepseek.com/v1",
        ("DEEPSEEK_API_KEY",),
        _own(
            "deepseek",
            (r"deepseek-reasoner", "deepseek-reasoner"),
            (r"deepseek-chat", "deepseek-chat", True),
        ),
    ),
    Vendor(
        "xai",
        "https://api.x.ai/v1",
        ("XAI_API_KEY",),
        _own(
            "xai",
            (r"grok-\d+(?:[.-]\d+)*", "grok-4"),
            (r"grok-\d+(?:[.-]\d+)*-(?:mini|fast.*)", "grok-3-mini", True),
        ),
    ),
    Vendor(
        "together",
        "https://api.together.xyz/v1",
        ("TOGETHER_API_KEY",),
        (
            Choice(r"deepseek-ai/DeepSeek-V[\d.]+", "deepseek-ai/DeepSeek-V3", "deepseek"),
            Choice(r"openai/gpt-oss-120b", "openai/gpt-oss-120b", "openai"),
            Choice(
                r"meta-llama/Llama-[\d.]+-70B-Instruct-Turbo",
                "meta-llama/Llama-3.3-70B-Instruct-Turbo",
                "meta",
            ),
            Choice(r"openai/gpt-oss-20b", "openai/gpt-oss-20b", "openai", light=True),
        ),
    ),
)

SERVERS: tuple[ModelServer, ...] = (
    ModelServer("vllm", "vLLM", "http://127.0.0.1:8000/v1"),
    ModelServer("ollama", "Ollama", "http://127.0.0.1:11434/v1"),
    ModelServer("lmstudio", "LM Studio", "http://127.0.0.1:1234/v1"),
    ModelServer("llamacpp", "llama.cpp", "http://127.0.0.1:8080/v1"),
)

_NOT_FOR_CHAT = re.compile(
    r"embed|rerank|whisper|(?:^|[-_/:])(?:tts|bge|gte|e5|clip|sdxl|flux|guard|minilm)(?:[-_/:.]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model taken from a listing or from the table."""

    id: str
    family: str
    light: bool = field(default=False)


def choose(choices: Iterable[Choice], listed: Iterable[str] | None) -> tuple[Chosen, ...]:
    """Takes the newest listed model for each choice, in the choices' order, none twice.

    Args:
        listed: what the vendor lists; None when it could not be asked.
    """
    taken: dict[str, Chosen] = {}
    ids = None if listed is None else tuple(listed)
    for choice in choices:
        if ids is None:
            model = choice.fallback
        else:
            matching = [m for m in ids if re.fullmatch(choice.pattern, m)]
            if not matching:
                continue
            model = max(matching, key=_newness)
        taken.setdefault(model, Chosen(model, choice.family, choice.light))
    return tuple(taken.values())


def chats(model_id: str) -> bool:
    """Whether an id looks like a model that answers chats, not an embedder or the like."""
    return _NOT_FOR_CHAT.search(model_id) is None


def _newness(model_id: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Versions first, then dates: `x-4-5` is newer than `x-4-20250514`."""
    numbers = [int(n) for n in re.findall(r"\d+", model_id)]
    return tuple(n for n in numbers if n < 10**6), tuple(n for n in numbers if n >= 10**6)
