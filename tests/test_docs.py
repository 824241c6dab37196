"""What the documents show works, and what they list is what the code has.

The error table of `docs/http.md` is written by `UPDATE_DOCS=1 pytest tests/test_docs.py`.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

from consilience.cli import app
from consilience.cli.exit_codes import EPILOG
from consilience.config import load_config, parse_config
from consilience.config.globals import Gateway, Integrations, Router
from consilience.config.root import Listener
from consilience.errors import (
    ConfigError,
    ConsilienceError,
    PanelFailedError,
    UpstreamStatusError,
)
from consilience.loopers.fusion.options import PLUGIN_ONLY, FusionOptions, Seat
from consilience.loopers.fusion.panel import FailedSeat, panel_failure
from consilience.plugins import PLUGINS, UNAVAILABLE
from consilience.plugins.response_cache import ResponseCacheSettings
from consilience.signals import SIGNALS

ROOT = Path(__file__).parents[1]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
HTTP = ROOT / "docs" / "http.md"
FUSION = (ROOT / "docs" / "fusion.md").read_text(encoding="utf-8")
PLUGIN_PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ERRORS = re.compile(r"(<!-- errors: [^\n]*-->\n)(.*?)(<!-- /errors -->)", re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match[1], match[2]))
    return [block for block in found if block.language in languages]


def each(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=[block.id for block in found])


def whole_configurations() -> list[Block]:
    return [block for block in blocks("yaml") if block.text.startswith("version:")]


def keys_of(text: str) -> dict[str, str]:
    """An environment in which every key that a file names is set."""
    return dict.fromkeys(re.findall(r"api_key_env: *(\w+)", text), "a-key")


@each(whole_configurations())
def test_configuration_in_a_page_loads(block: Block) -> None:
    assert parse_config(block.text, environ=keys_of(block.text)).warnings == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_example_loads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert load_config(path, environ=keys_of(text)).warnings == ()


@each(blocks("json"))
def test_json_in_a_page_is_json(block: Block) -> None:
    assert json.loads(block.text)


@each(blocks("python"))
def test_python_in_a_page_compiles(block: Block) -> None:
    compile(block.text, block.id, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_pages_have_every_kind_of_block() -> None:
    assert {block.page.name for block in whole_configurations()} >= {
        "README.md",
        "configuration.md",
    }
    assert len(EXAMPLES) >= 2
    assert blocks("json")
    assert blocks("python")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = _LINK.findall(page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]

    assert [target for target in local if not leads_somewhere(page, target)] == []


def leads_somewhere(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return False
    return not anchor or anchor in anchors(path.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def descendants(kind: type[ConsilienceError]) -> Iterator[type[ConsilienceError]]:
    for child in kind.__subclasses__():
        if child.__module__ == ConsilienceError.__module__:
            yield child
            yield from descendants(child)


class ErrorRow(NamedTuple):
    """One line of the table of errors."""

    status: int
    kind: str
    code: str
    when: str
    others: frozenset[int] = frozenset()
    """Statuses that it may have, too."""

    def __str__(self) -> str:
        statuses = ", ".join(map(str, [self.status, *sorted(self.others - {self.status})]))
        return f"| {statuses} | `{self.kind}` | `{self.code}` | {self.when} |"


def error_rows() -> list[ErrorRow]:
    """Every error that a client may get, by status."""
    rows = [ErrorRow(500, "server_error", "internal_error", "A fault of ours; the log has it.")]
    for kind in descendants(ConsilienceError):
        when = (kind.__doc__ or "").strip().split("\n")[0]
        row = ErrorRow(kind.status, kind.type, kind.code, when)
        if kind is UpstreamStatusError:
            rows += upstream_statuses(when)
        elif kind is PanelFailedError:
            rows.append(row._replace(others=panel_statuses()))
        elif kind is not ConfigError:
            rows.append(row)
    distinct = {(row.kind, row.code): row for row in reversed(rows)}
    return sorted(distinct.values(), key=lambda row: (row.status, row.kind, row.code))


def upstream_statuses(when: str) -> Iterator[ErrorRow]:
    """What an upstream's error statuses become."""
    ours: dict[tuple[str, str], set[int]] = {}
    for given in range(400, 600):
        exc = UpstreamStatusError("", model="", status_code=given)
        ours.setdefault((exc.type, exc.code), set()).add(exc.status)
    for (kind, code), statuses in ours.items():
        yield ErrorRow(min(statuses), kind, code, when, frozenset(statuses))


def panel_statuses() -> frozenset[int]:
    """The statuses of a panel that failed as a whole, by why."""
    seats = [
        FailedSeat(0, "a", "failed", reason, "failed", latency_ms=0)
        for reason in ("connection", "rate_limited", "timeout")
    ]
    return frozenset(panel_failure([seat], total=1).status for seat in seats)


def error_table() -> str:
    lines = ["| status | `type` | `code` | when |", "|---|---|---|---|"]
    lines += map(str, error_rows())
    return "\n".join(lines) + "\n"


