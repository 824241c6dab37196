"""The real gateway over a server that plays faults, and one case run on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.chat_server import chat_server
from support.client import Response, ask
from support.live import live_gateway
from support.ports import black_hole, closed_port, untrusted_port
from support.raw_server import RawServer, Received, Step, raw_server

from .fault import Case, Stage

KEY = "sk-canary-1234567890"
ANSWER = "fine"
_GOOD = chat_server({"good": ANSWER, "faulty": ANSWER})


@dataclass(slots=True)
class Stand:
    """One gateway and one server for many cases, one after the other."""

    url: str
    server: RawServer
    steps: Sequence[Step] = ()
    times: int = 0
    """Calls to the faulty model that are still to fail."""
    calls: list[Received] = field(default_factory=list)
    """To the faulty model, since the last `play`."""

    def play(self, steps: Sequence[Step], times: int) -> None:
        """Sets what the next calls to the faulty model get."""
        self.steps, self.times = steps, times
        self.calls.clear()

    def script(self, request: Received) -> Iterable[Step]:
        if request.json["model"] != "faulty":
            return _GOOD(request)
        self.calls.append(request)
        if self.times <= 0:
            return _GOOD(request)
        self.times -= 1
        return self.steps

    def run(self, case: Case) -> Response:
        """Plays a case and gives what the client saw."""
        self.play(case.steps, case.fault.times)
        return self.ask(case.stage, case.fault.model, stream=case.stream)

    def ask(self, stage: Stage, model: str, **fields: Any) -> Response:
        """Asks so that this model has this stage."""
        if stage == "single":
            return ask(self.url, model, **fields)
        return ask(self.url, "vllm-sr/fusion", plugins=[plugin(stage, model)], **fields)


def plugin(stage: Stage, model: str) -> dict[str, Any]:
    """Gives the plugin entry that puts a model into a stage of a Fusion of otherwise good ones."""
    return {
        "id": "fusion",
        "analysis_models": [model if stage == "panel" else "good", "good"],
        "model": model if stage == "judge" else "good",
        "synthesis_model": model if stage == "synthesis" else "good",
    }


@contextmanager
def fault_stand(patience: float = 1.0) -> Iterator[Stand]:
    """Serves everything until it is left.

    Args:
        patience: what the times of the stand are multiplied by. Many requests at once want more,
            since a call that is kept waiting by the others has not failed.
    """
    with ExitStack() as stack:
        made: list[Stand] = []

        def script(request: Received) -> Iterable[Step]:
            return made[0].script(request)

        server = stack.enter_context(raw_server(script))
        models = {
            "good": server.base_url,
            "faulty": server.base_url,
            "plain": server.base_url.replace("http:", "https:"),
            "refused": f"http://127.0.0.1:{closed_port()}/v1",
            "blackhole": f"http://127.0.0.1:{stack.enter_context(black_hole())}/v1",
            "nohost": "http://no-such-host.invalid/v1",
            "untrusted": f"https://127.0.0.1:{stack.enter_context(untrusted_port())}/v1",
        }
        made.append(Stand("", server))
        made[0].url = stack.enter_context(live_gateway(_yaml(models, patience)))
        yield made[0]


def _yaml(models: dict[str, str], patience: float) -> str:
    # what one case teaches about a backend must not tell in the next
    named = "".join(
        f"    - {{name: {name}, reliability: {{consecutive_5xx: 0}},"
        f" backend_refs: [{{base_url: '{url}', api_key: {KEY}}}]}}\n"
        for name, url in models.items()
    )
    return (
        "version: v0.3\n"
        f"listeners: [{{name: http, port: 0, timeout: {30 * patience}s}}]\n"
        f"providers:\n  models:\n{named}"
        "routing:\n  decisions:\n"
        "    - name: panel\n"
        "      algorithm: {type: fusion, fusion: {model: good, analysis_models: [good, good]}}\n"
        "global:\n"
        f"  integrations: {{looper: {{timeout_seconds: {1.5 * patience}, max_response_bytes_mb: 1}}}}\n"
        f"  gateway: {{connect_timeout_seconds: {0.5 * patience},"
        f" first_byte_timeout_seconds: {patience}, idle_timeout_seconds: {0.75 * patience},"
        " max_sse_event_kb: 64, retry_base_seconds: 0.01,"
        " retry_cap_seconds: 0.02}\n"
    )
