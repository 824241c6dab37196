"""Checks that a request may make the calls that its decision plans. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..loopers.fusion.options import FusionOptions, most_calls, seats_of
from ..loopers.single import Single
from .paths import Finding, Path
from .root import Config
from .routing import Decision

MOST: Path = ("global", "gateway", "max_upstream_calls")


def check_calls(config: Config) -> Iterator[Finding]:
    """Gives what is wrong with `max_upstream_calls`: a decision that could never be carried out."""
    most = config.global_.gateway.max_upstream_calls
    if most is None:
        return
    profiles = (config.routing, *(recipe.routing for recipe in config.recipes))
    planned = [(_planned(each), each.name) for profile in profiles for each in profile.decisions]
    over = [(calls, name) for calls, name in planned if calls > most]
    if not over:
        return
    needed, name = max(over, key=lambda each: each[0])
    others = f", and {len(over) - 1} more decisions need too many" if len(over) > 1 else ""
    yield Finding(
        MOST,
        f'{most} upstream calls are too few: the decision "{name}" plans up to {needed}, with each'
        f" seat, judge, writer and stand-in counted{others}",
        f"write {needed} or more, or leave it out: then it is three for each planned call",
    )


def _planned(decision: Decision) -> int:
    """Calls that a decision plans; 0 for one that makes none, or cannot be carried out anyway."""
    if any(plugin.answers for plugin in decision.plugins):
        return 0
    models = tuple(ref.target for ref in decision.model_refs)
    algorithm = decision.algorithm
    if algorithm is None or algorithm.type == Single.kind:
        return len(models)
    options = algorithm.options
    if not isinstance(options, FusionOptions):
        return 0
    seats = [seat.model for seat in seats_of(options.analysis_models)] or models
    return most_calls(options, seats) if seats else 0
