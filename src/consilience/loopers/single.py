"""One model, no deliberation: the client's own request, sent on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from ..chat.request import ChatRequest
from .base import Ask, Looper, LooperOptions, Observer, Outcome, PlannedCall
from .draw import conversation_seed, draw


class SingleOptions(LooperOptions):
    """`algorithm.type: static` has no options."""


class Single(Looper[SingleOptions]):
    """Sends the request to one of the binding's models: the first, or one drawn by weight.

    The others, in order, stand in when it fails before anything was passed on.
    """

    kind: ClassVar[str] = "static"
    Options: ClassVar[type[LooperOptions]] = SingleOptions

    @property
    def calls(self) -> int:
        return len(self.binding.models)

    @property
    def models_used(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self.binding.models))

    def prepare(self, request: ChatRequest) -> Self:
        weights = self.binding.weights
        if not weights:
            return self
        drawn = draw(weights, conversation_seed(request))
        return type(self)(self.options, self.binding.beginning_with(drawn))

    def plan(self, request: ChatRequest, *, answer_tokens: int) -> Sequence[PlannedCall]:
        return super().plan(request, answer_tokens=answer_tokens)[:1]

    async def deliberate(self, request: ChatRequest, ask: Ask, observe: Observer) -> Outcome:
        first, *others = (self._asked(request, i) for i in range(len(self.binding.models)))
        return Outcome(final=first, fallbacks=others, stage="single")

    def _asked(self, request: ChatRequest, position: int) -> ChatRequest:
        asked = request.replace(model=self.binding.models[position])
        switch = self.binding.switch(position)
        return switch.applied(asked) if switch else asked
