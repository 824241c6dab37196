"""Small configurations for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consilience.config import Config, build_config, parse_config
from consilience.errors import ConfigError, Problem

MODELS = """
providers:
  models:
    - name: small
      backend_refs: [{base_url: "https://llm.example.org/v1"}]
    - name: large
      backend_refs: [{endpoint: "127.0.0.1:8001"}]
"""


def data(**sections: Any) -> dict[str, Any]:
    """Gives a document with two models and these sections."""
    models = [
        {"name": "small", "backend_refs": [{"base_url": "https://llm.example.org/v1"}]},
        {"name": "large", "backend_refs": [{"endpoint": "127.0.0.1:8001"}]},
    ]
    return {"version": "v0.3", "providers": {"models": models}, **sections}


def with_backend(environ: Mapping[str, str] | None = None, **backend: Any) -> Config:
    """Gives a configuration with one model and this backend."""
    models = [{"name": "small", "backend_refs": [backend]}]
    return build_config({"providers": {"models": models}}, environ=environ or {})


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """Gives what is wrong with a text; none when it loads."""
    try:
        parse_config(text, environ=environ or {})
    except ConfigError as error:
        return error.problems
    return ()
