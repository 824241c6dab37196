"""A configuration file to a `Config`, or every reason why not.

The steps: YAML with positions, ignored keys out, variables in, validation, checks between the
parts, keys from the environment and files. A step takes what the one before could make of the
document, so that all problems of a file are reported together.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path as FilePath
from typing import Any

from ..errors import ConfigError, Problem
from ..telemetry.redaction import KEY_LIKE
from .checks import check
from .credentials import resolve_keys
from .environment import substitute
from .knowledge import check_knowledge, read_knowledge
from .known_keys import strip_ignored
from .model_checks import check_models
from .paths import MASK, ROOT, Finding, Path, dotted, existing, value_at
from .positions import MAX_CHARACTERS, Document, read_yaml
from .pruning import is_consequence, original
from .root import Config
from .shorthand import write_out
from .stand_ins import names_stand_in, without_stand_ins
from .validation import MAX_FINDINGS, validate

_MAX_BYTES = 4 * MAX_CHARACTERS


def load_config(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> Config:
    """Loads a configuration file.

    Args:
        path: a YAML file in UTF-8; relative `api_key_file` paths start from its directory.
        environ: the environment variables; those of this process when None.

    Raises:
        ConfigError: the file cannot be read or used; `problems` has every reason.
    """
    source = os.fspath(path)
    try:
        with FilePath(source).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    # A name with a NUL in it is a ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ConfigError(
            [Problem("", f"the file cannot be read: {reason}")], source=source
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([_not_utf_8(content, error)], source=source) from error
    return parse_config(
        text, source=source, environ=environ, base_dir=FilePath(source).absolute().parent
    )


def _not_utf_8(content: bytes, error: UnicodeDecodeError) -> Problem:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem("", "the file is text in UTF-16", suggestion="save it as UTF-8")
    if b"\0" in content:
        return Problem("", "the file is not text")
    line = content.count(b"\n", 0, error.start) + 1
    message = f"the file is not text in UTF-8: byte {content[error.start]:02x} on this line"
    return Problem("", message, line=line, column=1, suggestion="save it as UTF-8")


def parse_config(
    text: str,
    *,
    source: str = "<string>",
    environ: Mapping[str, str] | None = None,
    base_dir: str | os.PathLike[str] | None = None,
) -> Config:
    """Reads a configuration from YAML text.

    Args:
        text: one YAML 1.2 document.
        source: what to call it in problems.
        environ: the environment variables; those of this process when None.
        base_dir: what relative `api_key_file` paths start from; the working directory when None.

    Raises:
        ConfigError: the text cannot be used; `problems` has every reason.
    """
    return _build(read_yaml(text), text=text, source=source, environ=environ, base_dir=base_dir)


def build_config(
    data: Mapping[str, Any],
    *,
    source: str = "<built in>",
    environ: Mapping[str, str] | None = None,
    base_dir: str | os.PathLike[str] | None = None,
) -> Config:
    """Makes a configuration from data, checked like a file.

    Args:
        data: what a YAML document would hold: mappings with text keys, lists, scalars.
        source: what to call it in problems.
        environ: the environment variables; those of this process when None.
        base_dir: what relative `api_key_file` paths start from; the working directory when None.

    Raises:
        ConfigError: the data cannot be used; `problems` has every reason, without positions.
    """
    document = Document(data=dict(data))
    return _build(document, text="", source=source, environ=environ, base_dir=base_dir)


def _build(
    document: Document,
    *,
    text: str,
    source: str,
    environ: Mapping[str, str] | None,
    base_dir: str | os.PathLike[str] | None,
) -> Config:
    variables = os.environ if environ is None else environ
    directory = None if base_dir is None else FilePath(base_dir)
    form = [
        _problem(finding, document, position=index)
        for index, finding in enumerate(document.findings)
    ]
    config, findings = _read(document, variables, directory)
    problems = _ordered([*form, *(_problem(f, document) for f in findings if not f.warning)])
    warnings = _ordered(_problem(f, document) for f in findings if f.warning)
    if config is None or problems:
        raise ConfigError(problems, source=source, text=text, warnings=warnings)
    config._warnings, config._source = warnings, source  # noqa: SLF001  # likewise set once
    return config


def _read(
    document: Document, environ: Mapping[str, str], base_dir: FilePath | None
) -> tuple[Config | None, list[Finding]]:
    """Gives the configuration and everything found, which says whether it may be used."""
    # What was not read to its end would look as if much were missing.
    if document.broken:
        return None, []
    if not isinstance(document.data, dict):
        message = "the top level must be keys such as `version:`, `providers:` and `routing:`"
        return None, [Finding(ROOT, message)]
    stripped = strip_ignored(document.data)
    filled = substitute(stripped.data, environ)
    write_out(filled.data)
    knowledge = list(read_knowledge(filled.data, base_dir))
    if len(filled.unusable) > MAX_FINDINGS:
        return None, filled.findings
    # What could not be read has no value, and is told of already.
    unread = {f.path for f in document.findings if value_at(document.data, f.path) is None}
    validated = validate(
        filled.data,
        written=filled.written,
        plain=document.plain,
        removed=filled.unusable | (unread - {ROOT}),
    )
    findings = [*stripped.warnings(), *filled.findings, *knowledge, *validated.findings]
    config = validated.config
    if config is None and not findings:
        findings.append(Finding(ROOT, "nothing in this file could be understood"))
    further: tuple[Iterable[Finding], ...] = ()
    if config is not None:
        keys = resolve_keys(config, environ, base_dir)
        further = (
            check(config),
            check_knowledge(config),
            keys,
            check_models(config, environ),
        )
    for finding in islice(chain.from_iterable(further), MAX_FINDINGS):
        placed = _placed(finding, validated.removed)
        if names_stand_in(placed.absent) or names_stand_in(placed.suggestion):
            continue
        if not is_consequence(placed, filled.data, validated.removed):
            # A check speaks of `analysis_models[0].model`; the file may say only `- small`.
            path, message = existing(document.data, placed.path), without_stand_ins(placed.message)
            findings.append(replace(placed, path=path, message=message))
    return config, [replace(f, message=filled.as_written(f.message)) for f in findings]


def _placed(finding: Finding, removed: Collection[Path]) -> Finding:
    """Gives a finding about the pruned configuration the paths of the document."""
    return replace(
        finding,
        path=original(finding.path, removed),
        looked_in=tuple(original(path, removed) for path in finding.looked_in),
    )


def _problem(finding: Finding, document: Document, *, position: int | None = None) -> Problem:
    if position is None:
        mark = document.mark(finding.path, at_key=finding.at_key)
    else:
        mark = document.marks.get(position)
    return Problem(
        path=_masked(dotted(finding.path)),
        message=_masked(finding.message),
        line=mark.line if mark else None,
        column=mark.column if mark else None,
        suggestion=None if finding.suggestion is None else _masked(finding.suggestion),
    )


def _masked(text: str) -> str:
    """Takes out what looks like a key: one pasted into the wrong place is quoted by no rule."""
    return KEY_LIKE.sub(MASK, text)


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """In file order, each once; the first `MAX_FINDINGS` of them."""
    distinct = sorted(dict.fromkeys(problems), key=lambda p: (p.line or 0, p.column or 0, p.path))
    more = len(distinct) - MAX_FINDINGS
    if more > 0:
        distinct[MAX_FINDINGS:] = [Problem("", f"and {more} more like these")]
    return tuple(distinct)
