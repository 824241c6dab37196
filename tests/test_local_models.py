"""The real model that runs on this machine: it answers, keeps to a schema, and reuses prefixes.

What it writes is never asserted, only the form: text of so small a model says nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from consilience.loopers.fusion.prompts import analysis_schema
from consilience.upstream.local import (
    MAX_THREADS,
    LocalModels,
    LocalSettings,
    default_threads,
)
from consilience.upstream.weights import (
    DEFAULT_MODEL,
    LocalModelError,
    path_of,
    pull,
    weights_named,
)

pytestmark = [pytest.mark.anyio, pytest.mark.local, pytest.mark.timeout(300)]

Message = Mapping[str, str]
ANALYSIS_KEYS = {
    "consensus",
    "contradictions",
    "partial_coverage",
    "unique_insights",
    "blind_spots",
}


class Model:
    """One running model, asked over HTTP like the gateway does."""

    def __init__(self, session: aiohttp.ClientSession, local: LocalModels) -> None:
        self.session, self.local = session, local
        self.url = f"{local.base_url(DEFAULT_MODEL)}/chat/completions"

    async def ask(
        self, messages: Sequence[Message], max_tokens: int = 24, **fields: Any
    ) -> Mapping[str, Any]:
        body = {"model": DEFAULT_MODEL, "messages": messages, "max_tokens": max_tokens, **fields}
        headers = {"authorization": f"Bearer {self.local.api_key}"}
        async with self.session.post(self.url, json=body, headers=headers) as response:
            answer: Mapping[str, Any] = await response.json()
            assert response.status == 200, answer
        return answer


@pytest.fixture(scope="module")
async def model(anyio_backend: str) -> AsyncIterator[Model]:
    """The model, started once for all of these tests."""
    pull(weights_named(DEFAULT_MODEL))
    async with (
        LocalModels.serve([DEFAULT_MODEL, DEFAULT_MODEL]) as local,
        aiohttp.ClientSession() as session,
    ):
        yield Model(session, local)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def text_of(answer: Mapping[str, Any]) -> str:
    content = answer["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


async def fused(model: Model, question: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A panel of three at once, then the judge, then the synthesis; gives the last two answers."""
    answers = [""] * 3

    async def seat(i: int) -> None:
        system = {"role": "system", "content": f"You are member {i} of a panel."}
        answers[i] = text_of(await model.ask([system, user(question)], temperature=0.8, seed=i))

    async with anyio.create_task_group() as group:
        for i in range(3):
            group.start_soon(seat, i)
    block = "\n\n".join(f"Answer {label}:\n{a}" for label, a in zip("ABC", answers, strict=True))
    conversation = [user(f"{question}\n\n{block}\n\nCompare the answers.")]
    judged = await model.ask(conversation, temperature=0)
    conversation += [{"role": "assistant", "content": text_of(judged)}, user("Write the answer.")]
    return judged, await model.ask(conversation)


def share_reused(judged: Mapping[str, Any], written: Mapping[str, Any]) -> float:
    """The share of the judge's prompt that the synthesis did not read again, by llama.cpp's timings."""
    prompt = judged["timings"]["cache_n"] + judged["timings"]["prompt_n"]
    cached = written["timings"]["cache_n"]
    print(f"judge prompt {prompt} tokens, not read again by the synthesis {min(cached, prompt)}")  # noqa: T201
    return float(min(cached, prompt) / prompt)


async def test_answer_has_text_and_counts_when_asked(model: Model) -> None:
    answer = await model.ask([user("Say hello.")])

    assert text_of(answer).strip()
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_synthesis_rereads_only_the_new_turn(model: Model) -> None:
    judged, written = await fused(model, "Why is the sky blue?")

    assert share_reused(judged, written) >= 0.95


async def test_prefix_is_reused_when_more_requests_run_than_there_are_slots(model: Model) -> None:
    questions = [f"Tell me about the number {n} and where it is used." for n in range(4)]
    shares: list[float] = []

    async def one(question: str) -> None:
        shares.append(share_reused(*await fused(model, question)))

    async with anyio.create_task_group() as group:
        for question in questions:
            group.start_soon(one, question)

    assert min(shares) >= 0.95


