"""Which configuration a command works with: the file that was named, one that lies here, or none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..config import load_config, parse_config
from ..config.root import Config
from ..config.starter import starter_config
from ..errors import ConfigError, Problem
from ..live import Fingerprint, fingerprint
from ..upstream.discovery import Found, discover

DEFAULT_FILE = Path("consilience.yaml")
NO_FILE = "zero configuration"
"""What a configuration without a file is called in problems."""


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A configuration and where it came from."""

    config: Config
    text: str
    """The document's own text, for code frames."""
    notes: tuple[str, ...] = ()
    """How it was chosen, a line each."""
    path: Path | None = None
    """The file, when there is one."""
    stamp: Fingerprint | None = None
    """The file's, from before it was read."""


async def find_config(path: Path | None) -> FoundConfig:
    """Gives the named file's configuration, else `./consilience.yaml`'s, else one from what is found.

    Raises:
        ConfigError: the file is wrong, or there is no file and no model was found.
    """
    named = named_config(path)
    if named is not None:
        return named
    found = await discover(os.environ)
    text = starter_text(found)
    config = parse_config(text, source="none; chosen from what was found here")
    return FoundConfig(config, text, notes=tuple(found.notes))


def named_config(path: Path | None) -> FoundConfig | None:
    """Gives the named file's configuration, else `./consilience.yaml`'s; None when there is neither.

    Raises:
        ConfigError: the file is wrong.
    """
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is None:
        return None
    stamp = fingerprint(path)
    config = load_config(path)
    return FoundConfig(config, path.read_text(encoding="utf-8-sig"), path=path, stamp=stamp)


def starter_text(found: Found) -> str:
    """Writes a configuration for what was found.

    Raises:
        ConfigError: no model was found; the message says what would be.
    """
    if not found.models:
        why = "; ".join(found.notes) or (
            "no API key is set, no model server answers on this machine, and the local extra is"
            " not installed"
        )
        raise ConfigError(
            [
                Problem(
                    "",
                    f"no configuration file and no model that can be asked: {why}",
                    suggestion="set OPENAI_API_KEY or OPENROUTER_API_KEY, start vLLM or Ollama,"
                    " or: pip install 'consilience[local]' && consilience models pull",
                )
            ],
            source=NO_FILE,
        )
    return starter_config(found)
