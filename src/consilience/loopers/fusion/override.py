"""A request's own Fusion settings: read, checked against what a request may change, and merged."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ...chat.request import ChatRequest
from ...errors import InvalidRequestError
from ..base import Binding, RequestOverrides
from .options import (
    AnalysisOverride,
    FusionOptions,
    FusionPlugin,
    Grounding,
    Reasoning,
    Seat,
    merge,
    panel_size,
)


def overridden(
    base: FusionOptions, entry: Mapping[str, Any], request: ChatRequest, binding: Binding
) -> tuple[FusionOptions, FusionPlugin]:
    """Lays a `plugins` entry over a decision's options.

    Validating the entry with pydantic costs some ten microseconds, and only where there is one.

    Raises:
        InvalidRequestError: naming the field, what is allowed, and what was probably meant.
    """
    where = _place(entry, request)
    plugin = read_plugin(entry, request)
    if plugin.enabled:
        _check_models(plugin, where, binding.overrides)
    options = merge(base, plugin)
    _check_size(options, plugin, where, binding)
    return options, plugin


def check_entries(request: ChatRequest, ids: Collection[str]) -> None:
    """Checks a request's entry for Fusion, whichever route will win; nothing without one.

    Args:
        request: the client's request.
        ids: by which its `plugins` speak to Fusion.

    Raises:
        InvalidRequestError: naming the field that is wrong, or an entry after the first.
    """
    ours = [i for i, entry in enumerate(request.plugins) if entry["id"].strip() in ids]
    if len(ours) > 1:
        where = f"plugins[{ours[1]}]"
        raise InvalidRequestError(
            f"{where}: plugins[{ours[0]}] is for Fusion already; put both into one", param=where
        )
    for i in ours:
        read_plugin(request.plugins[i], request)


def read_plugin(entry: Mapping[str, Any], request: ChatRequest) -> FusionPlugin:
    """Reads one of a request's `plugins` entries without looking at any decision.

    Raises:
        InvalidRequestError: naming the field, what is allowed, and what was probably meant.
    """
    try:
        return FusionPlugin.model_validate(dict(entry))
    except ValidationError as exc:
        raise _told(exc, _place(entry, request)) from None


def _place(entry: Mapping[str, Any], request: ChatRequest) -> str:
    return f"plugins[{list(request.plugins).index(entry)}]"


def _check_size(options: FusionOptions, plugin: FusionPlugin, where: str, binding: Binding) -> None:
    size = panel_size(options.analysis_models) or len(binding.models)
    most = binding.overrides.max_panel_size
    if size > most:
        raise InvalidRequestError(
            f"{where}.analysis_models seats {size} models; at most {most} are allowed",
            param=f"{where}.analysis_models",
        )
    quorum = plugin.min_successful_responses
    if plugin.enabled and quorum and quorum > size:
        raise InvalidRequestError(
            f"{where}.min_successful_responses is {quorum}, but the panel has {size} seats",
            param=f"{where}.min_successful_responses",
        )


def _check_models(plugin: FusionPlugin, where: str, allowed: RequestOverrides) -> None:
    for field, name in named_models(plugin):
        param = f"{where}.{field}"
        if name in allowed.forbidden:
            raise InvalidRequestError(
                f"{param}: {name!r} is a route, not a model; it cannot sit on a panel or judge",
                param=param,
            )
        if allowed.models == "none":
            raise InvalidRequestError(
                f"{param}: this gateway does not let requests choose models", param=param
            )
        _check_exists(name, param, allowed)
    for i, override in enumerate(plugin.analysis_overrides):
        _check_exists(override.model, f"{where}.analysis_overrides[{i}].model", allowed)


def _check_exists(name: str, param: str, allowed: RequestOverrides) -> None:
    if name in allowed.configured or (allowed.models == "any" and allowed.reachable(name)):
        return
    raise InvalidRequestError(
        f"{param}: {name!r} is not a configured model{_near(name, allowed)}", param=param
    )


def named_models(plugin: FusionPlugin) -> Iterator[tuple[str, str]]:
    """Gives every model that a plugin would have asked, with the field that names it."""
    for field in ("model", "synthesis_model"):
        name = getattr(plugin, field)
        if name is not None:
            yield field, name
    for i, name in enumerate(plugin.fallback_models):
        yield f"fallback_models[{i}]", name
    for i, seat in enumerate(plugin.analysis_models):
        yield f"analysis_models[{i}]", seat.model


def _near(name: str, allowed: RequestOverrides) -> str:
    near = difflib.get_close_matches(name, sorted(allowed.configured), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _told(exc: ValidationError, where: str) -> InvalidRequestError:
    """One sentence for the first thing that is wrong, with the field's path."""
    first = exc.errors(include_url=False, include_context=True)[0]
    path = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, field = map(str, first["loc"])
        known = sorted(_NESTED.get(parents[0] if parents else "", FusionPlugin).model_fields)
        near = difflib.get_close_matches(field, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return InvalidRequestError(f"{path}: unknown field; {hint}", param=path)
    return InvalidRequestError(f"{path}: {_sentence(first)}", param=path)


def _sentence(error: Any) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**context)
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind.endswith(("_type", "_parsing")):
        return f"must be {_TYPES.get(kind.split('_')[0], 'of another type')}"
    return str(error["msg"])


_SENTENCES: Mapping[str, str] = {
    "missing": "is required",
    "string_too_short": "must not be blank",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be one of {expected}",
}

_NESTED: Mapping[str, type[BaseModel]] = {
    "analysis_models": Seat,
    "analysis_overrides": AnalysisOverride,
    "reasoning": Reasoning,
    "grounding": Grounding,
}
"""Fields that hold objects, for what is known inside them."""

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a string",
    "tuple": "an array",
    "list": "an array",
    "dict": "an object",
    "model": "an object",
}