async def test_judge_schema_is_kept(model: Model) -> None:
    prompt = "A says tea is hot. B says tea is cold. Compare A and B. Write short JSON."

    answer = await model.ask(
        [user(prompt)],
        max_tokens=1200,
        temperature=0,
        response_format=analysis_schema(bounded=True),
    )

    if answer["choices"][0]["finish_reason"] == "stop":
        assert set(json.loads(text_of(answer))) == ANALYSIS_KEYS
    else:  # a tiny model may run on; even so the text is the beginning of such an object
        assert text_of(answer).lstrip().startswith("{")
        assert "consensus" in text_of(answer)


async def test_small_schema_is_kept_to_the_end(model: Model) -> None:
    text = {"type": "string", "maxLength": 20}
    properties = {key: {"type": "array", "maxItems": 1, "items": text} for key in ANALYSIS_KEYS}
    schema = {
        "type": "object",
        "properties": properties,
        "required": sorted(ANALYSIS_KEYS),
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}

    answer = await model.ask(
        [user("Compare tea and coffee.")], max_tokens=400, response_format=form
    )

    found = json.loads(text_of(answer))
    assert set(found) == ANALYSIS_KEYS
    assert all(len(items) <= 1 and all(len(i) <= 20 for i in items) for items in found.values())


async def test_server_refuses_whoever_has_no_key(model: Model) -> None:
    async with model.session.post(model.url, json={"messages": [user("hello")]}) as response:
        assert response.status == 401


async def test_too_long_prompt_is_refused_with_its_size(model: Model) -> None:
    body = {"messages": [user("word " * 9000)], "max_tokens": 1}
    headers = {"authorization": f"Bearer {model.local.api_key}"}
    async with model.session.post(model.url, json=body, headers=headers) as response:
        answer = await response.json()

    assert response.status == 400
    assert answer["error"]["n_ctx"] == LocalSettings().context_tokens


async def test_base_url_is_known_for_served_models_only(model: Model) -> None:
    with pytest.raises(KeyError):
        model.local.base_url("another")


async def test_serve_says_what_to_run_when_the_weights_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="consilience models pull smollm2-135m-instruct"):
        async with LocalModels.serve([DEFAULT_MODEL], environ={"CONSILIENCE_CACHE": str(tmp_path)}):
            pass


async def test_serve_says_what_to_install_when_the_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pull(weights_named(DEFAULT_MODEL))
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(LocalModelError, match=r"pip install 'consilience\[local\]'"):
        async with LocalModels.serve([DEFAULT_MODEL]):
            pass


async def test_serve_names_the_model_when_llama_cpp_refuses_the_file(tmp_path: Path) -> None:
    environ = {"CONSILIENCE_CACHE": str(tmp_path)}
    weights = weights_named(DEFAULT_MODEL)
    path = path_of(weights, environ)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(weights.size_bytes)

    with pytest.raises(LocalModelError, match=f"cannot serve {DEFAULT_MODEL}"):
        async with LocalModels.serve([DEFAULT_MODEL], environ=environ):
            pass


async def test_importing_the_module_does_not_load_the_engine() -> None:
    code = "import sys, consilience.upstream.local; sys.exit('xllamacpp' in sys.modules)"

    done = await anyio.run_process([sys.executable, "-c", code], check=False)

    assert done.returncode == 0, done.stderr


async def test_process_ends_and_is_silent_when_an_answer_is_still_in_flight() -> None:
    pull(weights_named(DEFAULT_MODEL))

    done = await anyio.run_process(
        [sys.executable, "-c", LEAVES_EARLY], check=False, stderr=subprocess.STDOUT
    )

    assert done.stdout.decode().split() == ["streaming", "closed"]
    assert done.returncode == 7


@pytest.mark.parametrize("models", [1, 2, 64])
async def test_default_threads_leaves_each_model_at_least_one(models: int) -> None:
    assert 1 <= default_threads(models) <= MAX_THREADS


LEAVES_EARLY = f"""
import sys, anyio, aiohttp
from consilience.upstream.local import LocalModels

async def main():
    async with LocalModels.serve(["{DEFAULT_MODEL}"]) as local, aiohttp.ClientSession() as session:
        body = {{
            "messages": [{{"role": "user", "content": "Tell a story."}}],
            "stream": True, "max_tokens": 5000, "ignore_eos": True,
        }}
        headers = {{"authorization": "Bearer " + local.api_key}}
        url = local.base_url("{DEFAULT_MODEL}") + "/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            await response.content.readany()
            print("streaming", flush=True)
    print("closed", flush=True)

anyio.run(main)
sys.exit(7)
"""
