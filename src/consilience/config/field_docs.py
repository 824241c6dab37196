"""The strings under the fields of a model, read from its source.

Pydantic can do so when a class is made (`use_attribute_docstrings`), which every start would pay
for; only editors' hints need them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Gives what stands under each field of a model, inherited ones included."""
    told: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        told |= _docs_of_module(kind.__module__).get(kind.__qualname__, {})
    return told


@cache
def _docs_of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """By class, then by field; empty where there is no source."""
    try:
        source = inspect.getsource(sys.modules[name])
    except (OSError, TypeError, KeyError):
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_documented(node)) for node in classes}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        match below:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield field.target.id, inspect.cleandoc(text)
