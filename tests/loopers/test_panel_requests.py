"""What each seat is asked: the client's request, all of it, but for what only the answer carries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.codec import decode, encode
from consilience.chat.request import FORBIDDEN_FIELDS, ChatRequest, squeezed
from consilience.loopers.base import observe_nothing
from consilience.loopers.fusion.options import FusionOptions, seats_of
from consilience.loopers.fusion.panel import run_panel
from consilience.loopers.fusion.seats import HELD_BACK
from support.fusion_parts import Models, asking
from support.virtual_time import run

pytestmark = pytest.mark.anyio

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
READ = (
    HELD_BACK
    | {"model", "messages", "temperature", "max_tokens", "max_completion_tokens"}
    | {"extra_body", "fallbacks", "provider", "optional_params"}
)
"""Fields that are looked into; what may stand in them has tests of its own."""
TARGETS = {squeezed(name) for name in FORBIDDEN_FIELDS}
NOT_OURS = st.text(min_size=1).filter(
    lambda name: name not in READ and squeezed(name) not in TARGETS
)


async def asked(request: ChatRequest, **options: Any) -> list[ChatRequest]:
    """The requests of every seat, in seat order."""
    chosen = FusionOptions.model_validate({"analysis_models": ["m"], **options})
    models = Models(lambda _: "answer")
    await run_panel(request, seats_of(chosen.analysis_models), chosen, models, observe_nothing)
    return models.calls


def test_what_is_held_back_is_what_the_contract_lists() -> None:
    listed = (
        "stream stream_options tools tool_choice functions function_call parallel_tool_calls"
        " response_format n logprobs top_logprobs store prediction modalities audio"
        " web_search_options plugins"
    )
    # OpenAI refuses `metadata` without `store`
    assert sorted(HELD_BACK) == sorted([*listed.split(), "metadata"])


async def test_a_seat_gets_nothing_of_what_is_held_back() -> None:
    request = ChatRequest({**asking().body, **dict.fromkeys(HELD_BACK, 1), "top_k": 3})
    (call,) = await asked(request)
    assert call.body == {"model": "m", "messages": request.messages, "top_k": 3}


@given(st.dictionaries(NOT_OURS, json_values, max_size=5))
def test_everything_else_reaches_every_seat_untouched(fields: dict[str, Any]) -> None:

    body = {"model": "vllm-sr/fusion", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = ChatRequest.parse(encode(body))
    calls = run(asked, request)
    assert [decode(encode(call.body)) for call in calls] == [{**body, "model": "m"}]


async def test_integers_beyond_64_bits_reach_a_seat_digit_by_digit() -> None:
    raw = b'{"model":"f","messages":[{"role":"user","content":"hi","id":%d}],"seed":%d}'
    request = ChatRequest.parse(raw % (2**53 + 1, 2**70 + 1))
    (call,) = await asked(request)
    assert encode(call.body) == raw.replace(b'"f"', b'"m"') % (2**53 + 1, 2**70 + 1)


async def test_a_limit_of_ours_replaces_both_of_the_clients() -> None:
    request = asking(max_tokens=50, max_completion_tokens=60)
    (theirs,) = await asked(request)
    (ours,) = await asked(request, max_completion_tokens=200)
    assert (theirs.body["max_tokens"], theirs.body["max_completion_tokens"]) == (50, 60)
    assert ours.body["max_completion_tokens"] == 200
    assert "max_tokens" not in ours.body


@pytest.mark.parametrize(
    ("seat", "override", "shared", "expected"),
    [
        (0.1, 0.2, 0.3, 0.1),
        (None, 0.2, 0.3, 0.2),
        (None, None, 0.3, 0.3),
        (None, None, None, 0.9),
        (0, 0.2, 0.3, 0),
        (None, 0, 0.3, 0),
        (None, None, 0, 0),
    ],
)
async def test_temperature_is_the_seats_then_the_overrides_then_fusions_then_the_clients(
    seat: float | None, override: float | None, shared: float | None, expected: float
) -> None:
    (call,) = await asked(
        asking(temperature=0.9),
        analysis_models=[{"model": "m", "temperature": seat}],
        analysis_overrides=[{"model": "m", "temperature": override}],
        temperature=shared,
    )
    assert call.body["temperature"] == expected


async def test_an_override_is_for_every_seat_of_its_model_and_no_other() -> None:
    calls = await asked(
        asking(),
        analysis_models=["m", "x", {"model": "m", "max_completion_tokens": 7}],
        analysis_overrides=[{"model": "m", "max_completion_tokens": 5}],
        max_completion_tokens=9,
    )
    assert [c.body["max_completion_tokens"] for c in calls] == [5, 9, 7]


async def test_the_same_model_sits_more_than_once_each_time_with_its_own_settings() -> None:
    calls = await asked(
        asking(seed=1),
        analysis_models=[
            {"model": "m", "count": 2, "seed": 40, "temperature": 0.5},
            "m",
            {"model": "m", "temperature": 1.5},
        ],
    )
    assert [c.model for c in calls] == ["m"] * 4
    assert [c.body["seed"] for c in calls] == [40, 41, 1, 1]
    assert [c.body.get("temperature") for c in calls] == [0.5, 0.5, None, 1.5]


async def test_reasoning_effort_is_the_seats_else_fusions_else_the_clients() -> None:
    own, shared = await asked(
        asking(reasoning_effort="low"),
        analysis_models=[{"model": "m", "reasoning_effort": "high"}, "m"],
        reasoning={"effort": "minimal"},
    )
    (theirs,) = await asked(asking(reasoning_effort="low"))
    efforts = [c.body["reasoning_effort"] for c in (own, shared, theirs)]
    assert efforts == ["high", "minimal", "low"]


async def test_a_persona_stands_before_the_clients_system_prompt_for_its_seat_only() -> None:
    request = ChatRequest.from_body(
        {
            "model": "f",
            "messages": [{"role": "system", "content": "own"}, {"role": "user", "content": "hi"}],
        }
    )
    persona, plain = await asked(
        request, analysis_models=[{"model": "m", "system_prompt": "You are strict."}, "m"]
    )
    assert persona.messages[0] == {"role": "system", "content": "You are strict.\n\nown"}
    assert persona.messages[1:] == plain.messages[1:]
    assert plain.messages == request.messages
