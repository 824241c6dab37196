from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from consilience.cli.explain import drawn
from support.command import invoke, run, written
from support.routing_parts import PROJECTED, failing_signal, routing_yaml

DEEP = """\
decisions of default, by priority
  deep  chosen: priority 100, confidence 1.00
    [x] AND
      [x] OR
        [x] keyword weigh
        [ ] context long = 10
      [x] NOT
        [ ] keyword secret
  kept  did not match: keyword 'secret' did not match
    [ ] keyword secret
  quick  lost: priority 10 against 100 of 'deep'
    [x] keyword weigh

calls that would be made
  panel      cheap x2  20 in, 1,000 out   $0.002020
  panel      strong    10 in, 500 out     $0.010100
  judge      strong    2,530 in, 500 out  $0.035300
  synthesis  strong    3,030 in, 500 out  $0.040300
estimate   5 calls, 5,590 tokens in, 2,500 out, $0.087720 (answers taken as 500 tokens or their limit)
"""


PROJECTIONS = """\
projections
  score size = 10
     +10.000 = 1 x 10  context long (raw)
  score effort = 0.51
      +0.500 = 0.5 x 1  keyword weigh
      +0.000 = -0.25 x 0  keyword chat (confidence)
      +0.010 = 0.001 x 10  score size (score)
      +0.000 = 2 x 0  authz staff  failed, so a miss: no user id
  mapping band of effort
    [ ] easy
    [x] hard  confidence 0.79

decisions of default"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, routing_yaml())


def test_route_is_drawn_for_people(file: Path) -> None:
    result = invoke("explain", "compare tea\nand coffee", "--config", file)

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(
        "prompt     compare tea and coffee\n"
        "asked of   vllm-sr/auto\n"
        "route      decision deep, fusion: strong answers\n"
        "why        decision 'deep' matched\n"
        "\n"
        "signals\n"
    )
    assert result.out.endswith(DEEP)


PLUGINS = """\
    - name: fixed
      priority: 900
      rules: {type: keyword, name: secret}
      plugins: [{type: fast_response, configuration: {message: "No."}}]
    - name: short
      priority: 300
      rules: {type: context, name: long}
      modelRefs: [{model: cheap}]
      plugins:
        - {type: request_params, configuration: {max_tokens_limit: 100}}
        - {type: tools, configuration: {mode: none}}
