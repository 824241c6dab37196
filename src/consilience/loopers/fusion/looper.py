"""Fusion: panel, judge, and the request that writes the answer. The three stages and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from ...chat.completion import Completion
from ...chat.request import ChatRequest, text_of
from ...errors import InvalidRequestError
from ..base import (
    Ask,
    Binding,
    Looper,
    LooperOptions,
    Observer,
    Outcome,
    PlannedCall,
    Progress,
    Stage,
)
from .contract import finisher
from .judge import LEAST_TOKENS, Dialects, run_judge
from .options import FusionOptions, FusionPlugin, Seat, most_calls, seats_of
from .override import overridden
from .panel import Panel, PanelResponse, distinct, run_panel
from .plan import FENCE_TOKENS, INSTRUCTION_TOKENS, planned_calls
from .prompts import (
    Labelled,
    estimate_tokens,
    harmless,
    judge_conversation,
    label_panel,
    output_contract,
    synthesis_conversation,
)
from .trace import FusionTrace

LEAST_CHARS = 400
"""However small the window: what each answer keeps."""


class Fusion(Looper[FusionOptions]):
    """Multi-model deliberation: a panel answers, a judge compares, one model writes the answer."""

    kind: ClassVar[str] = "fusion"
    Options: ClassVar[type[LooperOptions]] = FusionOptions
    plugin_ids: ClassVar[tuple[str, ...]] = ("fusion", "openrouter:fusion")

    def __init__(
        self,
        options: FusionOptions,
        binding: Binding,
        *,
        plugin: FusionPlugin | None = None,
        dialects: Dialects | None = None,
        draw_seed: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        super().__init__(options, binding)
        self.plugin = plugin
        named = seats_of(options.analysis_models)
        self.seats: Sequence[Seat] = named or tuple(Seat(model=name) for name in binding.models)
        self._reasoning = () if named else binding.reasoning
        self._dialects = dialects or Dialects()
        self._draw_seed = draw_seed

    def prepare(self, request: ChatRequest) -> Self:
        entry = request.plugin(self.plugin_ids)
        if entry is None:
            prepared = self
        else:
            options, plugin = overridden(self.options, entry, request, self.binding)
            prepared = type(self)(
                options,
                self.binding,
                plugin=plugin,
                dialects=self._dialects,
                draw_seed=self._draw_seed,
            )
        if not prepared.seats:
            raise InvalidRequestError(
                "the panel is empty: name models in the plugin's 'analysis_models'",
                param="plugins",
            )
        return prepared

    @property
    def warnings(self) -> Sequence[str]:
        if self.plugin is None:
            return ()
        given = self.plugin.model_fields_set
        names = [name for name in FusionPlugin.not_acted_on if name in given]
        if self.plugin.reasoning is not None and self.plugin.reasoning.max_tokens is not None:
            names.append("reasoning.max_tokens")
        if self.plugin.grounding.enabled:
            names.append("grounding")
        return tuple(f"plugins.fusion.{name} is not acted on" for name in names)

    @property
    def wants_progress(self) -> bool:
        return self.plugin is not None and self.plugin.enabled and self.plugin.stream_progress

    @property
    def width(self) -> int:
        return min(self.options.max_concurrent or len(self.seats), len(self.seats))

    @property
    def calls(self) -> int:
        return most_calls(self.options, [seat.model for seat in self.seats])

    @property
    def judge_model(self) -> str:
        """Who compares: `model`, else the first panel model."""
        return self.options.model or self.seats[0].model

    @property
    def synthesis_model(self) -> str:
        """Who writes: `synthesis_model`, else the judge."""
        return self.options.synthesis_model or self.judge_model

    @property
    def models_used(self) -> Sequence[str]:
        panel = [seat.model for seat in self.seats]
        return distinct([*panel, self.judge_model, self.synthesis_model])

    def plan(self, request: ChatRequest, *, answer_tokens: int) -> Sequence[PlannedCall]:
        return planned_calls(
            request.without_plugins(self.plugin_ids),
            self.seats,
            self.options,
            judge=self.judge_model,
            writer=self.synthesis_model,
            answer_tokens=answer_tokens,
        )

    async def deliberate(self, request: ChatRequest, ask: Ask, observe: Observer) -> Outcome:
        request = request.without_plugins(self.plugin_ids)
        panel = await run_panel(
            request, self.seats, self.options, ask, observe, reasoning=self._reasoning
        )
        labelled, notes = self._label(request, panel)
        judged = judge_conversation(request, labelled, self.options.analysis_template)
        judges = distinct([self.judge_model, *self.options.fallback_models])
        verdict = await run_judge(judged, judges, self.options, self._dialects, ask, observe)
        verdict = verdict.without(labelled.nonce)
        final = self._final(
            synthesis_conversation(
                request,
                judged,
                labelled,
                verdict.analysis,
                template=self.options.synthesis_template,
                contract=output_contract(request, self.binding.output_contract),
            )
        )
        fallbacks = self._fallbacks(final)
        best = self._stand_in(panel.responses)
        trace = FusionTrace(
            decision=self.binding.decision,
            options=self.options,
            panel_models=[seat.model for seat in self.seats],
            panel=panel,
            labelled=labelled,
            verdict=verdict,
            writers=[final.model, *(request.model for request in fallbacks)],
            stand_in=best.model if best else None,
            notes=notes,
        )
        await observe(Progress("synthesis_started", {"model": self.synthesis_model}))
        return Outcome(
            final=final,
            fallbacks=(*fallbacks, best) if best else fallbacks,
            stage="synthesis",
            records=trace.records,
            extension=trace,
            finish=finisher(self.binding.output_contract_spec, panel.responses),
        )

    def _final(self, conversation: ChatRequest) -> ChatRequest:
        """The client's own request to the synthesis model; Fusion's temperature only fills a gap."""
        final = conversation.replace(model=self.synthesis_model)
        if self.options.temperature is not None and final.body.get("temperature") is None:
            final = final.replace(temperature=self.options.temperature)
        return final

    def _fallbacks(self, final: ChatRequest) -> Sequence[ChatRequest]:
        others = [m for m in distinct(self.options.fallback_models) if m != final.model]
        return [final.replace(model=m) for m in others]

    def _stand_in(self, responses: Sequence[PanelResponse]) -> Completion | None:
        """The answer that goes out when no model writes one: the first whole one, else the first."""
        if self.options.on_error == "fail":
            return None
        best = next((r for r in responses if not r.truncated), responses[0])
        # what a seat thought is shown only where that was asked for
        shown = self.options.include_reasoning
        return best.completion if shown else best.completion.with_text(best.text)

    def _label(
        self, request: ChatRequest, panel: Panel
    ) -> tuple[Labelled, Sequence[tuple[Stage, str]]]:
        """Labels the answers, cut so that they fit the smaller of the two readers' windows."""
        limit = self._room(request, panel)
        around = [text_of(message) for message in request.messages]
        labelled = label_panel(panel.responses, self._seed(request), limit=limit, around=around)
        if limit is None or sum(len(harmless(r.text)) for r in panel.responses) <= limit:
            return labelled, ()
        return labelled, (("judge", "panel_answers_cut"),)

    def _seed(self, request: ChatRequest) -> int:
        if self.options.shuffle_seed is not None:
            return self.options.shuffle_seed
        own = request.body.get("seed")
        if isinstance(own, int) and not isinstance(own, bool):
            return own % 2**32
        return self._draw_seed()

    def _room(self, request: ChatRequest, panel: Panel) -> int | None:
        """Characters that all answers may have together; None when they fit as they are."""
        own = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
        analysis = self.options.judge_max_completion_tokens or LEAST_TOKENS
        # the writer reads the analysis as well, and both need room for what they write
        needs = {self.judge_model: analysis}
        needs[self.synthesis_model] = analysis + (own or LEAST_TOKENS)
        free = [
            window - min(reserved, window // 2)
            for model, reserved in needs.items()
            if model in self.binding.facts and (window := self.binding.facts[model].context_window)
        ]
        if not free:
            return None
        asked = sum(estimate_tokens(text_of(m)) for m in request.messages)
        room = min(free) - asked - INSTRUCTION_TOKENS - FENCE_TOKENS * len(panel.responses)
        needed = sum(estimate_tokens(r.text) for r in panel.responses)
        if needed <= room:
            return None
        chars = sum(len(r.text) for r in panel.responses)
        return max(chars * max(room, 0) // needed, LEAST_CHARS * len(panel.responses))
