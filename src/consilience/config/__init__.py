"""Configuration: one YAML document to frozen, checked data."""

from __future__ import annotations

from .loading import build_config, load_config, parse_config
from .report import render_problems
from .root import Config

__all__ = ["Config", "build_config", "load_config", "parse_config", "render_problems"]
