"""Names that stand a second time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .paths import Finding, Path


def duplicates(
    names: Iterable[tuple[Path, str]], what: str, *, folded: bool = False
) -> Iterator[Finding]:
    """Gives a finding for each name that stands a second time."""
    first: dict[str, Path] = {}
    for path, name in names:
        key = name.casefold() if folded else name
        if key in first:
            yield Finding(
                path,
                f'{what} "{name}" is declared twice',
                "give each its own name",
                looked_in=(path,),
            )
        first.setdefault(key, path)
