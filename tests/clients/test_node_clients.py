"""openai-node and the Vercel AI SDK, each run by a script in `node/`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .live_gateway import LiveGateway
from .model_server import ModelServer
from .scenario import (
    ANSWER,
    BROKEN,
    CALLS,
    DETAILS,
    DOWN,
    FAILED_PANEL,
    FUSION,
    HELD,
    LOGS_NOTHING_OF,
    MODELS,
    PIECES,
    PLAIN,
    QUESTION,
    TOKENS,
    TOOL_ANSWER,
    TOOL_ARGUMENTS,
    TOOL_ID,
    TOOL_NAME,
    TOOL_RESULT,
    check_final_trace,
    check_trace,
)

NODE = Path(__file__).parent / "node"
CLIENTS = ("openai", "ai_sdk_compatible", "ai_sdk_openai")
WAYS = ("complete", "stream")
TRIES_AFTER_502 = {"openai": 1, "ai_sdk_compatible": 3}
"""Requests for one call whose panel fails: the AI SDK does not read `x-should-retry`."""
TRIES_AFTER_ERROR_EVENT = {"openai": 1, "ai_sdk_compatible": 1, "ai_sdk_openai": 3}
"""The same when the stream was open already: one provider waits for a first piece, and retries."""
LIMIT_S = 60

every_client = pytest.mark.parametrize("client", CLIENTS)
every_model = pytest.mark.parametrize("model", MODELS)


class Runner:
    """Runs a client's script and reads its line."""

    def __init__(self, node: str, url: str, models: ModelServer) -> None:
        self._node = node
        self._environ = {
            "PATH": os.environ["PATH"],
            "GATEWAY_URL": url,
            "RELEASE_URL": models.release_url,
            "QUESTION": QUESTION,
            "TOOL_RESULT": TOOL_RESULT,
        }

    def __call__(
        self, client: str, way: str, model: str, *, max_retries: int | None = 0
    ) -> dict[str, Any]:
        """
        Args:
            client: the script's name.
            way: `complete`, `stream`, `tools` or `tools_stream`.
            model: what to ask for.
            max_retries: None leaves it to the client.
        """
        retries = "" if max_retries is None else str(max_retries)
        done = subprocess.run(  # noqa: S603  # a script of ours
            [self._node, str(NODE / f"{client}.mjs"), way],
            env={**self._environ, "MODEL": model, "MAX_RETRIES": retries},
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # split at LF only: the answer has a character that other splitters take for an end
        lines = done.stdout.removesuffix("\n").split("\n")
        assert len(lines) == 1, done.stdout
        seen: dict[str, Any] = json.loads(lines[0])
        return seen


@pytest.fixture(scope="session")
def node() -> str:
    """The path of node. Fails, and does not skip, where the clients were never installed."""
    path = shutil.which("node")
    if path is None or not (NODE / "node_modules" / "ai").is_dir():
        pytest.fail("needs Node 20 or newer, and `npm ci` in tests/clients/node")
    return path


@pytest.fixture
def run(node: str, gateway: LiveGateway, models: ModelServer) -> Runner:
    return Runner(node, gateway.url, models)


@pytest.fixture
def run_eager(node: str, eager_gateway: LiveGateway, models: ModelServer) -> Runner:
    return Runner(node, eager_gateway.url, models)


@every_client
@every_model
def test_node_completion_is_whole_and_summed(
    run: Runner, models: ModelServer, client: str, model: str
) -> None:
    seen = run(client, "complete", model)

    assert "error" not in seen
    assert (seen["text"], seen["finish"], seen["model"]) == (ANSWER, "stop", PLAIN)
    assert _tokens(seen["usage"]) == (*TOKENS[model], *DETAILS[model])
    assert models.called == CALLS[model]
    if model == FUSION:
        check_final_trace(seen["fusion"])
    else:
        assert seen["fusion"] is None


@every_client
@every_model
def test_node_stream_arrives_while_the_model_still_writes(
    run: Runner, models: ModelServer, client: str, model: str
) -> None:
    models.answer(writer=HELD)
    seen = run(client, "stream", model)

    assert "error" not in seen
    assert (tuple(seen["pieces"]), seen["finish"], seen["model"]) == (PIECES, "stop", PLAIN)
    assert _tokens(seen["usage"]) == (*TOKENS[model], *DETAILS[model])
    if model == FUSION:
        check_final_trace(seen["fusion"])


@every_client
@pytest.mark.parametrize(
    ("model", "way"), [(FUSION, "tools"), (FUSION, "tools_stream"), (PLAIN, "tools_stream")]
)
def test_node_tool_call_and_its_result_lead_to_an_answer(
    run: Runner, models: ModelServer, client: str, model: str, way: str
) -> None:
    seen = run(client, way, model)

    assert "error" not in seen
    assert seen["calls"] == [{"id": TOOL_ID, "name": TOOL_NAME, "input": TOOL_ARGUMENTS}]
    assert (seen["text"], seen["finish"]) == (TOOL_ANSWER, "stop")
    assert models.called == sorted(CALLS[model] * 2)


@every_client
def test_node_shows_the_message_of_an_unknown_model(
    run: Runner, gateway: LiveGateway, models: ModelServer, client: str
) -> None:
    seen = run(client, "stream", "vllm-sr/fusio", max_retries=None)

    assert seen["error"]["status"] == 404
    assert "Did you mean 'vllm-sr/fusion'" in seen["error"]["message"]
    assert (gateway.requests, models.called) == (1, [])


@every_client
@pytest.mark.parametrize("way", WAYS)
def test_node_shows_why_the_panel_failed(
    run: Runner, gateway: LiveGateway, models: ModelServer, client: str, way: str
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    seen = run(client, way, FUSION)

    assert seen["error"]["status"] == 502
    assert "alpha" in seen["error"]["message"]
    assert LOGS_NOTHING_OF not in json.dumps(seen)
    assert (seen["text"], seen["pieces"]) == (None, [])
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


@pytest.mark.parametrize(("client", "tries"), TRIES_AFTER_502.items())
def test_node_tries_a_failed_panel_as_often_as_documented(
    run: Runner, gateway: LiveGateway, models: ModelServer, client: str, tries: int
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    seen = run(client, "complete", FUSION, max_retries=None)

    assert "alpha" in seen["error"]["message"]
    assert (gateway.requests, models.called) == (tries, sorted(FAILED_PANEL * tries))


@every_client
@every_model
def test_node_stream_that_breaks_throws_after_what_came(
    run: Runner, gateway: LiveGateway, models: ModelServer, client: str, model: str
) -> None:
    models.answer(writer=BROKEN)
    seen = run(client, "stream", model, max_retries=None)

    assert "model 'writer'" in seen["error"]["message"]
    assert tuple(seen["pieces"]) == PIECES[:2]
    assert (seen["text"], seen["finish"]) == (None, None)
    assert (gateway.requests, models.called) == (1, CALLS[model])
    if model == FUSION:
        check_trace(seen["fusion"])


@every_client
def test_node_comments_before_the_answer_are_not_noticed(run_eager: Runner, client: str) -> None:
    seen = run_eager(client, "stream", FUSION)

    assert "error" not in seen
    assert tuple(seen["pieces"]) == PIECES


@pytest.mark.parametrize(("client", "tries"), TRIES_AFTER_ERROR_EVENT.items())
def test_node_throws_an_error_after_the_stream_opened(
    run_eager: Runner, eager_gateway: LiveGateway, models: ModelServer, client: str, tries: int
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    seen = run_eager(client, "stream", FUSION, max_retries=None)

    assert "alpha" in seen["error"]["message"]
    assert (seen["text"], seen["pieces"]) == (None, [])
    assert eager_gateway.requests == tries
    assert models.called == sorted(FAILED_PANEL * tries)


def test_node_lock_names_no_registry_but_the_public_one() -> None:
    lock = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))

    packages = {name: entry for name, entry in lock["packages"].items() if name}
    addresses = [entry["resolved"] for entry in packages.values() if "resolved" in entry]
    assert all(address.startswith("https://registry.npmjs.org/") for address in addresses)
    assert all(entry["integrity"] for entry in packages.values())


def _tokens(used: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Prompt, completion, total, cached and reasoning tokens, in OpenAI's words or the AI SDK's."""
    if "prompt_tokens" in used:
        return (
            used["prompt_tokens"],
            used["completion_tokens"],
            used["total_tokens"],
            used["prompt_tokens_details"]["cached_tokens"],
            used["completion_tokens_details"]["reasoning_tokens"],
        )
    return (
        used["inputTokens"],
        used["outputTokens"],
        used["totalTokens"],
        used["cachedInputTokens"],
        used["reasoningTokens"],
    )