"""


def test_plugins_are_drawn_in_their_order_and_count(tmp_path: Path) -> None:
    file = written(tmp_path, routing_yaml(more=PLUGINS))
    request = {"messages": [{"role": "user", "content": "x " * 20_000}], "max_tokens": 900}
    (tmp_path / "body.json").write_text(json.dumps(request), encoding="utf-8")

    told = invoke("explain", "--messages", tmp_path / "body.json", "--config", file).out

    assert (
        "\nplugins, in their order\n"
        "  tools           the request offers no tools\n"
        "  request_params  caps max_tokens to 100\n"
        "\ncalls that would be made\n"
        "  single  cheap  10,004 in, 100 out  "
    ) in told


def test_route_that_needs_no_model_is_drawn(tmp_path: Path) -> None:
    file = written(tmp_path, routing_yaml(more=PLUGINS))

    result = invoke("explain", "internal only", "--config", file)

    assert result.code == 0
    assert "\nroute      decision fixed, answered without a model\n" in result.out
    assert result.out.endswith("  fast_response  answers with its message; no model is called\n")
    told = json.loads(invoke("explain", "internal only", "--config", file, "--json").out)
    assert (told["estimate"]["calls"], told["estimate"]["cost_usd"]) == (0, 0)


def test_signals_are_drawn_with_figures_and_time(file: Path) -> None:
    lines = invoke("explain", "compare a", "--config", file).out.splitlines()

    start = lines.index("signals")
    told = [line.rstrip() for line in lines[start + 1 : lines.index("", start)]]
    times = [line for line in told if line.endswith(" ms")]
    assert [line.split()[0] for line in times] == ["context", "keyword"]
    assert "    [ ] long  value 7" in told
    assert "    [ ] secret" in told
    assert "    [x] weigh   confidence 1.00" in told


def test_signal_that_failed_is_drawn_as_unknown() -> None:
    lines = drawn(failing_signal()).splitlines()

    assert "    [?] a  broken" in lines
    assert "    [?] keyword a: broken" in lines


def test_json_is_what_the_endpoint_sends_with_its_trace(file: Path) -> None:
    result = invoke("explain", "hi", "--config", file, "--json")

    told = json.loads(result.out)
    assert (told["selection_status"], told["selected_model"]) == ("fallback", "cheap")
    assert len(told["eval_trace"]) == 3


@pytest.mark.parametrize(
    "content",
    [
        [{"role": "user", "content": "compare a and b"}],
        {"messages": [{"role": "user", "content": "compare a and b"}], "model": "auto"},
    ],
)
def test_messages_come_from_a_file(file: Path, tmp_path: Path, content: object) -> None:
    messages = tmp_path / "messages.json"
    messages.write_text(json.dumps(content), encoding="utf-8")

    result = invoke("explain", "--messages", messages, "--config", file)

    assert result.code == 0
    assert "route      decision deep" in result.out


def test_prompt_comes_from_standard_input_when_it_is_a_dash(file: Path) -> None:
    result = invoke("explain", "-", "--config", file, stdin="compare ☕ and 🍵".encode())

    assert "prompt     compare ☕ and 🍵\n" in result.out


def test_model_is_the_one_that_is_named(file: Path) -> None:
    result = invoke("explain", "hi", "--config", file, "--model", "unpriced")

    assert "route      static: unpriced answers" in result.out
    assert "no price is known of unpriced" in result.out
    assert "price unknown" in result.out


def test_names_are_told_when_no_alias_is_configured(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'providers: {models: [{name: small, backend_refs: [{endpoint: "127.0.0.1:9"}]}]}\n'
        "global: {router: {auto_model_names: []}}\n",
    )

    result = invoke("explain", "hi", "-c", path)

    assert (result.code, result.out) == (2, "")
    assert "say which with --model: vllm-sr/fusion, small" in result.err


def test_request_that_would_be_refused_ends_as_asking_would(file: Path) -> None:
    result = invoke("explain", "hi", "--config", file, "--model", "vllm-sr/fusion")

    assert result.code == 2
    assert "refused    'vllm-sr/fusion' found no Fusion decision" in result.out
    assert "calls that would be made" not in result.out


UNAVAILABLE = """\
    - name: learned
      priority: 900
      rules: {type: keyword, name: weigh}
      modelRefs: [{model: cheap}, {model: strong}]
      algorithm: {type: router_dc}
"""


def test_algorithm_that_is_not_available_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, routing_yaml(more=UNAVAILABLE))

    result = invoke("explain", "compare a and b", "--config", file)

    assert result.code != 0
    assert (
        "refused    decision 'learned' matched, but its algorithm 'router_dc' is not available"
        in result.out
    )


WEIGHTED = """\
    - name: shared
      priority: 900
      rules: {type: keyword, name: weigh}
      modelRefs: [{model: cheap, weight: 0}, {model: strong, weight: 1}]
