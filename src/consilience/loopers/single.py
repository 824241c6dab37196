"""One model, no deliberation: the client's own request, sent on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..chat.request import ChatRequest
from .base import Ask, Looper, LooperOptions, Observer, Outcome


class SingleOptions(LooperOptions):
    """`algorithm.type: static` has no options."""


class Single(Looper[SingleOptions]):
    """Sends the request to the first of the binding's models."""

    kind: ClassVar[str] = "static"
    Options: ClassVar[type[LooperOptions]] = SingleOptions

    @property
    def models_used(self) -> Sequence[str]:
        return self.binding.models[:1]

    async def deliberate(self, request: ChatRequest, ask: Ask, observe: Observer) -> Outcome:
        asked = request.replace(model=self.binding.models[0])
        switch = self.binding.switch(0)
        return Outcome(final=switch.applied(asked) if switch else asked, stage="single")
