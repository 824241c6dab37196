"""The whole of Fusion on a real model on this machine, over HTTP, from the file that the demo uses.

What so small a model writes is never asserted, only the form.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from consilience import load_config
from consilience.upstream.weights import DEFAULT_MODEL, pull, weights_named
from support.live import live_gateway

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[1] / "examples" / "local.yaml"
QUESTION: Any = [{"role": "user", "content": "Why does ice float on water?"}]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    pull(weights_named(DEFAULT_MODEL))
    with live_gateway(load_config(EXAMPLE)) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="unused", timeout=500, max_retries=0)


def _asked(client: openai.OpenAI) -> dict[str, Any]:
    """One fused answer, as JSON."""
    reply = client.chat.completions.create(
        model="vllm-sr/fusion",
        messages=QUESTION,
        max_completion_tokens=40,
        extra_body={"plugins": [{"id": "fusion", "max_completion_tokens": 40}]},
    )
    return reply.model_dump()


@pytest.fixture(scope="module")
def answer(client: openai.OpenAI) -> dict[str, Any]:
    return _asked(client)


def test_every_stage_answers(answer: dict[str, Any]) -> None:
    stages = [(s["stage"], s["status"]) for s in answer["fusion"]["stages"]]
    assert stages == [("panel", "ok")] * 3 + [("judge", "ok"), ("synthesis", "ok")]
    assert len(answer["fusion"]["responses"]) == 3
    assert answer["choices"][0]["message"]["content"].strip()


def test_usage_is_the_sum_of_all_calls(answer: dict[str, Any]) -> None:
    calls = [stage["usage"]["total_tokens"] for stage in answer["fusion"]["stages"]]
    assert len(calls) == 5
    assert answer["usage"]["total_tokens"] == sum(calls)


def test_the_judge_keeps_to_the_schema_though_it_is_cut_off(answer: dict[str, Any]) -> None:
    analysis = answer["fusion"]["analysis"]
    assert "parse_failed" not in analysis
    assert sorted(analysis) == [
        "blind_spots",
        "consensus",
        "contradictions",
        "partial_coverage",
        "unique_insights",
    ]


def test_the_synthesis_rereads_only_the_new_turns_of_the_built_in_prompts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = re.compile(r"^ +synthesis_template: \|\n(?: {12}.*\n|\n)*", re.MULTILINE)
    text, count = own.subn("", EXAMPLE.read_text(encoding="utf-8"))
    assert count == 1
    with live_gateway(text) as url:
        answer = _asked(openai.OpenAI(base_url=f"{url}/v1", api_key="unused", timeout=500))
    usage = {stage["stage"]: stage["usage"] for stage in answer["fusion"]["stages"]}
    judged = usage["judge"]["prompt_tokens"]
    cached = usage["synthesis"]["prompt_tokens_details"]["cached_tokens"]
    share = cached / judged
    with capsys.disabled():
        sys.stdout.write(
            f"\nof the judge's {judged} prompt tokens {cached} were cached: {share:.0%}\n"
        )
    assert share > 0.95


def test_the_synthesis_streams_with_its_trace(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="vllm-sr/fusion",
        messages=QUESTION,
        max_completion_tokens=30,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={
            "plugins": [
                {"id": "fusion", "max_completion_tokens": 20, "judge_max_completion_tokens": 60}
            ]
        },
    )
    chunks = [chunk for chunk in stream if chunk.choices or chunk.usage]
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert len([text for text in texts if text]) > 5
    assert chunks[0].model_dump()["fusion"]["responses"]
    assert chunks[-1].usage is not None
    assert chunks[-1].model_dump()["fusion"]["stages"][-1]["ttft_ms"] is not None
