"""The JSON Schema that editors get: it takes what `check` takes, and refuses wrong shapes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # publishes no types

from consilience.config import build_config, parse_config
from consilience.config.field_docs import field_docs
from consilience.config.known_keys import HOLLOW, IGNORED
from consilience.config.paths import Path as Place
from consilience.config.paths import value_at
from consilience.config.positions import read_yaml
from consilience.config.routing import Decision
from consilience.config.schema import config_schema
from consilience.errors import ConfigError
from consilience.loopers.fusion.options import FusionPlugin
from consilience.signals import SIGNALS

from .builders import data
from .test_conformance import FILES, conformance
from .test_mistakes import MISTAKES

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SHOWN = [
    *(
        pytest.param(match[1], id=f"{page.name}:{number}")
        for page in PAGES
        for number, match in enumerate(
            re.finditer(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        )
    ),
    *(
        pytest.param(path.read_text("utf-8"), id=path.name)
        for path in sorted((ROOT / "examples").glob("*.yaml"))
    ),
]
SCHEMA = config_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

SEMANTIC = frozenset(
    (Path(__file__).parent / "mistakes" / "beyond_schema.list").read_text("utf-8").split()
)
"""Mistakes that rest on names, on several keys or on the environment: beyond any schema."""


def complaints(document: Any) -> list[str]:
    return [f"{e.json_path}: {e.message[:200]}" for e in VALIDATOR.iter_errors(document)]


def test_schema_is_one_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert list(SCHEMA)[:4] == ["$schema", "$id", "title", "description"]
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_schema_is_the_same_each_time() -> None:
    assert json.dumps(config_schema()) == json.dumps(SCHEMA)


@pytest.mark.parametrize("text", SHOWN)
def test_what_the_documents_show_is_accepted(text: str) -> None:
    assert complaints(read_yaml(text).data) == []


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_reference_are_accepted(name: str) -> None:
    folder = conformance()
    if folder is None:
        pytest.skip("the conformance files are not beside this checkout")

    assert complaints(read_yaml((folder / name).read_text("utf-8")).data) == []


@pytest.mark.parametrize("file", MISTAKES, ids=lambda file: file.stem)
def test_mistake_is_refused_when_it_is_one_of_shape(file: Path) -> None:
    document = read_yaml(file.read_text("utf-8"))
    if document.findings:
        assert file.stem not in SEMANTIC  # not YAML, or not one document: no matter of a schema
        return

    assert (complaints(document.data) == []) == (file.stem in SEMANTIC)


def test_every_mistake_that_is_listed_is_there() -> None:
    assert {file.stem for file in MISTAKES} >= SEMANTIC


def rule(tree: Any) -> dict[str, Any]:
    keywords = [{"name": "a", "keywords": ["x"]}]
    decision = {"name": "d", "rules": tree, "modelRefs": [{"model": "small"}]}
    return data(routing={"signals": {"keywords": keywords}, "decisions": [decision]})


def fusion(**options: Any) -> dict[str, Any]:
    algorithm = {"type": "fusion", "fusion": {"model": "small", **options}}
    return data(routing={"decisions": [{"name": "d", "algorithm": algorithm}]})


def plugin(kind: str, **configuration: Any) -> dict[str, Any]:
    entry = {"type": kind, "configuration": configuration}
    decision = {"name": "d", "modelRefs": [{"model": "small"}], "plugins": [entry]}
    return data(routing={"decisions": [decision]})


def reliability(**settings: Any) -> dict[str, Any]:
    model = {
        "name": "small",
        "backend_refs": [{"endpoint": "10.0.0.1:8000"}],
        "reliability": settings,
    }
    return data(providers={"models": [model]})


def signals(**lists: Any) -> dict[str, Any]:
    return data(routing={"signals": lists})


LEAF = {"type": "keyword", "name": "a"}
ENVIRON = {"NUMBER": "8899", "WORD": "confidence", "HOST": "127.0.0.1"}


@pytest.mark.parametrize(
    "document",
    [
        *(
            data(listeners=[{"timeout": t}])
            for t in (300, 0.5, "300s", "1h30m", "500ms", "12", None)
        ),
        *(signals(context=[{"name": "a", "min_tokens": t}]) for t in (0, "16K", "1.5m", " 999 ")),
        *(
            signals(keywords=[{"name": "a", "operator": o, "keywords": ["x"]}])
            for o in ("or", "And", "NOR")
        ),
        *(
            signals(
                role_bindings=[
                    {"name": "a", "role": "r", "subjects": [{"kind": kind, "name": "n"}]}
                ]
            )
            for kind in ("User", "GROUP")
        ),
        signals(
            keywords=[
                {"name": "a", "keywords": ["x"], "fuzzy_threshold": "2", "case_sensitive": "yes"}
            ]
        ),
        rule(LEAF),
        rule({"operator": "and"}),
        rule({"operator": "Or", "conditions": [LEAF, {"operator": "not", "conditions": [LEAF]}]}),
        fusion(analysis_models=["small", {"model": "large", "count": 2, "temperature": None}]),
        fusion(analysis_models=["large"], reasoning=None, on_error=None),
        plugin("tools", mode=None, semantic_selection={"any": [1]}),
        plugin("context_compression", budget={"trigger_tokens": "auto", "target_tokens": 9000}),
        plugin("memory", any={"thing": [1]}),
        *(reliability(retry_on=names) for names in ("5xx, reset", ["5xx", "reset"], [])),
        *(reliability(health_check_interval=seconds) for seconds in (30, 2.5, "30s", "1m30s")),
        data(routing={"modelCards": [{"name": "small", "loras": None}], "decisions": None}),
        data(**{"global": {"services": {"authz": {"fail_open": None}}, "stores": {"memory": [1]}}}),
    ],
)
def test_short_forms_that_load_are_accepted(document: dict[str, Any]) -> None:
    build_config(document, environ={})

    assert complaints(document) == []


VARIABLES = """
version: v0.3
listeners:
  - port: ${NUMBER}
    timeout: "${NUMBER}s"
