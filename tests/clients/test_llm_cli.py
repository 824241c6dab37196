"""Simon Willison's `llm` command, a process of its own, with the models in a file of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from .live_gateway import LiveGateway
from .model_server import ModelServer
from .scenario import (
    ANSWER,
    BROKEN,
    CALLS,
    DOWN,
    FAILED_PANEL,
    FUSION,
    HELD,
    LOGS_NOTHING_OF,
    MODELS,
    PIECES,
    PLAIN,
    QUESTION,
    STRUCTURED,
    TOKENS,
    TOOL_ANSWER,
    TOOL_NAME,
    TOOL_RESULT,
)

WAYS: Sequence[list[str]] = ([], ["--no-stream"])
TOOL = f'''
def {TOOL_NAME}(city: str, unit: str) -> str:
    "Tells the weather of a city."
    return "{TOOL_RESULT}"
'''
LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Command:
    """The `llm` command with a user directory that knows the gateway's models."""

    environ: Mapping[str, str]

    def __call__(self, model: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  # a command line of ours
            self._line(model, *args),
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )

    def begin(self, model: str, *args: str) -> subprocess.Popen[bytes]:
        """Starts it and leaves its output to be read as it comes."""
        return subprocess.Popen(  # noqa: S603  # a command line of ours
            self._line(model, *args),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    @staticmethod
    def _line(model: str, *args: str) -> list[str]:
        return [sys.executable, "-m", "llm", "prompt", "-m", model, *args, QUESTION]


@pytest.fixture(scope="module")
def llm(gateway: LiveGateway, tmp_path_factory: pytest.TempPathFactory) -> Command:
    directory = tmp_path_factory.mktemp("llm")
    entry = {"api_base": gateway.url, "supports_tools": True, "supports_schema": True}
    entries = [
        {"model_id": name, "model_name": name, **entry} for name in (*MODELS, "vllm-sr/fusio")
    ]
    (directory / "extra-openai-models.yaml").write_text(json.dumps(entries), encoding="utf-8")
    own = {"LLM_USER_PATH": str(directory), "LLM_LOAD_PLUGINS": "", "PYTHONUTF8": "1"}
    return Command({**os.environ, **own})


@pytest.mark.parametrize("model", MODELS)
def test_llm_prints_the_answer_and_the_summed_usage(
    llm: Command, models: ModelServer, model: str
) -> None:
    done = llm(model, "--usage", "--no-stream")

    assert (done.returncode, done.stdout) == (0, ANSWER + "\n")
    prompt, completion, _ = TOKENS[model]
    assert f"{prompt} input, {completion} output" in done.stderr
    assert models.called == CALLS[model]
    assert not any(call.get("stream") for call in models.calls)


@pytest.mark.parametrize("model", MODELS)
def test_llm_prints_while_the_model_still_writes(
    llm: Command, models: ModelServer, model: str
) -> None:
    models.answer(writer=HELD)
    with llm.begin(model, "--usage") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.read(len(PIECES[0]))
        models.release()
        printed = first + running.stdout.read()
        told = running.stderr.read().decode()

    assert (running.returncode, printed.decode()) == (0, ANSWER + "\n")
    prompt, completion, _ = TOKENS[model]
    assert f"{prompt} input, {completion} output" in told


@pytest.mark.parametrize(("model", "way"), [(FUSION, []), (PLAIN, ["--no-stream"])])
def test_llm_calls_a_tool_and_prints_the_answer(
    llm: Command, models: ModelServer, model: str, way: list[str]
) -> None:
    done = llm(model, "--functions", TOOL, *way)

    assert (done.returncode, done.stdout) == (0, TOOL_ANSWER + "\n")
    assert models.called == sorted(CALLS[model] * 2)


def test_llm_gets_structured_output(llm: Command) -> None:
    done = llm(FUSION, "--schema", "city, country")

    assert json.loads(done.stdout) == STRUCTURED


def test_llm_prints_the_message_of_an_unknown_model(
    llm: Command, gateway: LiveGateway, models: ModelServer
) -> None:
    done = llm("vllm-sr/fusio")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Did you mean 'vllm-sr/fusion'" in done.stderr
    assert (gateway.requests, models.called) == (1, [])


@pytest.mark.parametrize("way", WAYS)
def test_llm_prints_why_the_panel_failed_and_does_not_try_again(
    llm: Command, gateway: LiveGateway, models: ModelServer, way: list[str]
) -> None:
    models.answer(alpha=DOWN, beta=DOWN)
    done = llm(FUSION, *way)

    assert (done.returncode, done.stdout) == (1, "")
    assert "panel_failed" in done.stderr
    assert "alpha" in done.stderr
    assert LOGS_NOTHING_OF not in done.stderr
    assert (gateway.requests, models.called) == (1, FAILED_PANEL)


@pytest.mark.parametrize("model", MODELS)
def test_llm_fails_when_the_stream_breaks(
    llm: Command, gateway: LiveGateway, models: ModelServer, model: str
) -> None:
    models.answer(writer=BROKEN)
    done = llm(model)

    assert (done.returncode, done.stdout) == (1, "".join(PIECES[:2]))
    assert "model 'writer'" in done.stderr
    assert (gateway.requests, models.called) == (1, CALLS[model])
