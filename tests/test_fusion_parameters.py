"""Each parameter of the reference's Fusion table, and what holds when it is not given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from consilience import Gateway, parse_config
from consilience.chat.request import ChatRequest
from consilience.errors import PanelFailedError, UpstreamConnectionError
from consilience.loopers.base import Binding
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.fusion.options import FusionOptions
from consilience.upstream.scripted import ScriptedUpstream
from support.live import fusion_yaml
from support.scripts import fusion_script

pytestmark = pytest.mark.anyio

SLUG = "vllm-sr/fusion"
HELLO = [{"role": "user", "content": "What is the question?"}]
DOWN = UpstreamConnectionError("down", model="a")


async def asked(
    fusion: str = "", *, script: Mapping[str, Any] | None = None, **fields: Any
) -> tuple[list[ChatRequest], dict[str, Any]]:
    """Runs one Fusion request: the panel's calls, the judge's and the writer's; and the trace."""
    upstream = ScriptedUpstream(script or fusion_script())
    async with Gateway(parse_config(fusion_yaml(fusion=fusion)), upstream=upstream) as gateway:
        reply = await gateway.complete({"model": SLUG, "messages": HELLO, **fields})
    return upstream.calls, dict(reply.fusion or {})


def bound(*models: str, **options: Any) -> Fusion:
    return Fusion(FusionOptions.model_validate(options), Binding("d", models))


async def test_model_names_default_to_the_one_slug() -> None:
    config = parse_config(fusion_yaml())

    assert config.global_.integrations.looper.fusion.model_names == (SLUG,)


async def test_model_names_replace_the_slug() -> None:
    text = (
        fusion_yaml() + "  integrations: {looper: {fusion: {model_names: [openrouter/fusion]}}}\n"
    )
    upstream = ScriptedUpstream(fusion_script())

    async with Gateway(parse_config(text), upstream=upstream) as gateway:
        reply = await gateway.complete({"model": "openrouter/fusion", "messages": HELLO})
        known = [entry.id for entry in gateway.router.models(everything=True)]

    assert reply.text == "The answer."
    assert SLUG not in known


async def test_model_defaults_to_the_first_of_the_panel() -> None:
    fusion = bound(analysis_models=["a", "b"])

    assert (fusion.judge_model, fusion.synthesis_model) == ("a", "a")


async def test_model_judges_and_writes() -> None:
    fusion = bound(model="j", analysis_models=["a", "b"])

    assert (fusion.judge_model, fusion.synthesis_model) == ("j", "j")


async def test_analysis_models_default_to_the_model_refs() -> None:
    assert [seat.model for seat in bound("a", "b").seats] == ["a", "b"]


async def test_analysis_models_replace_the_model_refs() -> None:
    assert [seat.model for seat in bound("a", analysis_models=["b", "j"]).seats] == ["b", "j"]


async def test_max_concurrent_defaults_to_the_panels_size() -> None:
    assert bound("a", "b", "c").width == 3
    assert bound("a", "b", "c", max_concurrent=2).width == 2


async def test_max_completion_tokens_default_to_the_requests() -> None:
    (a, b, judge, final), _ = await asked(max_completion_tokens=2000)

    limits = [call.body["max_completion_tokens"] for call in (a, b, judge, final)]
    assert limits == [2000] * 4


async def test_max_completion_tokens_bound_panel_and_judge() -> None:
    (a, b, judge, final), _ = await asked("max_completion_tokens: 512", max_tokens=2000)

    assert [call.body["max_completion_tokens"] for call in (a, b, judge)] == [512] * 3
    assert final.body["max_tokens"] == 2000
    assert "max_completion_tokens" not in final.body


async def test_temperature_defaults_to_the_requests() -> None:
    (a, b, judge, final), _ = await asked(temperature=0.7)

    assert [call.body["temperature"] for call in (a, b, final)] == [0.7] * 3
    assert judge.body["temperature"] == 0


async def test_temperature_holds_for_the_subrequests() -> None:
    calls, _ = await asked("temperature: 0.2")

    assert [call.body["temperature"] for call in calls] == [0.2] * 4


async def test_include_analysis_defaults_to_true() -> None:
    assert "analysis" in (await asked())[1]
    assert "analysis" not in (await asked("include_analysis: false"))[1]


async def test_include_intermediate_responses_defaults_to_true() -> None:
    assert len((await asked())[1]["responses"]) == 2
    assert "responses" not in (await asked("include_intermediate_responses: false"))[1]


async def test_on_error_defaults_to_skip() -> None:
    for fusion in ("", "on_error: skip"):
        _, trace = await asked(fusion, script=fusion_script(a=DOWN))
        assert [failed["model"] for failed in trace["failed_models"]] == ["a"]

    with pytest.raises(PanelFailedError):
        await asked("on_error: fail", script=fusion_script(a=DOWN))


async def test_analysis_template_is_built_in_unless_given() -> None:
    template = "JUDGE {{original}} / {{responses}}"

    built_in = (await asked())[0][2]
    custom = (await asked(f"analysis_template: {json.dumps(template)}"))[0][2]

    assert "JUDGE" not in str(built_in.messages)
    said = str(custom.messages[-1]["content"])
    assert said.startswith("JUDGE What is the question? / ")
    assert "one" in said
    assert "two" in said


async def test_synthesis_template_is_built_in_unless_given() -> None:
    template = "WRITE {{original}} / {{responses}} / {{analysis}}"

    built_in = (await asked())[0][3]
    custom = (await asked(f"synthesis_template: {json.dumps(template)}"))[0][3]

    assert "WRITE" not in str(built_in.messages)
    said = str(custom.messages[-1]["content"])
    assert said.startswith("WRITE What is the question? / ")
    assert "Both greet." in said


async def test_judge_prompt_version_is_shown() -> None:
    assert (await asked())[1]["prompt_version"] == "fusion-v1"
    assert (await asked("judge_prompt_version: mine"))[1]["prompt_version"] == "mine"
