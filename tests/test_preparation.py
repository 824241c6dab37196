"""Plugins of decisions in the gateway: what models are asked, and what the client gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from consilience.chat.request import ChatRequest
from consilience.config import parse_config
from consilience.errors import InvalidRequestError, UpstreamStatusError
from consilience.gateway import Gateway
from consilience.reply import Begin, Chunk, Event
from consilience.upstream.scripted import Reply, ScriptedUpstream
from support.scripts import fusion_script

pytestmark = pytest.mark.anyio

HEAD = """\
version: v0.3
listeners: [{name: http, port: 0}]
providers:
  defaults: {default_model: a}
  models:
    - {name: a, backend_refs: [{base_url: "http://127.0.0.1:9/v1"}]}
    - {name: b, backend_refs: [{base_url: "http://127.0.0.1:9/v1"}]}
    - {name: j, backend_refs: [{base_url: "http://127.0.0.1:9/v1"}]}
routing:
  modelCards: [{name: a, context_window_size: 2000}, {name: b, context_window_size: 1000}]
  signals:
    keywords: [{name: weigh, keywords: [compare]}, {name: other, keywords: [default]}]
  decisions:
"""
PANEL = """\
    - name: panel
      priority: 9
      rules: {type: keyword, name: weigh}
      algorithm: {type: fusion, fusion: {model: j, analysis_models: [a, b]}}
"""
PLAIN = """\
    - name: plain
      rules: {operator: NOT, conditions: [{type: keyword, name: other}]}
      modelRefs: [{model: a}]
