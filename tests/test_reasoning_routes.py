"""From `use_reasoning` in a file to the request that a model gets."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.loopers.base import observe_nothing
from consilience.router import Router
from support.fusion_parts import Models, asking

pytestmark = pytest.mark.anyio

CONFIG = """
version: v0.3
providers:
  defaults:
    default_model: qwen
    {effort}
    reasoning_families:
      qwen3: {{type: chat_template_kwargs, parameter: enable_thinking}}
      gpt: {{type: reasoning_effort, parameter: reasoning_effort}}
  models:
    - {{name: qwen, reasoning_family: qwen3, backend_refs: [{{endpoint: "127.0.0.1:1"}}]}}
    - {{name: gpt, reasoning_family: gpt, backend_refs: [{{endpoint: "127.0.0.1:2"}}]}}
    - {{name: plain, backend_refs: [{{endpoint: "127.0.0.1:3"}}]}}
routing:
  modelCards: [{{name: qwen, loras: [{{name: qwen-law}}]}}]
  decisions: [{{name: only, modelRefs: [{ref}]}}]
"""


async def sent(ref: str, *, effort: str = "", model: str = "auto") -> dict[str, Any]:
    """What the model gets beside the conversation."""
    router = Router(parse_config(CONFIG.format(ref=ref, effort=effort)))
    route = await router.route(asking().replace(model=model), {})
    outcome = await route.looper.deliberate(asking(), Models({}), observe_nothing)
    assert isinstance(outcome.final, ChatRequest)
    return {k: v for k, v in outcome.final.body.items() if k != "messages"}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (
            "{model: qwen, use_reasoning: true}",
            {"model": "qwen", "chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            "{model: qwen, lora_name: qwen-law, use_reasoning: false}",
            {"model": "qwen-law", "chat_template_kwargs": {"enable_thinking": False}},
        ),
        (
            "{model: gpt, use_reasoning: true, reasoning_effort: minimal}",
            {"model": "gpt", "reasoning_effort": "minimal"},
        ),
        ("{model: gpt, reasoning_effort: low}", {"model": "gpt", "reasoning_effort": "low"}),
        ("{model: gpt, use_reasoning: true}", {"model": "gpt", "reasoning_effort": "high"}),
        ("{model: gpt, use_reasoning: false, reasoning_effort: low}", {"model": "gpt"}),
        ("{model: gpt}", {"model": "gpt"}),
        ("{model: plain, use_reasoning: true, reasoning_effort: low}", {"model": "plain"}),
    ],
)
async def test_model_is_told_what_its_reference_says(ref: str, expected: dict[str, Any]) -> None:
    assert await sent(ref) == expected


async def test_default_effort_is_taken_when_the_reference_names_none() -> None:
    effort = "default_reasoning_effort: medium"

    found = await sent("{model: gpt, use_reasoning: true}", effort=effort)

    assert found["reasoning_effort"] == "medium"


async def test_nothing_is_switched_when_the_request_names_the_model() -> None:
    assert await sent("{model: qwen, use_reasoning: true}", model="qwen") == {"model": "qwen"}