providers:
  models:
    - {name: small, backend_refs: [{endpoint: "${HOST}:${NUMBER}", weight: $NUMBER}]}
routing:
  strategy: ${WORD}
global:
  router:
    include_config_models_in_list: ${SWITCH:-true}
"""


def test_variables_are_accepted_in_place_of_numbers_and_words() -> None:
    parse_config(VARIABLES, environ=ENVIRON)

    assert complaints(read_yaml(VARIABLES).data) == []
    assert complaints(data(listeners=[{"port": "8899"}])) != []


@pytest.mark.parametrize(
    "document",
    [
        rule({"operator": "NOT", "conditions": [LEAF, LEAF]}),
        rule({"operator": "not"}),
        rule({**LEAF, "operator": "AND"}),
        rule({"operator": "AND", "conditions": [{"operator": "XOR", "conditions": []}]}),
        rule({"type": "keywords", "name": "a"}),
        signals(keywords=[{"name": "a", "keywords": ["x"], "case_sensitive": "maybe"}]),
        signals(language=[{"name": "en", "threshold": "half"}]),
        fusion(analysis_models=[7]),
        fusion(analysis_models=["large"], synthesis_template="without a place"),
        plugin("tols"),
        plugin("tools", mode="any"),
        plugin("tools", allow_tools="search"),
        plugin("header_mutation", delete=["x y"]),
        plugin("system_prompt", system_prompt=" "),
        reliability(retry_on=5),
        reliability(base_ejection_time="soon"),
        reliability(health_check_path="health"),
        data(listeners=[{"timeout": "soon"}]),
        data(routing={"modelCards": [{"name": None}]}),
        data(routing={"model_cards": []}),
        data(surprise=1),
    ],
)
def test_wrong_shapes_are_refused(document: dict[str, Any]) -> None:
    assert complaints(document) != []


EXAMPLE = read_yaml((ROOT / "examples" / "vllm-and-openrouter.yaml").read_text("utf-8")).data
TEXTS = ("", "x", "5", "300s", "16K", "or", "yes", "$$", "${HOME}")
VALUES: tuple[Any, ...] = (None, True, 0, 1, -1, 2.5, *TEXTS, [], {}, ["x"])


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every path of a document but the top."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for step, below in entries:
        yield (*path, step)
        if isinstance(below, dict | list):
            yield from places(below, (*path, step))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(places(EXAMPLE))), st.sampled_from(VALUES))
def test_whatever_loads_is_accepted(place: Place, value: Any) -> None:
    document = copy.deepcopy(EXAMPLE)
    value_at(document, place[:-1])[place[-1]] = value
    try:
        build_config(document, environ={"HOME": "here"})
    except ConfigError:
        return

    assert complaints(document) == []


def section(*names: str) -> Any:
    """The properties at a path of sections; lists are looked into, `[tools]` is an entry's type."""
    node: Any = SCHEMA
    for name in names:
        if name == "[]":
            continue
        if name.startswith("["):
            node = next(each for each in entries_of(node) if is_of_type(each, name[1:-1]))
        else:
            node = section_in(node)["properties"][name]
    return section_in(node)["properties"]