def test_error_table_is_what_the_classes_say() -> None:
    text = HTTP.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_DOCS"):
        text = ERRORS.sub(lambda match: match[1] + error_table() + match[3], text)
        HTTP.write_text(text, encoding="utf-8")

    match = ERRORS.search(text)

    assert match
    assert match[2] == error_table()


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line is `head`, without the two lines of its head."""
    lines = text[text.index(head) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


PARAMETERS = table(FUSION, "| parameter | default |")


def test_parameter_table_names_exactly_the_options() -> None:
    named = [row[0].strip("`") for row in PARAMETERS]

    assert sorted(named) == sorted(FusionOptions.model_fields)


def test_parameter_table_gives_the_defaults() -> None:
    words: Mapping[str, object] = {"true": True, "false": False, "0": 0.0}
    told = {row[0].strip("`"): row[1].strip("`") for row in PARAMETERS}
    fixed = {"skip", "fusion-v1", *words}
    defaults = FusionOptions().model_dump()

    literal = {name: words.get(d, d) for name, d in told.items() if d in fixed}

    assert literal == {
        name: default
        for name, default in defaults.items()
        if isinstance(default, bool | float) or (isinstance(default, str) and default)
    }


def test_plugins_own_fields_are_told() -> None:
    assert PLUGIN_ONLY - {"id"} - names_in(FUSION) == set()


def test_fields_of_a_seat_are_told() -> None:
    told = re.search(r"A \*\*seat\*\* is a name or `\{([^}]*)\}`", FUSION)

    assert told
    assert {name.strip() for name in told[1].split(",")} == set(Seat.model_fields)


def shown_configuration() -> Mapping[str, Any]:
    (block,) = (b for b in whole_configurations() if b.page.name == "configuration.md")
    shown: Mapping[str, Any] = YAML(typ="safe").load(block.text)
    return shown


def defaults_of(model: BaseModel, shown: Mapping[str, Any]) -> dict[str, Any]:
    dumped = model.model_dump(mode="json")
    return {name: dumped[name] for name in shown}


def test_gateway_section_shows_every_default() -> None:
    assert shown_configuration()["global"]["gateway"] == Gateway().model_dump(mode="json")


def test_other_sections_show_defaults() -> None:
    shown = shown_configuration()
    looper = dict(shown["global"]["integrations"]["looper"])
    fusion = looper.pop("fusion")
    listener = {k: shown["listeners"][0][k] for k in ("address", "port")}

    assert looper == defaults_of(Integrations().looper, looper)
    assert fusion == defaults_of(Integrations().looper.fusion, fusion)
    assert listener == defaults_of(Listener(), listener)
    assert set(shown["global"]["router"]["auto_model_names"]) <= set(Router().auto_names)


def test_signal_table_names_every_kind_and_its_fields() -> None:
    rows = table(CONFIGURATION, "| kind, section |")
    told = {tuple(re.findall(r"`(\w+)`", row[0])): names_in(row[2]) for row in rows}

    assert set(told) == {(signal.kind, signal.config_key) for signal in SIGNALS}
    for signal in SIGNALS:
        words = " ".join(told[signal.kind, signal.config_key])
        fields = set(signal.Rule.model_fields) - {"description"}
        own = {name for name in fields if re.search(rf"\b{name}\b", words)}
        assert own, f"{signal.kind}: none of {sorted(fields)} is told"


def test_plugin_table_names_every_type_and_its_keys_in_order() -> None:
    rows = table(PLUGIN_PAGE, "| type | what it does |")

    assert [row[0].strip("`") for row in rows] == [plugin.kind for plugin in PLUGINS]
    for plugin, row in zip(PLUGINS, rows, strict=True):
        assert names_in(row[2]) == set(plugin.Options.model_fields) - {"enabled"}, plugin.kind
    assert [kind for kind in UNAVAILABLE if f"`{kind}`" not in PLUGIN_PAGE] == []


def test_plugin_page_shows_every_plugin_and_the_stores_defaults() -> None:
    (block,) = (b for b in whole_configurations() if b.page.name == "plugins.md")
    shown: Mapping[str, Any] = YAML(typ="safe").load(block.text)
    store = shown["global"]["stores"]["response_cache"]
    types = {p["type"] for d in shown["routing"]["decisions"] for p in d["plugins"]}

    assert types == {plugin.kind for plugin in PLUGINS}
    assert store == defaults_of(ResponseCacheSettings(), store)


def commands() -> dict[str, Any]:
    """Every command by its words (`models pull`)."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": c for sub, c in inner.items()} if inner else {name: command}
    return found


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def usages() -> Iterator[tuple[str, str]]:
    """Every command that a page shows, with the rest of its line: (page, words)."""
    for page in PAGES:
        for match in re.finditer(
            r"(?:`|^|&& |bin/)consilience ((?!import)[a-z][^`\n]*)",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        ):
            yield page.name, re.split(r"\s+#|\s{2,}|&&", match[1])[0].replace("\\|", "|")


def test_shown_commands_and_options_exist() -> None:
    known = commands()

    wrong = [
        (page, words)
        for page, words in usages()
        for name in names_of(words)
        if name not in known or options_in(words) - options_of(known[name])
    ]

    assert len(list(usages())) > 10
    assert wrong == []


def names_of(words: str) -> list[str]:
    """The commands that a line shows: `models pull|list|rm` are three."""
    first, *rest = words.split()
    is_group = any(name.startswith(f"{first} ") for name in commands())
    return [f"{first} {sub}" for sub in rest[0].split("|")] if is_group else [first]


def options_in(words: str) -> set[str]:
    return set(re.findall(r"(?<!\w)(--?[a-z][\w-]*)", words))


def test_command_table_has_every_command() -> None:
    rows = table(HTTP.read_text(encoding="utf-8"), "| command | what it does |")
    told = {re.sub(r"\\", "", row[0]).strip("`").split()[1] for row in rows}

    assert told == {name.split()[0] for name in commands()}


def test_exit_codes_are_told_as_the_help_tells_them() -> None:
    text = " ".join(HTTP.read_text(encoding="utf-8").split())

    assert EPILOG in text