"""


def test_model_that_would_be_drawn_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, routing_yaml(more=WEIGHTED))

    result = invoke("explain", "compare a and b", "--config", file)

    assert "route      decision shared, static: strong answers" in result.out
    assert "estimate   1 call," in result.out


def test_terminal_gets_no_escape_sequence_of_the_prompt(file: Path) -> None:
    assert "\x1b" not in invoke("explain", "compare \x1b[31mred", "--config", file).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give a prompt or --messages"),
        (("hi", "--messages", "x.json"), "give a prompt or --messages"),
        (("--messages", "missing.json"), "missing.json: No such file"),
        (("--messages", "."), "Is a directory"),
        (("--messages", "text.json"), "not valid JSON"),
        (("--messages", "number.json"), "neither a list of messages nor"),
        (("--messages", "empty.json"), "'messages' must be a non-empty array"),
        (("  ",), "every message is empty"),
        (("hi", "--model", "zzz"), "no model 'zzz'"),
    ],
)
def test_wrong_use_is_told_and_ends_with_2(
    file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    for name, text in {"text": "hello", "number": "3", "empty": "[]"}.items():
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")

    result = invoke("explain", *arguments, "--config", file)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_problems_of_the_file_end_with_1(tmp_path: Path) -> None:
    result = invoke("explain", "hi", "--config", written(tmp_path, "version: v9\n"))

    assert result.code == 1
    assert "nothing was started" in result.err


def test_bytes_that_are_no_text_are_refused(file: Path, tmp_path: Path) -> None:
    result = run("explain", "-", "--config", file, cwd=tmp_path, stdin=b"caf\xe9")

    assert (result.code, result.err) == (2, "error: the prompt: not text in UTF-8\n")


DOCUMENTS = Path(__file__).parents[2]
PAGE = (DOCUMENTS / "docs" / "routing.md").read_text(encoding="utf-8")
README = (DOCUMENTS / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(r'```console\n\$ consilience explain "([^"]*)"[^\n]*\n(.*?)```', re.DOTALL)


def without_times(text: str) -> list[str]:
    return [re.sub(r"[\d.]+ ms$", "", line.rstrip()) for line in text.splitlines()]


def explained(prompt: str, page: str, folder: Path) -> list[str]:
    """What is printed of a prompt with the configuration that a page shows."""
    text = re.findall(r"```yaml\n(version:.*?)```", page, re.DOTALL)[0]
    result = invoke("explain", prompt, "--config", written(folder, text))
    return without_times(result.out)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", "a-key")
    monkeypatch.setenv("OPENROUTER_API_KEY", "a-key")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("prompt", "output"), SHOWN.findall(PAGE), ids=["panel", "single"])
def test_page_shows_what_is_printed(prompt: str, output: str, tmp_path: Path) -> None:
    assert explained(prompt, PAGE, tmp_path) == without_times(output)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("prompt", "output"), SHOWN.findall(README), ids=["panel", "single"])
def test_readme_shows_what_is_printed_where_it_leaves_nothing_out(
    prompt: str, output: str, tmp_path: Path
) -> None:
    printed = "\n".join(explained(prompt, README, tmp_path))
    pieces = [piece.strip("\n") for piece in output.split("...\n")]

    places = [f"\n{printed}\n".find(f"\n{piece}\n") for piece in pieces]

    assert len(pieces) > 2
    assert -1 not in places
    assert places == sorted(places)


def test_projections_are_drawn_with_what_each_input_added(tmp_path: Path) -> None:
    told = invoke("explain", "compare tea and coffee", "--config", written(tmp_path, PROJECTED)).out

    lines = (line.partition(": the request has")[0].rstrip() for line in told.splitlines())
    assert PROJECTIONS in "\n".join(lines)


COMPARING = """\
version: v0.3
providers:
  defaults: {default_model: cheap}
  models:
    - {name: cheap, backend_refs: [{endpoint: "127.0.0.1:9"}]}
    - {name: strong, backend_refs: [{endpoint: "127.0.0.1:9"}]}
routing:
  signals:
    embeddings:
      - {name: refunds, threshold: 0.7, candidates: [I want my money back]}
    classifiers:
      - {name: tone, type: llm, labels: [formal, casual], model: cheap}
  decisions:
    - {name: money, priority: 2, rules: {type: embedding, name: refunds}, modelRefs: [{model: strong}]}
    - name: formal
      rules: {type: classifier, name: tone, label: formal, predicate: {gte: 0.5}}
      modelRefs: [{model: strong}]
"""


def test_explain_compares_meanings_and_asks_no_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONSILIENCE_CACHE")  # the model of this machine
    monkeypatch.setattr("consilience.signal_models.cache_dir", lambda: tmp_path / "models")

    result = invoke("explain", "please give me my money back", "-c", written(tmp_path, COMPARING))

    assert result.code == 0
    assert "money  chosen: priority 2" in result.out
    assert "helper models are not asked in a dry run" in result.out


@pytest.mark.parametrize("content", ["{x", "", '"text"'])
def test_file_of_messages_that_is_none_is_named(file: Path, tmp_path: Path, content: str) -> None:
    messages = tmp_path / "messages.json"
    messages.write_text(content, encoding="utf-8")
    result = invoke("explain", "--messages", messages, "--config", file)
    assert "messages.json: " in result.err
