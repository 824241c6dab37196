"""The shape of the code, as `docs/design/architecture.md` and CONTRIBUTING describe it.

Layers are import-linter's (`scripts/check`); sizes, names, cycles and registries are held here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import grimp
import pytest

import consilience
from consilience.loopers import LOOPERS
from consilience.loopers.base import Looper
from consilience.plugins import PLUGINS
from consilience.plugins.base import Plugin
from consilience.signals import SIGNALS
from consilience.signals.base import Signal

SOURCES = Path(consilience.__file__).parent
MODULES = sorted(SOURCES.rglob("*.py"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")


def named(path: Path) -> str:
    return str(path.relative_to(SOURCES))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring; a literal that it returns is data, one line."""
    lines = height(function)
    if ast.get_docstring(function) is not None:
        lines -= height(function.body[0])
    last = function.body[-1]
    if isinstance(last, ast.Return) and isinstance(last.value, ast.Dict | ast.List | ast.Tuple):
        lines -= height(last) - 1
    return lines


def height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def module_of(path: Path) -> str:
    parts = (SOURCES.name, *path.relative_to(SOURCES).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


@cache
def everything_imported() -> None:
    """Imports every module, so that no subclass can hide."""
    for path in MODULES:
        if path.name != "__main__.py":
            import_module(module_of(path))


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield from subclasses(child)
        if child.__module__.startswith(f"{SOURCES.name}."):
            yield child


def test_modules_are_found() -> None:
    assert len(MODULES) > 50


def test_no_module_is_long() -> None:
    lengths = {named(path): len(lines_of(path)) for path in MODULES}

    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{named(path)}:{function.lineno} {function.name}": code_lines(function)
        for path in MODULES
        for function in functions(path)
        if code_lines(function) > MOST_FUNCTION_LINES
    }

    assert long == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {part for path in MODULES for part in path.relative_to(SOURCES).with_suffix("").parts}

    assert names & VAGUE_NAMES == set()


def test_nothing_is_left_to_be_done() -> None:
    found = [
        f"{named(path)}:{number}"
        for path in MODULES
        for number, line in enumerate(lines_of(path), start=1)
        if UNFINISHED.search(line)
    ]

    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        named(path)
        for path in MODULES
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]

    assert silent == []


@cache
def imports() -> grimp.ImportGraph:
    """Who imports whom at run time."""
    return grimp.build_graph(SOURCES.name, exclude_type_checking_imports=True, cache_dir=None)


def test_no_module_imports_itself_through_others() -> None:
    graph = imports()

    cycles = {
        module: chain
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if (chain := graph.find_shortest_chain(imported, module))
    }

    assert cycles == {}


def test_every_module_is_used() -> None:
    graph = imports()
    commands = re.findall(r'_run\(\s*"(\w+)"', (SOURCES / "cli" / "__init__.py").read_text("utf-8"))
    public = re.findall(r'": "\.([\w.]+)', (SOURCES / "__init__.py").read_text("utf-8"))
    by_name = {*(f"cli.{name}" for name in commands), *public, "__main__"}
    packages = {module for module in graph.modules if graph.find_children(module)}

    unused = {
        module
        for module in graph.modules - packages - {f"{SOURCES.name}.{name}" for name in by_name}
        if not graph.find_modules_that_directly_import(module)
    }

    assert len(by_name) > 8
    assert unused == set()


@pytest.mark.parametrize(
    "registry", [SIGNALS, LOOPERS, PLUGINS], ids=["signals", "loopers", "plugins"]
)
def test_kinds_of_a_registry_are_distinct(registry: tuple[Any, ...]) -> None:
    kinds = [member.kind for member in registry]

    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z][a-z_]*", kind) for kind in kinds)


@pytest.mark.parametrize(
    ("base", "registry"),
    [(Signal, SIGNALS), (Looper, LOOPERS), (Plugin, PLUGINS)],
    ids=["signals", "loopers", "plugins"],
)
def test_every_member_is_registered_once(base: type[Any], registry: tuple[Any, ...]) -> None:
    everything_imported()
    concrete = [kind for kind in subclasses(base) if not getattr(kind, "__abstractmethods__", ())]

    assert sorted(k.__qualname__ for k in registry) == sorted({k.__qualname__ for k in concrete})


@pytest.mark.parametrize(
    "member", [*SIGNALS, *LOOPERS, *PLUGINS], ids=lambda member: member.__name__
)
def test_every_member_says_what_it_is(member: type[Any]) -> None:
    assert (member.__doc__ or "").strip()


def test_config_sections_of_signals_are_distinct() -> None:
    sections = [signal.config_key for signal in SIGNALS]

    assert len(set(sections)) == len(sections)
