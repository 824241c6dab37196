"""Where a request would go, why, and what it would cost, without a call."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.chat.codec import encode
from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.errors import InvalidRequestError, UnknownModelError
from consilience.explain import ANSWER_TOKENS, Explanation, explain
from consilience.router import Router
from support.routing_parts import PROJECTED, failing_signal, routing_yaml

pytestmark = pytest.mark.anyio

LONG = 400
"""Bytes of a prompt that counts 100 tokens and 4 for its framing."""


async def explained(
    text: str = "compare tea and coffee",
    *,
    model: str = "auto",
    config: str | None = None,
    **fields: Any,
) -> Explanation:
    messages = [{"role": "user", "content": text}]
    request = ChatRequest.from_body({"model": model, "messages": messages, **fields})
    checked = parse_config(config or routing_yaml())
    return await explain(Router(checked), checked, request, {})


async def body(text: str = "compare tea and coffee", **given: Any) -> dict[str, Any]:
    explanation = await explained(text, **given)
    assert encode(explanation.as_body(trace=True))
    return explanation.as_body()


async def test_decision_is_told_with_what_it_rests_on() -> None:
    told = await body()

    assert told["routing_decision"] == "deep"
    assert told["decision_result"] == {
        "decision_name": "deep",
        "algorithm": "fusion",
        "confidence": 1.0,
        "matched_rules": ["keyword:weigh"],
        "plugins": [],
        "used_signals": {"keywords": ["weigh", "secret"], "context": ["long"]},
        "matched_signals": {"keywords": ["weigh"]},
        "unmatched_signals": {"keywords": ["secret"], "context": ["long"]},
    }


async def test_other_decisions_say_why_they_lost() -> None:
    told = {d["decision_name"]: d for d in (await body())["decisions"]}

    assert [name for name, d in told.items() if d["selected"]] == ["deep"]
    assert told["deep"]["reason"] == ""
    assert told["quick"]["matched"] is True
    assert told["quick"]["reason"] == "priority 10 against 100 of 'deep'"
    assert told["kept"]["matched"] is False
    assert told["kept"]["reason"] == "keyword 'secret' did not match"


async def test_every_signal_is_told_with_its_figures() -> None:
    told = await body()

    by_name = {signal["name"]: signal for signal in told["signals"]}
    assert by_name["weigh"] == {
        "type": "keyword",
        "name": "weigh",
        "matched": True,
        "confidence": 1.0,
        "value": None,
        "error": None,
    } | {k: v for k, v in by_name["weigh"].items() if k == "detail"}
    assert (by_name["long"]["matched"], by_name["long"]["confidence"]) == (False, None)
    assert told["signal_values"] == {"context:long": by_name["long"]["value"]}
    assert told["signal_confidences"] == {"keyword:weigh": 1.0}
    assert told["signal_errors"] == {}


def test_error_of_a_signal_is_told_with_it() -> None:
    told = failing_signal().as_body(trace=True)

    (signal,) = told["signals"]
    assert (signal["matched"], signal["error"]) == (False, "broken")
    assert told["signal_errors"] == {"keyword:a": "broken"}
    assert told["eval_trace"][0]["root_trace"]["unknown"] is True
    assert told["decisions"][0]["reason"] == "keyword 'a' could not be evaluated (broken)"


async def test_time_is_told_for_each_family_that_was_asked() -> None:
    metrics = (await body())["metrics"]

    assert set(metrics) == {"keyword", "context"}
    assert all(metric["execution_time_ms"] >= 0 for metric in metrics.values())


async def test_whole_tree_is_told_when_a_trace_is_asked_for() -> None:
    explanation = await explained()

    assert "eval_trace" not in explanation.as_body()
    traces = {t["decision_name"]: t for t in explanation.as_body(trace=True)["eval_trace"]}
    assert set(traces) == {"deep", "kept", "quick"}
    any_of, not_secret = traces["deep"]["root_trace"]["children"]
    assert [child["signal_name"] for child in any_of["children"]] == ["weigh", "long"]
    assert (not_secret["node_type"], not_secret["matched"]) == ("NOT", True)
    assert not_secret["children"][0]["matched"] is False


@pytest.mark.parametrize(
    ("given", "status", "model", "algorithm"),
    [
        ({}, "planned_final", "strong", "fusion"),
        ({"text": "compare, internal only"}, "selected", "unpriced", "static"),
        ({"text": "hi"}, "fallback", "cheap", "static"),
        ({"model": "unpriced"}, "selected", "unpriced", "static"),
        ({"text": "hi", "model": "vllm-sr/fusion"}, "failed", None, None),
    ],
)
async def test_status_says_how_the_model_is_chosen(
    given: dict[str, Any], status: str, model: str | None, algorithm: str | None
) -> None:
    told = await body(**given)

    assert (told["selection_status"], told["selected_model"]) == (status, model)
    assert told["algorithm"] == algorithm
    assert told["selection_reason"]


async def test_algorithm_that_is_not_there_is_unavailable() -> None:
    more = (
        "    - {name: best, priority: 300, modelRefs: [{model: cheap}], algorithm: {type: knn}}\n"
    )

    told = await body(config=routing_yaml(more=more))

    assert (told["selection_status"], told["routing_decision"]) == ("unavailable", "best")
    assert told["error"]["code"] == "unsupported_algorithm"
    assert (told["calls"], told["estimate"]["calls"], told["algorithm"]) == ([], 0, "knn")


async def test_refusal_is_told_when_nothing_matches() -> None:
    told = await body("hi", model="vllm-sr/fusion")

    assert told["error"]["code"] == "no_matching_decision"
    assert told["selection_reason"] == told["error"]["message"]
    assert told["decision_result"] is None
    assert told["estimate"]["cost_usd"] is None


async def test_nothing_is_considered_when_the_request_names_a_model() -> None:
    told = await body(model="cheap")

    assert (told["recipe"], told["decisions"], told["signals"]) == (None, [], [])
    assert told["selection_reason"] == "the request names this model"


async def test_what_no_request_may_do_is_refused_as_everywhere() -> None:
    with pytest.raises(UnknownModelError):
        await explained(model="zzz")
    with pytest.raises(InvalidRequestError, match="no effect on the model"):
        await explained(model="cheap", plugins=[{"id": "fusion"}])


async def test_calls_of_one_model_are_its_prompt_and_an_answer() -> None:
    told = await body("x" * LONG, model="cheap")

    assert told["calls"] == [
        {
            "stage": "single",
            "model": "cheap",
            "count": 1,
            "prompt_tokens": 104,
            "completion_tokens": ANSWER_TOKENS,
            "total_tokens": 104 + ANSWER_TOKENS,
            "cost_usd": (104 * 1 + ANSWER_TOKENS * 2) / 1e6,
        }
    ]
    assert told["estimate"]["answer_tokens_assumed"] == ANSWER_TOKENS


async def test_answers_count_no_more_than_the_request_allows() -> None:
    (call,) = (await body("x" * LONG, model="cheap", max_tokens=7))["calls"]

    assert (call["prompt_tokens"], call["completion_tokens"]) == (104, 7)


async def test_calls_of_a_fusion_are_panel_judge_and_synthesis() -> None:
    told = await body()

    calls = told["calls"]
    assert [(c["stage"], c["model"], c["count"]) for c in calls] == [
        ("panel", "cheap", 2),
        ("panel", "strong", 1),
        ("judge", "strong", 1),
        ("synthesis", "strong", 1),
    ]
    cheap, strong, judge, synthesis = (c["prompt_tokens"] for c in calls)
    assert cheap == 2 * strong
    assert judge > strong + 3 * ANSWER_TOKENS
    assert synthesis == judge + ANSWER_TOKENS
    assert told["estimate"]["calls"] == 5
    assert told["estimate"]["total_tokens"] == sum(c["total_tokens"] for c in calls)
    assert told["estimate"]["cost_usd"] == pytest.approx(sum(c["cost_usd"] for c in calls))


async def test_tools_count_only_where_they_are_sent() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 2000}}
    plain, armed = (await body())["calls"], (await body(tools=[tool]))["calls"]

    grown = [b["prompt_tokens"] - a["prompt_tokens"] for a, b in zip(plain, armed, strict=True)]
    assert grown[:3] == [0, 0, 0]
    assert grown[3] > 2000


async def test_price_is_not_known_when_one_of_the_models_has_none() -> None:
    told = await body(config=routing_yaml(panel="cheap, unpriced"))

    assert [c["cost_usd"] is None for c in told["calls"]] == [False, True, False, False]
    assert told["estimate"]["cost_usd"] is None
    assert told["estimate"]["unpriced_models"] == ["unpriced"]


async def test_panel_of_the_request_is_planned() -> None:
    plugin = {"id": "fusion", "analysis_models": ["strong"], "max_completion_tokens": 9}

    told = await body(plugins=[plugin])

    assert [(c["stage"], c["completion_tokens"]) for c in told["calls"]] == [
        ("panel", 9),
        ("judge", 9),
        ("synthesis", ANSWER_TOKENS),
    ]


async def test_warnings_of_the_route_are_told() -> None:
    told = await body("compare, internal only", plugins=[{"id": "fusion"}])

    assert told["warnings"] == ["plugin fusion is not acted on: the route is not a Fusion route"]


async def test_projection_is_told_with_what_each_input_added() -> None:
    told = await body(config=PROJECTED)

    assert told["routing_decision"] == "deep"
    assert told["decision_result"]["matched_rules"] == ["projection:hard"]
    assert told["decision_result"]["matched_signals"]["projections"] == ["hard"]
    assert told["decision_result"]["unmatched_signals"]["projections"] == ["easy"]
    size, effort, band = told["projections"]
    assert (size["type"], size["name"], size["value"]) == ("score", "size", 10.0)
    assert (effort["name"], effort["value"]) == ("effort", 0.51)
    assert [each["contribution"] for each in effort["inputs"]] == [0.5, 0.0, 0.01, 0.0]
    assert "no user id" in effort["inputs"][3]["error"]
    assert [(o["name"], o["matched"]) for o in band["outputs"]] == [("easy", False), ("hard", True)]


async def test_output_is_a_result_like_a_signals() -> None:
    told = await body(config=PROJECTED)

    hard = next(signal for signal in told["signals"] if signal["name"] == "hard")
    assert (hard["type"], hard["matched"], hard["value"]) == ("projection", True, 0.51)
    assert hard["detail"] == {"score": "effort", "failed_inputs": ["authz:staff"]}
    assert told["signal_confidences"]["projection:hard"] == pytest.approx(0.7892, abs=1e-4)
    assert "projection" in told["metrics"]


async def test_only_what_projections_in_use_need_is_evaluated() -> None:
    names = {signal["name"] for signal in (await body(config=PROJECTED))["signals"]}

    assert names == {"weigh", "chat", "long", "staff", "easy", "hard"}


async def test_nothing_is_told_of_projections_when_a_model_is_named() -> None:
    assert (await body(model="cheap", config=PROJECTED))["projections"] == []
    assert (await body())["projections"] == []
