"""The order in which answers arrive changes nothing: not the panel, not a byte of any prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.chat.codec import encode
from consilience.loopers.base import Binding, observe_nothing
from consilience.loopers.fusion.looper import Fusion
from consilience.loopers.fusion.options import FusionOptions
from support.fusion_parts import ANALYSIS_TEXT, After, Models, asking, status_error
from support.virtual_time import run

WHAT: Mapping[str, Any] = {
    "a": "alpha",
    "b": "beta",
    "c": status_error("c", 500),
    "d": "delta",
    "e": "",
}
delays = st.lists(st.integers(0, 6), min_size=len(WHAT), max_size=len(WHAT))


async def fused(waits: Sequence[float], concurrent: int | None) -> tuple[Any, ...]:
    models = Models(
        {
            "j": ANALYSIS_TEXT,
            **{m: After(wait, what) for wait, (m, what) in zip(waits, WHAT.items(), strict=True)},
        }
    )
    options = FusionOptions.model_validate(
        {"model": "j", "analysis_models": list(WHAT), "max_concurrent": concurrent}
    )
    looper = Fusion(options, Binding(decision="d"))
    outcome = await looper.deliberate(asking(seed=11), models, observe_nothing)
    assert outcome.extension is not None
    trace = dict(outcome.extension.render(None) or {})
    stages = [(s["model"], s["status"], s.get("reason")) for s in trace.pop("stages")]
    return encode(models.asked_of("j")[0].body), encode(outcome.final.body), encode(trace), stages


@settings(deadline=None, max_examples=60)
@given(delays, st.sampled_from([None, 1, 2, 4]))
def test_any_order_of_arrival_gives_the_same_bytes(
    waits: list[float], concurrent: int | None
) -> None:
    assert run(fused, waits, concurrent) == run(fused, [0] * len(WHAT), None)


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(1, 6)), st.integers(1, 5))
def test_a_quorum_takes_the_first_to_answer_in_seat_order(waits: list[int], quorum: int) -> None:
    async def round_() -> tuple[list[int], list[str]]:
        names = ["a", "b", "c", "d", "e"]
        models = Models({n: After(w, n) for n, w in zip(names, waits, strict=True)} | {"j": "{}"})
        options = FusionOptions.model_validate(
            {"model": "j", "analysis_models": names, "min_successful_responses": quorum}
        )
        looper = Fusion(options, Binding(decision="d"))
        outcome = await looper.deliberate(asking(), models, observe_nothing)
        panel = [r for r in outcome.records if r.stage == "panel"]
        return [r.seat for r in panel if r.status == "ok" and r.seat is not None], [
            r.status for r in panel
        ]

    answered, statuses = run(round_)
    assert answered == [seat for seat, wait in enumerate(waits) if wait <= quorum]
    assert statuses == ["ok" if wait <= quorum else "cancelled" for wait in waits]
