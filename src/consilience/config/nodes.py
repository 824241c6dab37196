"""Builds plain data from YAML events, within bounds.

Rules that are not obvious:
* An alias shares the anchored value, but every visit of it counts towards `MAX_NODES`: a few lines
  of nested aliases would otherwise become billions of values for whoever walks the data.
* `<<` merges a mapping (or a list of them) below the keys written out.
* Keys are always text, as written: `no:` and `8899:` are the keys "no" and "8899".
* What cannot be used (below a repeated key, say) is read to its end and dropped, but its scalars
  stay in `spans`: a line of it may be shown, and must be masked if it holds a secret.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .paths import Finding, Path, is_below_secret, is_secret_path, tells_secret
from .scalars import resolve_plain

MAX_DEPTH = 64
MAX_NODES = 200_000

_TAGS = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})
_MERGE = "<<"
_COMPLEX_KEY = "?"


class Mark(NamedTuple):
    """A position in the text, both from 1."""

    line: int
    column: int


class Span(NamedTuple):
    """The text of one scalar value, from its first character to after its last."""

    path: Path
    start: Mark
    end: Mark


@dataclass(slots=True)
class _Frame:
    """A collection that is being filled."""

    value: Any
    path: Path
    anchor: str | None
    first_span: int
    key: str | None = None
    """The key that waits for its value, in a mapping."""
    merging: bool = False
    """Whether that key is a merge."""
    dropping: bool = False
    """Whether that key's value is to be dropped."""
    is_key: bool = False
    """Whether this collection stands where a key should."""
    merges: list[Any] = field(default_factory=list)
    size: int = 1
    height: int = 1

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


class _Anchored(NamedTuple):
    value: Any
    size: int
    height: int
    spans: tuple[int, int]
    """Range in `Builder.spans`."""


