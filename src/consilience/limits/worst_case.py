"""The most that calls can cost, from what a looper plans and what limits each answer. Pure.

A prompt is taken to have a token for each byte that is sent (`prompt_bound`), an answer all that it
may have: its own limit, else what is usually left of the model's context window, and at most
`global.budgets.answer_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..chat.request import ChatRequest
from ..config.globals import Budgets
from ..errors import BudgetExceededError, InvalidRequestError
from ..loopers.base import Looper, PlannedCall, request_limit
from ..signals.estimate import estimate_tokens
from ..upstream.price import Price
from .prompt_bound import prompt_bound, size_of

MARGIN = 2
"""Tokens at worst of a text that a model wrote, or that is usually so long, for each that one
tokenizer has for it: others have more."""
USUAL_ANSWER = 500
"""Tokens that an answer is taken to have for rates, which are settled a moment later."""
LEAST_ANSWER = 256
"""Tokens that an answer is taken to have where the prompt seems to fill the context window."""
_UNLIMITED = 1 << 40
"""The length of an answer that nothing limits, as loopers are told; more than any has, and small
enough that a sum of several is told from the rest of the sum."""
_ANSWER_FIELDS = ("max_tokens", "max_completion_tokens")
_USUAL_TIERS = ("auto", "default", "standard", "flex")
"""Values of `service_tier` that cost no more than the price says."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Prices and limits of one configuration."""

    prices: Mapping[str, Price]
    windows: Mapping[str, int]
    """Context windows, of the models whose window is declared."""
    answer_tokens: int
    """The longest answer that nothing else limits."""
    refuse_unpriced: bool

    @classmethod
    def of(
        cls, prices: Mapping[str, Price], windows: Mapping[str, int], budgets: Budgets
    ) -> WorstCase:
        """Takes the assumptions of `global.budgets`."""
        return cls(prices, windows, budgets.answer_tokens, budgets.unpriced == "refuse")

    def lenient(self) -> WorstCase:
        """Gives the same for requests that no budget holds: what is not known counts as nothing."""
        return replace(self, refuse_unpriced=False)

    def planned(self, looper: Looper[Any], request: ChatRequest) -> Sequence[tuple[str, Decimal]]:
        """Gives model and worst cost of every call that a looper would make if all goes well.

        Raises:
            BudgetExceededError: the price of a model is not known, and no budget could hold.
            InvalidRequestError: nor is that of the `service_tier`.
        """
        self._check_tier(request)
        return [
            (call.model, usd)
            for call in looper.plan(request, answer_tokens=_UNLIMITED)
            for usd in [self._of_planned(call)] * call.count
        ]

    def call(self, request: ChatRequest) -> Decimal:
        """Gives the worst cost of one call, as it is about to be sent.

        Raises:
            BudgetExceededError: the price of its model is not known.
        """
        answer = self._answer(request.model, request, request_limit(request))
        return self._cost(request, request.model, prompt_bound(request), answer)

    def limited(self, request: ChatRequest) -> ChatRequest:
        """Gives the request with a limit of its answer, where it has none."""
        if request_limit(request) is not None:
            return request
        return request.replace(max_completion_tokens=self._answer(request.model, request, None))

    def _of_planned(self, call: PlannedCall) -> Decimal:
        unlimited, added = divmod(call.added_tokens, _UNLIMITED)
        added += unlimited * self.answer_tokens
        prompt = prompt_bound(call.conversation) + MARGIN * added
        limit = None if call.answer_tokens >= _UNLIMITED else call.answer_tokens
        # what is added may turn out to be nothing, and leave more of the window to the answer
        answer = self._answer(call.model, call.conversation, limit)
        return self._cost(call.conversation, call.model, prompt, answer)

    def _check_tier(self, request: ChatRequest) -> None:
        tier = request.body.get("service_tier")
        if self.refuse_unpriced and tier is not None and tier not in _USUAL_TIERS:
            raise InvalidRequestError(
                "what this 'service_tier' costs is not known, and a budget holds: leave it out,"
                f" or send one of {', '.join(_USUAL_TIERS)}",
                param="service_tier",
            )

    def _cost(self, request: ChatRequest, model: str, prompt: int, answer: int) -> Decimal:
        price = self.prices.get(model)
        if price is None:
            if self.refuse_unpriced:
                raise BudgetExceededError(
                    f"the price of model {model!r} is not known, and a budget holds: set its"
                    " 'pricing', or global.budgets.unpriced: allow"
                )
            return Decimal(0)
        choices = max(request.body.get("n") or 1, request.body.get("best_of") or 1)
        # what was predicted and not said costs like what is said
        predicted = size_of(request.body.get("prediction"))
        answers = (answer + predicted) * choices
        return price.worst(min(prompt, self.windows.get(model, prompt)), answers)

    def _answer(self, model: str, request: ChatRequest, limit: int | None) -> int:
        """How long an answer may be. The same for a call planned and for the call made."""
        if limit is not None:
            return limit
        window = self.windows.get(model)
        if window is None:
            return self.answer_tokens
        left = window - MARGIN * prompt_tokens(request)
        return min(self.answer_tokens, max(left, LEAST_ANSWER))


def prompt_tokens(request: ChatRequest) -> int:
    """About how many tokens a request's prompt usually has."""
    return estimate_tokens(request.without(_ANSWER_FIELDS))


def expected_tokens_of(looper: Looper[Any], request: ChatRequest) -> int:
    """About how many tokens a request will use: its prompts, and answers of the usual length."""
    return sum(
        call.count * (prompt_tokens(call.conversation) + call.added_tokens + call.answer_tokens)
        for call in looper.plan(request, answer_tokens=USUAL_ANSWER)
    )
