"""What one failing call of each client costs: requests that the gateway gets, upstream calls it makes.

`python -m benchmarks.clients` (needs the extra `dev`) drives real clients with the retries that they
have by default against the real gateway over models that fail in five ways. Ends with 1 when a
client that heeds `x-should-retry: false` asks again, or a request becomes more upstream calls than
it may. A 429 costs nothing, and clients may come back for it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import openai

TESTS = str(Path(__file__).parents[1] / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)  # the models and the gateway are those of `tests/clients`

from clients.live_gateway import LiveGateway  # noqa: E402  # found only there
from clients.model_server import Answer, ModelServer  # noqa: E402  # likewise
from clients.scenario import (  # noqa: E402  # likewise
    ATTEMPTS,
    BROKEN,
    CONFIG,
    FUSION,
    PLAIN,
    QUESTION,
    SCRIPT,
)
from consilience.config import parse_config  # noqa: E402  # behind the above

SHORT = "  integrations: {{looper: {{timeout_seconds: 0.3}}}}\n"
ASKED: Any = [{"role": "user", "content": QUESTION}]


class Failure(NamedTuple):
    """A way in which models fail."""

    answer: Answer
    stream: bool = False
    """Whether the client asks for a stream."""
    seats: bool = True
    """Whether it is the panel that fails in a Fusion; else the writer."""
    requests: int = 1
    """The most that a client may make which heeds `x-should-retry`."""


FAILURES: Mapping[str, Failure] = {
    "500": Failure(Answer(status=500)),
    "429": Failure(Answer(status=429), requests=1 + openai.DEFAULT_MAX_RETRIES),
    "503": Failure(Answer(status=503)),
    "timeout": Failure(Answer(silent=True)),
    "cut stream": Failure(BROKEN, stream=True, seats=False),
}


class Cost(NamedTuple):
    """What one failing call of a client came to."""

    requests: int
    """That the gateway got."""
    calls: int
    """That it made upstream."""

    def __str__(self) -> str:
        return f"{self.requests} → {self.calls}"


@dataclass(frozen=True, slots=True)
class Client:
    """A client of ours, with its own way to fail."""

    name: str
    ask: Callable[[str, str, bool], None]
    """Asks a model at an address, streamed or not; raises what the client raises."""
    heeds: bool = True
    """Whether it reads `x-should-retry`."""


def openai_python(url: str, model: str, stream: bool) -> None:
    """openai-python as it comes: two retries."""
    with openai.OpenAI(base_url=url, api_key="unused") as client:
        given: Any = client.chat.completions.create(model=model, messages=ASKED, stream=stream)
        if stream:
            list(given)


def langchain(url: str, model: str, stream: bool) -> None:
    """LangChain's `ChatOpenAI` as it comes."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415  # half a second

    with openai.DefaultHttpxClient() as http:
        key: Any = "unused"
        chat = ChatOpenAI(model=model, base_url=url, api_key=key, http_client=http)
        _ = list(chat.stream(QUESTION)) if stream else chat.invoke(QUESTION)


def llama_index(url: str, model: str, stream: bool, **settings: Any) -> None:
    """LlamaIndex's `OpenAILike` as it comes: a loop of its own around openai-python."""
    from llama_index.core.base.llms.types import ChatMessage  # noqa: PLC0415  # seconds
    from llama_index.llms.openai_like import (  # type: ignore[import-untyped]  # noqa: PLC0415
        OpenAILike,
    )

    asked = [ChatMessage(role="user", content=QUESTION)]
    with openai.DefaultHttpxClient() as http:
        like = OpenAILike(
            model=model,
            api_base=url,
            api_key="unused",
            is_chat_model=True,
            http_client=http,
            **settings,
        )
        _ = list(like.stream_chat(asked)) if stream else like.chat(asked)


def llama_index_told(url: str, model: str, stream: bool) -> None:
    """LlamaIndex with its loop turned off."""
    llama_index(url, model, stream, max_retries=0)


CLIENTS = (
    Client(f"openai-python {version('openai')}", openai_python),
    Client(f"langchain-openai {version('langchain-openai')}", langchain),
    Client(
        f"llama-index-llms-openai-like {version('llama-index-llms-openai-like')}",
        llama_index,
        heeds=False,
    ),
    Client("  the same, max_retries=0", llama_index_told),
)


def measure(
    client: Client, failure: Failure, model: str, models: ModelServer, gateway: LiveGateway
) -> Cost:
    """Has a client ask once while models fail.

    Raises:
        RuntimeError: the client took a failure for an answer.
    """
    models.reset()
    gateway.reset()
    failing = ("alpha", "beta") if failure.seats and model == FUSION else ("writer",)
    models.answer(**dict.fromkeys(failing, failure.answer))
    try:
        client.ask(gateway.url, model, failure.stream)
    except openai.APIError:
        return Cost(gateway.requests, len(models.calls))
    raise RuntimeError(f"{client.name} took a failure for an answer")


def too_much(client: Client, failure: Failure, model: str, cost: Cost) -> bool:
    """Whether a client or the gateway asked more often than it may."""
    calls = 4 if failure.stream and model == FUSION else 2 if model == FUSION else 1
    most = calls if failure.stream else calls * ATTEMPTS
    return cost.calls > cost.requests * most or (client.heeds and cost.requests > failure.requests)


def table(rows: Sequence[tuple[str, str, Sequence[Cost]]]) -> Iterable[str]:
    """Draws the table: a client and a model a row, a failure a column."""
    width = max(len(name) for name, _, _ in rows)
    yield f"{'requests → upstream calls':<{width}}  {'model':<14}" + _cells(FAILURES)
    for name, model, costs in rows:
        yield f"{name:<{width}}  {model:<14}" + _cells(map(str, costs))


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>12}" for text in texts)


def main() -> int:
    """Measures every client with every failure and prints the table."""
    logging.getLogger("llama_index").setLevel(logging.ERROR)  # it tells of each retry
    rows: list[tuple[str, str, list[Cost]]] = []
    missed = False
    with ModelServer(SCRIPT) as models:
        text = (CONFIG + SHORT).format(port=models.port, stream_start_seconds=5)
        with LiveGateway(parse_config(text)) as gateway:
            for client in CLIENTS:
                for model in (PLAIN, FUSION):
                    costs = []
                    for failure in FAILURES.values():
                        cost = measure(client, failure, model, models, gateway)
                        missed |= too_much(client, failure, model, cost)
                        costs.append(cost)
                    rows.append((client.name, model, costs))
    print("\n".join(table(rows)))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
