"""What a request may cost at worst is never less than what its upstream calls can cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.chat.request import ChatRequest
from consilience.config.globals import Budgets
from consilience.errors import InvalidRequestError
from consilience.limits.prompt_bound import MEDIA_TOKENS, TEMPLATE_TOKENS, prompt_bound
from consilience.limits.worst_case import WorstCase
from consilience.loopers.base import Binding
from consilience.loopers.fusion.options import FusionOptions, Seat
from consilience.loopers.fusion.plan import planned_calls
from consilience.loopers.single import Single, SingleOptions
from consilience.upstream.price import Price

LONG = "n" * 20_000
PROMPT_ONLY = Price(Decimal(1_000_000), Decimal(0))
"""A dollar a token of prompt, so that costs are tokens."""
ANSWER_ONLY = Price(Decimal(0), Decimal(1_000_000))


def options(**fields: Any) -> FusionOptions:
    return FusionOptions.model_validate({"model": "j", "analysis_models": ["a", "a"], **fields})


def request(**fields: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "hello"}]
    return ChatRequest.from_body({"model": "m", "messages": messages, "max_tokens": 5, **fields})


def worst_case(price: Price, windows: Mapping[str, int] | None = None) -> WorstCase:
    prices = dict.fromkeys(("m", "a", "j"), price)
    return WorstCase.of(prices, windows or {}, Budgets.model_validate({}))


def texts(value: Any) -> int:
    """What a byte-level tokenizer makes of every text and every field name, one token a byte."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(texts(k) + texts(v) for k, v in value.items())
    if isinstance(value, Sequence):
        return sum(map(texts, value))
    return 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "file", "new"]), "text": st.text(min_size=1, max_size=40)},
    optional={"more": JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={
        "content": st.text(max_size=60) | st.lists(PARTS, max_size=3),
        "name": st.text(max_size=40),
        "reasoning_content": JSON,
        "tool_calls": JSON,
    },
)
LAST = {"role": "user", "content": "and?"}
FIELDS = st.dictionaries(
    st.sampled_from(["documents", "chat_template_kwargs", "guided_json", "what_comes_next"]), JSON
)


@given(messages=st.lists(MESSAGES, max_size=4), fields=FIELDS)
def test_a_prompt_has_at_most_a_token_for_each_byte_that_is_sent(
    messages: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    asked = ChatRequest({"model": "m", "messages": [*messages, LAST], **fields})

    assert prompt_bound(asked) >= TEMPLATE_TOKENS + texts(asked.messages) + texts(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": "x", "name": LONG}]},
        {"messages": [{"role": "user", "content": "x", "reasoning_content": LONG}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "y": LONG}]}]},
        {"messages": [{"role": "user", "content": "\U00012000" * 5_000}]},
        {"documents": [{"text": LONG}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": LONG}}]},
        {"what_comes_next": {LONG: 1}},
    ],
)
def test_whatever_reaches_the_upstream_is_counted(fields: Mapping[str, Any]) -> None:
    assert worst_case(PROMPT_ONLY).call(request(**fields)) >= 20_000


def test_what_no_template_reads_is_not_counted() -> None:
    plain = prompt_bound(request())

    assert prompt_bound(request(metadata={"a": "b" * 999}, user=LONG, stream=True)) == plain


def test_a_picture_counts_the_same_however_it_is_sent() -> None:
    def pictured(url: str) -> int:
        part = {"type": "image_url", "image_url": {"url": url}}
        return prompt_bound(request(messages=[{"role": "user", "content": [part]}]))

    assert pictured("https://x/y.png") == pictured("data:image/png;base64," + LONG)
    assert MEDIA_TOKENS < pictured("https://x/y.png") < MEDIA_TOKENS + 1_000


def test_a_window_bounds_the_prompt() -> None:
    asked = request(documents=[LONG])

    assert worst_case(PROMPT_ONLY, {"m": 8_000}).call(asked) == 8_000


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 5),
        ({"n": 3}, 15),
        ({"best_of": 7}, 35),
        ({"n": 2, "best_of": 7}, 35),
        ({"max_completion_tokens": 2}, 5),
        ({"max_completion_tokens": 9}, 9),
        ({"prediction": "abc"}, 8),
    ],
)
def test_every_answer_that_may_be_charged_is_counted(
    fields: Mapping[str, Any], tokens: int
) -> None:
    assert worst_case(ANSWER_ONLY).call(request(**fields)) == tokens


@pytest.mark.parametrize("tier", ["priority", "PRIORITY", "default ", 7, ["flex"], ""])
def test_a_tier_whose_price_is_not_known_is_refused_while_a_budget_holds(tier: object) -> None:
    looper = Single(SingleOptions(), Binding("d", ("m",)))
    asked, costs = request(service_tier=tier), worst_case(ANSWER_ONLY)

    with pytest.raises(InvalidRequestError, match="leave it out") as caught:
        costs.planned(looper, asked)

    assert caught.value.param == "service_tier"
    assert costs.lenient().planned(looper, asked)
    assert costs.planned(looper, request(service_tier="flex")) == [("m", Decimal(5))]


def test_an_answer_of_the_panel_counts_twice_in_the_prompts_that_quote_it() -> None:
    def judging(answer_tokens: int) -> Decimal:
        costs = worst_case(PROMPT_ONLY)
        calls = planned_calls(
            request(max_tokens=answer_tokens),
            [Seat(model="a"), Seat(model="a")],
            options(),
            judge="j",
            writer="j",
            answer_tokens=1 << 40,
        )
        return costs._of_planned(calls[1])

    assert judging(1_500) - judging(500) == 2 * 2 * 1_000


def test_a_template_counts_with_all_that_is_put_into_it() -> None:
    template = "Look: {{original}} {{original}} {{responses}} {{responses}}" + "t" * 1_000
    asked = request(messages=[{"role": "user", "content": LONG}])

    def judging(template: str) -> Decimal:
        calls = planned_calls(
            asked,
            [Seat(model="a"), Seat(model="a")],
            options(analysis_template=template),
            judge="j",
            writer="j",
            answer_tokens=1 << 40,
        )
        return worst_case(PROMPT_ONLY)._of_planned(calls[1])

    assert judging(template) >= 3 * 20_000 + 1_000 + 2 * 2 * 5


def test_a_call_may_answer_no_longer_than_was_planned_for_it() -> None:
    costs = worst_case(ANSWER_ONLY, {"j": 9_000})
    asked = request().without(("max_tokens",))
    calls = planned_calls(
        asked, [Seat(model="a")], options(), judge="j", writer="j", answer_tokens=1 << 40
    )

    made = costs.limited(asked.replace(model="j"))

    assert made.body["max_completion_tokens"] <= costs._of_planned(calls[2])