class Builder:
    """Takes events one by one; `full` says that a bound was passed and that reading must stop."""

    def __init__(self) -> None:
        self.data: Any = None
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.plain: set[Path] = set()
        self.findings: list[Finding] = []
        self.marks: dict[int, Mark] = {}
        self.spans: list[Span] = []
        self.secret_spans: set[int] = set()
        """Scalars that an alias uses as a secret."""
        self.full = False
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._documents = 0
        self._nodes = 0

    def start_document(self, mark: Mark) -> None:
        """Begins a document; a second one is refused."""
        self._documents += 1
        if self._documents > 1:
            self._report("a second document begins here; a configuration is one document", mark)
            self.full = True

    def scalar(
        self,
        text: str,
        span: tuple[Mark, Mark],
        *,
        tag: str | None,
        plain: bool,
        anchor: str | None,
    ) -> None:
        """Takes a scalar: a key when its mapping waits for one, otherwise a value."""
        mark, first = span[0], len(self.spans)
        if self._between_keys:
            if is_below_secret(self._stack[-1].path):
                self.spans.append(Span(self._stack[-1].path, *span))
            self._take_key(self._stack[-1], text, mark, merge=plain and text == _MERGE)
            value: Any = text
        else:
            if tells_secret(text):
                self.secret_spans.add(first)
            self.spans.append(Span(self._next_path(), *span))
            value = self._typed(text, mark, tag=tag, plain=plain)
            path = self._place(value, mark, size=1, height=1)
            if plain and tag is None:
                self.plain.add(path)
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, 1, 1, (first, len(self.spans)))

    def start(self, value: Any, mark: Mark, *, tag: str | None, anchor: str | None) -> None:
        """Opens a mapping (`{}`) or a list (`[]`)."""
        if len(self._stack) >= MAX_DEPTH:
            self._report(f"nested more than {MAX_DEPTH} levels deep", mark)
            self.full = True
            return
        self._check_tag(tag, mark)
        if self._between_keys:
            self._report("a key must be text, not a list or a block", mark)
            path: Path = (*self._stack[-1].path, _COMPLEX_KEY)
            self._stack.append(_Frame(value, path, anchor, len(self.spans), is_key=True))
            return
        path = self._place(value, mark, size=0, height=0)
        self._stack.append(_Frame(value, path, anchor, len(self.spans)))

    def end(self) -> None:
        """Closes the collection opened last."""
        frame = self._stack.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        if frame.anchor is not None:
            spans = (frame.first_span, len(self.spans))
            self._anchors[frame.anchor] = _Anchored(frame.value, frame.size, frame.height, spans)
        if not self._stack:
            return
        parent = self._stack[-1]
        if frame.is_key:
            parent.key, parent.dropping = _COMPLEX_KEY, True
            return
        parent.size += frame.size
        parent.height = max(parent.height, frame.height + 1)

    def alias(self, name: str, mark: Mark) -> None:
        """Takes `*name`."""
        anchored = self._anchors.get(name)
        if self._between_keys:
            if anchored is None or not isinstance(anchored.value, str):
                self._report(f"the alias *{name} cannot be a key", mark)
                self._stack[-1].key, self._stack[-1].dropping = _COMPLEX_KEY, True
            else:
                self._take_key(self._stack[-1], anchored.value, mark, merge=False)
            return
        if anchored is None:
            self._report(f"the alias *{name} has no anchor &{name} before it", mark)
            self._place(None, mark, size=1, height=1)
            return
        if len(self._stack) + anchored.height > MAX_DEPTH:
            self._report(f"nested more than {MAX_DEPTH} levels deep, through *{name}", mark)
            self.full = True
            return
        if is_secret_path(self._next_path()):
            self.secret_spans.update(range(*anchored.spans))
        self._place(anchored.value, mark, size=anchored.size, height=anchored.height)

    def _take_key(self, frame: _Frame, text: str, mark: Mark, *, merge: bool) -> None:
        frame.key, frame.merging, frame.dropping = text, merge, False
        if merge:
            return
        path = (*frame.path, text)
        if text in frame.value:
            line = self.keys[path].line
            shown = f"the key `{text[:60]}`"
            if is_below_secret(frame.path):
                shown, frame.key = "a key", None
            self._report(
                f"{shown} stands here twice; the first is on line {line}",
                mark,
                suggestion="keep one of the two",
            )
            frame.key, frame.dropping = text, True
        else:
            self.keys[path] = mark

    def _next_path(self) -> Path:
        """Gives the path of the value that comes next."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        step = len(frame.value) if isinstance(frame.value, list) else frame.key
        return (*frame.path, _COMPLEX_KEY if step is None else step)

    def _place(self, value: Any, mark: Mark, *, size: int, height: int) -> Path:
        """Puts a value where it belongs and gives its path."""
        self._nodes += max(size, 1)
        if self._nodes > MAX_NODES and not self.full:
            self._report("too many values, aliases counted each time they are used", mark)
            self.full = True
        path = self._next_path()
        if not self._stack:
            self.data = value
            self.values[path] = mark
            return path
        frame = self._stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.value, list):
            frame.value.append(value)
            self.values[path] = mark
            return path
        key, frame.key = frame.key, None
        if frame.merging:
            self._merge(frame, value, mark)
        elif not frame.dropping:
            frame.value[key] = value
            self.values[path] = mark
        return path

    def _merge(self, frame: _Frame, value: Any, mark: Mark) -> None:
        sources = value if isinstance(value, list) else [value]
        if all(isinstance(source, dict) for source in sources):
            frame.merges.extend(sources)
        else:
            self._report("`<<` takes an alias of a block, or a list of such aliases", mark)

    def _typed(self, text: str, mark: Mark, *, tag: str | None, plain: bool) -> Any:
        self._check_tag(tag, mark)
        if tag == f"{_TAGS}str" or (not plain and tag in (None, "!")):
            return text
        value = resolve_plain(text)
        if isinstance(value, float) and not math.isfinite(value):
            self._report("a number must be finite", mark)
            return None
        return value

    def _check_tag(self, tag: str | None, mark: Mark) -> None:
        if tag not in (None, "!") and (tag or "").removeprefix(_TAGS) not in _KNOWN_TAGS:
            self._report("YAML tags are not supported here", mark, suggestion="remove the `!` tag")

    def _report(self, message: str, mark: Mark, *, suggestion: str | None = None) -> None:
        path = self._stack[-1].path if self._between_keys else self._next_path()
        self.marks[len(self.findings)] = mark
        self.findings.append(Finding(path, message, suggestion))

    @property
    def _between_keys(self) -> bool:
        return bool(self._stack) and self._stack[-1].wants_key