"""
PROMPT = "- {type: system_prompt, configuration: {system_prompt: Be brief.}}"
CACHE = "- {type: response_cache, configuration: {}}"
FAST = "- {type: fast_response, configuration: {message: Not here.}}"
LIMIT = "- {type: request_params, configuration: {blocked_params: [seed], max_tokens_limit: 100}}"
NO_TOOLS = "- {type: tools, configuration: {mode: none, strip_tool_history: true}}"
HEADERS = "- {type: header_mutation, configuration: {add: [{name: X-Team, value: red}]}}"
COMPRESS = (
    "- {type: context_compression, configuration:"
    " {targets: {tool_outputs: {min_tokens: 200, target_tokens: 100}}}}"
)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def config(*plugins: str) -> str:
    """Two decisions, each with these plugins."""
    lines = "".join(f"        {entry}\n" for entry in plugins)
    block = f"      plugins:\n{lines}" if plugins else ""
    return HEAD + PANEL + block + PLAIN + block


class Asked:
    """A gateway and what its models were asked."""

    def __init__(self, *plugins: str, script: Any = None) -> None:
        self.upstream = ScriptedUpstream(fusion_script() if script is None else script)
        self.gateway = Gateway(parse_config(config(*plugins)), upstream=self.upstream)

    @property
    def calls(self) -> Sequence[ChatRequest]:
        return self.upstream.calls

    async def whole(
        self, text: str = "hi", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Any:
        return await self.gateway.complete(asking(text, **fields), headers)

    async def events(self, text: str = "hi", **fields: Any) -> list[Event]:
        body = asking(text, stream=True, stream_options={"include_usage": True}, **fields)
        return [event async for event in self.gateway.stream(body)]


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


def chunks(events: Sequence[Event]) -> list[Any]:
    return [event.body for event in events if isinstance(event, Chunk)]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Chunk))


def head(events: Sequence[Event]) -> Mapping[str, str]:
    return next(event.headers for event in events if isinstance(event, Begin))


async def test_plain_call_is_asked_as_the_plugins_left_the_request() -> None:
    asked = Asked(PROMPT, LIMIT, NO_TOOLS, HEADERS)

    reply = await asked.whole(seed=1, max_tokens=900, tools=TOOLS, top_k=3)

    (call,) = asked.calls
    assert dict(call.body) == {
        "model": "a",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 100,
        "top_k": 3,
    }
    assert call.headers is not None
    assert call.headers.applied({}) == {"x-team": "red"}
    assert reply.headers["x-vsr-response-path"] == "upstream"
    assert "x-vsr-response-warnings" not in reply.headers


async def test_panel_judge_and_synthesis_all_see_the_changed_conversation() -> None:
    asked = Asked(PROMPT, LIMIT, NO_TOOLS, HEADERS)

    reply = await asked.whole("compare x", seed=1, max_tokens=900, tools=TOOLS)

    assert [call.model for call in asked.calls] == ["a", "b", "j", "j"]
    for call in asked.calls:
        assert call.messages[0] == {"role": "system", "content": "Be brief."}
        assert not call.body.keys() & {"seed", "tools"}
        assert call.headers is not None
    assert {call.body.get("max_tokens") for call in (*asked.calls[:2], asked.calls[3])} == {100}
    assert reply.headers["x-vsr-response-path"] == "looper"


async def test_streamed_call_is_asked_the_same() -> None:
    asked = Asked(PROMPT, HEADERS)

    events = await asked.events()

    assert text_of(events) == "one"
    assert asked.calls[0].messages[0]["content"] == "Be brief."
    assert asked.calls[0].headers is not None


async def test_plugins_leave_requests_alone_that_no_decision_took() -> None:
    asked = Asked(FAST)

    named = await asked.whole(model="b")
    default = await asked.whole("the default")
    panel = {"id": "fusion", "model": "j", "analysis_models": ["a"]}
    direct = await asked.whole("the default", model="vllm-sr/fusion", plugins=[panel])

    assert (named.text, default.text, direct.text) == ("two", "one", "The answer.")
    assert direct.headers["x-vsr-selected-decision"] == "fusion_direct"


async def test_disabled_plugin_does_nothing() -> None:
    asked = Asked("- {type: fast_response, configuration: {enabled: false, message: x}}")

    assert (await asked.whole()).text == "one"


async def test_conversation_is_compressed_for_the_smallest_window_of_the_panel() -> None:
    asked = Asked(COMPRESS)
    log = "\n".join(f"line {i} is well" for i in range(900))
    turns: list[Any] = [
        {"role": "user", "content": "compare the lines"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": log},
    ]

    await asked.whole(messages=turns)

    assert len(asked.calls) == 4
    for call in asked.calls:
        (result,) = (m for m in call.messages if m["role"] == "tool")
        assert len(result["content"]) < 500 < len(log)


async def test_fixed_answer_is_given_without_a_call() -> None:
    asked = Asked(FAST, CACHE, PROMPT)

    reply = await asked.whole()

    assert (reply.text, len(asked.calls)) == ("Not here.", 0)
    assert reply.body["model"] == "auto"
    assert reply.body["id"].startswith("chatcmpl-")
    assert reply.body["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert reply.headers["x-vsr-response-path"] == "fast_response"
    assert reply.headers["x-vsr-fast-response"] == "true"
    assert "x-vsr-selected-model" not in reply.headers


@pytest.mark.parametrize("text", ["hi", "compare x"])
async def test_fixed_answer_is_streamed_in_real_chunks(text: str) -> None:
    asked = Asked(FAST)

    events = await asked.events(text)

    assert (text_of(events), len(asked.calls)) == ("Not here.", 0)
    assert head(events)["x-vsr-fast-response"] == "true"
    *spoken, usage = chunks(events)
    assert spoken[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in spoken] == [None, "stop"]
    assert usage["usage"]["total_tokens"] == 0


@pytest.mark.parametrize("algorithm", ["", "      algorithm: {type: remom}\n"])
async def test_fixed_answer_needs_no_model_and_no_looper(algorithm: str) -> None:
    text = f"{HEAD}    - name: refused\n{algorithm}      plugins:\n        {FAST}\n"
    upstream = ScriptedUpstream()
    async with Gateway(
        parse_config(text.replace("  defaults: {default_model: a}\n", "")), upstream=upstream
    ) as gateway:
        reply = await gateway.complete(asking("hi"))
    assert (reply.text, upstream.calls) == ("Not here.", [])


@pytest.mark.parametrize(("text", "calls"), [("hi", 1), ("compare x", 4)])
@pytest.mark.parametrize("first", ["whole", "streamed"])
@pytest.mark.parametrize("then", ["whole", "streamed"])
async def test_hit_gives_the_answer_again_whole_and_streamed(
    text: str, calls: int, first: str, then: str
) -> None:
    asked = Asked(CACHE)

    async def answered(how: str) -> tuple[Any, ...]:
        if how == "whole":
            reply = await asked.whole(text)
            return reply.text, reply.body["usage"], reply.body["model"], reply.headers
        events = await asked.events(text)
        last = chunks(events)[-1]
        return text_of(events), last["usage"], last["model"], head(events)

    *given, fresh = await answered(first)
    *again, hit = await answered(then)

    assert again == given
    assert len(asked.calls) == calls
    assert hit["x-vsr-response-path"] == "cache"
    assert hit["x-vsr-cache-hit"] == "true"
    assert hit["x-vsr-selected-model"] == given[2]
    assert "x-vsr-cache-hit" not in fresh


async def test_hit_has_its_own_id_and_no_trace() -> None:
    asked = Asked(CACHE)

    fresh, hit = [await asked.whole("compare x") for _ in range(2)]

    assert fresh.body["id"] != hit.body["id"]
    assert (fresh.fusion is not None, hit.fusion) == (True, None)


async def test_tool_calls_are_given_again_streamed_from_whole_and_whole_from_streamed() -> None:
    asked = Asked(CACHE, script=Reply(None, tool_calls=[CALL]))

    await asked.whole("one", tools=TOOLS)
    streamed = chunks(await asked.events("one", tools=TOOLS))
    await asked.events("two", tools=TOOLS)
    whole = await asked.whole("two", tools=TOOLS)

    assert len(asked.calls) == 2
    assert streamed[0]["choices"][0]["delta"]["tool_calls"] == [{**CALL, "index": 0}]
    assert streamed[1]["choices"][0]["finish_reason"] == "tool_calls"
    (call,) = whole.body["choices"][0]["message"]["tool_calls"]
    assert call == CALL


async def test_users_do_not_share_answers() -> None:
    asked = Asked(CACHE)

    for user in ("alice", "bob", "alice"):
        await asked.whole(headers={"x-authz-user-id": user})

    assert len(asked.calls) == 2


def _status(code: int, model: str) -> UpstreamStatusError:
    return UpstreamStatusError(f"answered with status {code}", model=model, status_code=code)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hi", {"a": Reply("cut", finish_reason="length")}),
        ("compare x", fusion_script(b=_status(500, "b"))),
        ("compare x", fusion_script(final=_status(500, "j"))),
    ],
    ids=["cut off", "a seat failed", "the writer failed"],
)
@pytest.mark.parametrize("how", ["whole", "streamed"])
async def test_answer_in_which_something_went_wrong_is_not_kept(
    text: str, script: Any, how: str
) -> None:
    asked = Asked(CACHE, script=script)
    ask = asked.whole if how == "whole" else asked.events

    await ask(text)
    calls = len(asked.calls)
    await ask(text)

    assert len(asked.calls) == 2 * calls


async def test_stream_that_breaks_is_not_kept() -> None:
    answers = iter([Reply("one two three", breaks_after=2), Reply("one two three")])
    asked = Asked(CACHE, script=lambda _: next(answers))

    with pytest.raises(Exception, match="connection broke"):
        await asked.events()
    assert text_of(await asked.events()) == "one two three"
    assert len(asked.calls) == 2


async def test_stream_that_is_left_is_not_kept() -> None:
    asked = Asked(CACHE, script=Reply("one two three"))

    async with asked.gateway.stream(asking("hi")) as stream:
        for _ in range(3):
            await anext(stream)
    await asked.whole()

    assert len(asked.calls) == 2


async def test_equal_requests_at_once_are_all_answered() -> None:
    asked = Asked(CACHE, script=Reply("hello", delay_s=0.01))
    texts: list[str] = []

    async def ask() -> None:
        texts.append((await asked.whole()).text)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    await ask()

    assert texts == ["hello"] * 21
    assert len(asked.calls) <= 20


async def test_hit_is_given_while_there_is_no_room_for_calls() -> None:
    limited = config(CACHE) + "global: {gateway: {max_in_flight: 1}}\n"
    upstream = ScriptedUpstream(lambda r: Reply("x", delay_s=9e9 * (r.user_text == "wait")))
    async with Gateway(parse_config(limited), upstream=upstream) as gateway:
        await gateway.complete(asking("hi"))
        async with anyio.create_task_group() as group:
            group.start_soon(gateway.complete, asking("wait"))
            await anyio.wait_all_tasks_blocked()
            assert (await gateway.complete(asking("hi"))).headers["x-vsr-cache-hit"] == "true"
            group.cancel_scope.cancel()


async def test_directive_that_has_no_effect_is_told() -> None:
    asked = Asked(
        "- {type: response_cache, configuration: {request_controls: {enabled: true, allowed: []}}}"
    )

    reply = await asked.whole(headers={"x-vsr-cache-control": "no-store"})

    told = reply.headers["x-vsr-response-warnings"]
    assert told == "cache directive no-store is not acted on"


async def test_new_gateway_begins_with_an_empty_cache() -> None:
    for _ in range(2):
        asked = Asked(CACHE)
        await asked.whole()
        assert len(asked.calls) == 1


async def test_conversation_of_nothing_but_tools_is_refused_before_any_call() -> None:
    asked = Asked(NO_TOOLS)

    with pytest.raises(InvalidRequestError) as caught:
        await asked.whole(messages=[{"role": "tool", "tool_call_id": "c", "content": "x"}])

    assert (caught.value.param, caught.value.spent, asked.calls) == ("messages", False, [])


async def test_plugin_that_fails_costs_no_request_and_keeps_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def edit(self: Any, request: ChatRequest) -> ChatRequest:
        raise RuntimeError("a fault")

    monkeypatch.setattr("consilience.plugins.system_prompt.SystemPrompt.edit", edit)
    asked = Asked(PROMPT, CACHE)

    replies = [await asked.whole() for _ in range(2)]

    assert [reply.text for reply in replies] == ["one", "one"]
    assert len(asked.calls) == 2
    told = replies[0].headers["x-vsr-response-warnings"]
    assert told == "plugin system_prompt failed and was left out"