def section_in(node: Any) -> Any:
    """The section that a key takes."""
    while "properties" not in node:
        node = node.get("items", node)
        if "properties" not in node:
            reference = next(a for a in node.get("anyOf", [node]) if "$ref" in a)
            node = SCHEMA["$defs"][reference["$ref"].rpartition("/")[2]]
    return node


def entries_of(node: Any) -> list[Any]:
    """The sections that entries of a list may be."""
    return [section_in(each) for each in node["items"]["anyOf"]]


def is_of_type(entry: Any, kind: str) -> bool:
    return any(kind in each.get("enum", ()) for each in entry["properties"]["type"]["anyOf"])


def test_hints_are_the_docstrings_and_the_defaults() -> None:
    port, seats = (
        section("listeners")["port"],
        section("routing", "decisions", "algorithm", "fusion"),
    )

    assert (port["default"], port["description"]) == (8899, "0 lets the system choose.")
    assert seats["on_error"]["default"] == "skip"
    assert "The panel" in seats["analysis_models"]["description"]
    assert section("routing", "decisions")["tier"]["description"].startswith("The smaller wins")


def test_every_key_that_is_not_acted_on_is_marked_with_what_is_lost() -> None:
    for path, lost in {**IGNORED, **HOLLOW}.items():
        told = section(*path[:-1])[path[-1]]

        assert told == {"deprecated": True, "description": f"Not acted on: {lost}."}


def test_every_signal_has_a_section_that_says_what_it_is() -> None:
    known = section("routing", "signals")

    for signal in SIGNALS:
        assert known[signal.config_key]["description"] == " ".join(str(signal.__doc__).split())


def says_something(node: dict[str, Any]) -> bool:
    """Whether a key has a hint: its own, or that of the section it takes."""
    if "description" in node or "$ref" in node:
        return True
    parts = [node.get("items"), node.get("additionalProperties"), *node.get("anyOf", ())]
    return any(says_something(part) for part in parts if isinstance(part, dict))


def test_every_key_has_a_hint() -> None:
    sections = {"": SCHEMA, **SCHEMA["$defs"]}

    silent = [
        f"{name}.{key}"
        for name, node in sections.items()
        for key, value in node.get("properties", {}).items()
        if key not in ("name", "version") and not says_something(value)
    ]

    assert silent == []


def test_docstrings_of_a_model_include_inherited_ones() -> None:
    told = field_docs(FusionPlugin)

    assert told["stream_progress"].startswith("Sends what happens")
    assert told["fallback_models"].startswith("Asked in order")


def test_models_without_a_source_have_no_docstrings() -> None:
    assert field_docs(type("Made", (Decision,), {"__module__": "nowhere"})) == field_docs(Decision)
