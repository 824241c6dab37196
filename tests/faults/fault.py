"""What a fault is, and what is expected of the gateway when it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from support.raw_server import Step

Stage = Literal["single", "panel", "judge", "synthesis"]
STAGES: tuple[Stage, ...] = ("single", "panel", "judge", "synthesis")
NOT_WHOLE = "it is in the way an answer is streamed; this stage asks for a whole one"
NOT_STREAMED = "it is in a whole answer; this stage asks for a stream"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, played whenever the model `faulty` is asked (or by where it should be)."""

    id: str
    """`F01` to `F35`."""
    name: str
    whole: Sequence[Step] | str
    """Played when a whole answer is asked for; or why the fault cannot happen then."""
    streamed: Sequence[Step] | str
    """Played when a stream is asked for; or why the fault cannot happen then."""
    reason: str | None
    """As the trace has it; None when the fault does no harm."""
    status: int = 502
    """What a client gets that asked for this model alone."""
    code: str = "upstream_error"
    calls: int = 1
    """Upstream calls to the faulty model."""
    times: int = 1 << 30
    """How many calls are faulty; later ones are fine."""
    committed: bool = False
    """Whether it strikes when tokens were passed on: then a stream breaks with an error event."""
    model: str = "faulty"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """What a client gets, or must not get, that asked for this model alone."""
    judge_calls: int | None = None
    """Upstream calls when it judges, if not `calls`."""
    judge: str | None = None
    """Reason when it judges, if not `reason`; empty: no harm."""
    alone: bool = True
    """Whether it harms a client that asked for this model alone."""
    stages: Mapping[Stage, str] = field(default_factory=dict)
    """Stages in which it cannot happen, and why."""

    def steps(self, stage: Stage, *, stream: bool) -> Sequence[Step] | str:
        """Gives what is played in a stage of a request, or why the fault cannot happen there."""
        if stage in self.stages:
            return self.stages[stage]
        return self.streamed if stream and stage in ("single", "synthesis") else self.whole


@dataclass(frozen=True, slots=True)
class Case:
    """One fault in one stage of one kind of request."""

    fault: Fault
    stage: Stage
    stream: bool

    @property
    def id(self) -> str:
        mode = "stream" if self.stream else "whole"
        return f"{self.fault.id}-{self.fault.name.replace(' ', '_')}-{self.stage}-{mode}"

    @property
    def steps(self) -> Sequence[Step]:
        steps = self.fault.steps(self.stage, stream=self.stream)
        assert not isinstance(steps, str)
        return steps

    @property
    def calls(self) -> int:
        """Upstream calls to the faulty model."""
        if self.stage == "judge" and self.fault.judge_calls is not None:
            return self.fault.judge_calls
        return self.fault.calls

    @property
    def reason(self) -> str | None:
        """Why the stage fails; None when it does not."""
        if self.stage == "judge" and self.fault.judge is not None:
            return self.fault.judge or None
        return self.fault.reason
