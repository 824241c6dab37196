"""YAML text to plain data, with the line and column of every key and value.

Built from the parser's events, not by a loader: events come one at a time, so that depth, aliases
and size are bounded before anything is built; a loader recurses and expands first. What is wrong
with the document is collected, not raised, so that the rest of the file is still checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from .nodes import Builder, Mark, Span
from .paths import ROOT, Finding, Path, is_secret_path
from .syntax import Refused, refused, unreadable

MAX_CHARACTERS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document as plain data (`dict` with text keys, `list`, scalars) with positions."""

    data: Any = None
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    """Where each key stands."""
    values: Mapping[Path, Mark] = field(default_factory=dict)
    """Where each value begins."""
    plain: frozenset[Path] = frozenset()
    """Scalars without quotes: only these may change their type by substitution."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the document's form."""
    marks: Mapping[int, Mark] = field(default_factory=dict)
    """Where each finding stands, by its index."""
    secrets: tuple[Span, ...] = ()
    """Scalars that must not be shown."""
    broken: bool = False
    """True when the rest of the text could not be read, so that `data` is incomplete."""

    def mark(self, path: Path, *, at_key: bool = False) -> Mark | None:
        """Gives the position of a value (or of its key), or that of the nearest thing around it."""
        if at_key and path in self.keys:
            return self.keys[path]
        if path in self.values:
            return self.values[path]
        for length in range(len(path) - 1, -1, -1):
            around = path[:length]
            if around in self.keys:
                return self.keys[around]
            if around in self.values:
                return self.values[around]
        return None


def read_yaml(text: str) -> Document:
    """Reads one YAML 1.2 document. Never raises; what is wrong stands in `findings`."""
    if len(text) > MAX_CHARACTERS:
        found = f"{len(text) / 1024 / 1024:.1f} MB"
        return _refuse(f"the file has {found}; a configuration may have at most 2 MB")
    builder = Builder()
    refusal: Refused | None = None
    events = _events(text)
    while refusal is None and not builder.full:
        try:
            event = next(events, None)
        except MarkedYAMLError as error:
            refusal = refused(error, text)
        except ReaderError as error:
            refusal = unreadable(error, text)
        # The parser fails on some malformed texts with whatever its code ran into
        # (`OverflowError` for `"\\UFFFFFFFF"`); to the user each of them is a broken file.
        except Exception:
            refusal = Refused("this is not valid YAML", None)
        else:
            if event is None:
                break
            _feed(builder, event)
    return _document(builder, refusal)


def _events(text: str) -> Iterator[Event]:
    yaml = YAML(typ="safe", pure=True)
    events: Iterator[Event] = yaml.parse(text)
    return events


def _feed(builder: Builder, event: Event) -> None:
    mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
    anchor = event.anchor if isinstance(event, NodeEvent) else None
    if isinstance(event, ScalarEvent):
        plain = event.style is None and bool(event.implicit[0])
        end = Mark(event.end_mark.line + 1, event.end_mark.column + 1)
        builder.scalar(event.value, (mark, end), tag=_tag(event), plain=plain, anchor=anchor)
    elif isinstance(event, MappingStartEvent):
        builder.start({}, mark, tag=_tag(event), anchor=anchor)
    elif isinstance(event, SequenceStartEvent):
        builder.start([], mark, tag=_tag(event), anchor=anchor)
    elif isinstance(event, MappingEndEvent | SequenceEndEvent):
        builder.end()
    elif isinstance(event, AliasEvent):
        builder.alias(str(anchor), mark)
    elif isinstance(event, DocumentStartEvent):
        builder.start_document(mark)


def _tag(event: Any) -> str | None:
    tag = event.tag
    return None if tag is None else str(tag)


def _refuse(message: str) -> Document:
    return Document(findings=(Finding(ROOT, message),), broken=True)


def _document(builder: Builder, refusal: Refused | None) -> Document:
    findings = list(builder.findings)
    marks = dict(builder.marks)
    if refusal is not None:
        if refusal.mark is not None:
            marks[len(findings)] = refusal.mark
        findings.append(Finding(ROOT, refusal.message, refusal.suggestion))
    elif not builder.full and builder.data is None:
        findings.append(
            Finding(ROOT, "the file is empty", "start with `version: v0.3` and `providers:`")
        )
    return Document(
        data=builder.data,
        keys=builder.keys,
        values=builder.values,
        plain=frozenset(builder.plain),
        findings=tuple(findings),
        marks=marks,
        secrets=tuple(
            span
            for index, span in enumerate(builder.spans)
            if index in builder.secret_spans or is_secret_path(span.path)
        ),
        broken=refusal is not None or builder.full or builder.data is None,
    )
